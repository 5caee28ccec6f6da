# SPDX-License-Identifier: MIT
"""Real stops: `create_app` under a server's lifespan, and `heartfelt serve` that gets SIGTERM at any moment.

HEARTFELT_ENDS=200: so many processes instead of a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import random
import signal
import socket
import sys
import threading
import time

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor import create_app
from tests.monitor.serving import Serving
from tests.monitor.test_app import call, config, with_lifespan

ENDS = int(os.environ.get("HEARTFELT_ENDS", "5"))
LIFESPANS = 30
HUNG_S = 60
BAD = ("did not end", "did not stop", "Traceback", "was never", "is left", "destroyed")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def test_a_shutdown_right_after_a_ping_and_a_call_of_the_api_ends(tmp_path, caplog):
    async def scenario():
        app = create_app(config(tmp_path))

        async def work():
            assert (await call(app, "/ping/one"))[0] == 200
            assert (await call(app, "/api/v1/services"))[0] == 200

        await asyncio.wait_for(with_lifespan(app, work), HUNG_S)

    for _ in range(LIFESPANS):
        asyncio.run(scenario())
    assert not [text for text in BAD if text in caplog.text], caplog.text


class Traffic:
    """Clients of all kinds, until the monitor is gone: pings, beats, a webhook that is made and changed, a stream."""

    def __init__(self, serving, hook_port):
        self._serving, self._hook_port = serving, hook_port
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in (self._pings, self._hooks)]
        self._threads += [threading.Thread(target=self._run, args=(self._stream,))]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(HUNG_S)

    def _run(self, work):
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):  # it is ending, or has ended
            work()

    def _pings(self):
        for n in range(10_000):
            self._serving.get(f"/ping/{n % 7}")
            self._serving.beats(20)

    def _hooks(self):
        url = f"http://127.0.0.1:{self._hook_port}/hook"
        made = self._serving.post("/api/v1/webhooks", {"kind": "generic", "url": url, "allow_private": True})
        for n in range(10_000):
            self._serving.request("PUT", f"/api/v1/webhooks/{made.json['id']}", {"name": f"name {n}"})
            self._serving.post(f"/api/v1/webhooks/{made.json['id']}/test")

    def _stream(self):
        connection, stream = self._serving.open_stream()
        while stream.readline():
            pass
        connection.close()


@posix_only
def test_sigterm_ends_the_process_at_any_moment(tmp_path):
    """Half of the moments lie in the first tenth of a second after the start."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    longest_s, early = 0.0, 0
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the webhook's calls are never answered
        for n in range(ENDS):
            before_ready = rng.random() < 0.1
            serving = Serving(data=tmp_path / "data")
            try:
                traffic = None
                if before_ready:
                    time.sleep(rng.uniform(0.0, 1.0))  # not to wait for anything: this is the moment
                else:
                    serving.wait_ready()
                    traffic = Traffic(serving, silent.getsockname()[1])
                    time.sleep(rng.choice((0.1, 1.5)) * rng.random())
                began = time.monotonic()
                status = serving.stop()
                longest_s = max(longest_s, time.monotonic() - began)
                if traffic is not None:
                    traffic.join()
                what = f"process {n} of seed {seed}: status {status}\n{serving.log}"
                early += status == -signal.SIGTERM
                assert status == 0 or (before_ready and status == -signal.SIGTERM), what
                assert not [text for text in BAD if text in serving.log], what
            finally:
                serving.end()
    print(f"\n{ENDS} ends, {early} before the start was done; the longest took {longest_s:.2f} s")
