# SPDX-License-Identifier: MIT
"""A monitor under attack, with a well-behaved client beside the attackers, and what must hold at the end."""

from __future__ import annotations

import http.client
import re
import threading
from pathlib import Path

from tests.monitor.serving import PATIENCE_S, Serving, run_command, until

GOOD_KEY = "good/client"
BEAT_EVERY_S = 0.1
TIMEOUT = "20s"  # far more than a loop that is merely busy needs
KINDS_OF_REFUSAL = 12
LINES_AT_ONCE = 5
"""Lines of a kind of refusal that come at once, before they are limited to fewer than one a second."""


def most_log_lines(took_s):
    """Returns how many lines clients may cause in that time, whatever they send and however fast."""
    return KINDS_OF_REFUSAL * (LINES_AT_ONCE + took_s)


class Victim(Serving):
    """`heartfelt serve`, and a thread that pings GOOD_KEY over a kept connection as long as the attack lasts.

    guarded: tokens are needed. With `with`: at the end the good client must have been answered each time and must never
    have been lost, no traceback may be in the log, and the monitor must still answer.
    """

    def __init__(self, data, *arguments, guarded=False, **settings):
        self._token = None
        if guarded:
            made = run_command("token", "create", "attack", "--scope", "admin", "--data", data)
            self._token = re.search(r"hf_\S+", made.stdout)[0]
            settings["auth_require"] = "always"
        super().__init__(*arguments, data=data, lease_timeout=TIMEOUT, **settings)
        self._stop = threading.Event()
        self._failures = []
        self._good = threading.Thread(target=self._beat)
        self.good_beats = 0

    def __enter__(self):
        self.wait_ready()
        for _ in range(30):  # what is made with the first requests
            self.get("/healthz")
        self._good.start()
        until(lambda: self.good_beats, "the good client's first beat")
        return self

    def __exit__(self, kind, error, trace):
        self._stop.set()
        self._good.join(PATIENCE_S)
        try:
            if kind is None:
                self._check()
        finally:
            self.end()

    def request(self, method, path, body=None, *, token=None, **options):
        return super().request(method, path, body, token=token or self._token, **options)

    def _beat(self):
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        connection = None
        while not self._stop.wait(BEAT_EVERY_S):
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
                connection.request("GET", f"/ping/{GOOD_KEY}", headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self._failures.append(answer.status)
                self.good_beats += 1
            except (OSError, http.client.HTTPException) as error:
                self._failures.append(repr(error))
                connection = None
        if connection is not None:
            connection.close()

    def _check(self):
        assert self._failures == []
        assert self.get("/readyz").status == 200
        good = self.find(GOOD_KEY)
        assert good["state"] in ("NEW", "UP")
        changes = self.json(f"/api/v1/instances/{good['id']}/changes")["changes"]
        assert "LOST" not in {change["new"] for change in changes}
        assert "Traceback" not in self.log
        assert self.process.poll() is None

    # -- what an attack may cost

    def memory(self):
        """Bytes that the process occupies."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) << 10

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def log_lines(self):
        return self.log.count("\n")

    def metric(self, name):
        """The sum of a metric over its labels."""
        text = self.get("/metrics").body.decode()
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
        assert found, f"there is no metric {name}"
        return sum(map(float, found))
