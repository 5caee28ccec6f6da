# SPDX-License-Identifier: MIT
"""A `heartfelt serve` process of a test's own, and the ways to talk to it."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

PATIENCE_S = 40
ROOT = Path(__file__).parents[2]


def command(*arguments, program="heartfelt"):
    return [sys.executable, "-m", program, *map(str, arguments)]


def plain_environ():
    return {name: value for name, value in os.environ.items() if not name.startswith("HEARTFELT_")}


def run_command(*arguments, **environ):
    """A heartfelt command, to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env=plain_environ() | environ,
    )  # fmt: skip


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Serving:
    """settings: keys of the configuration with underscores for dots, as lease_timeout="1 s". program: a module."""

    def __init__(self, *arguments, data, tls=None, environ=None, program="heartfelt", **settings):
        self.data = data
        self._tls = tls
        ports = {"http.port": 0, "tcp.port": 0, "udp.port": 0}
        given = ports | {name.replace("_", ".", 1): value for name, value in settings.items()}
        pairs = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
        self.process = subprocess.Popen(
            command("serve", "--data", data, "--ready-json", *pairs, *arguments, program=program),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=plain_environ() | (environ or {}), cwd=ROOT,
        )  # fmt: skip
        self._lines = queue.Queue()
        self._log = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._lines.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self._log.append)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe, put):
        with pipe:
            for line in pipe:
                put(line)
        if pipe is self.process.stdout:
            put("")

    @property
    def log(self):
        return "".join(self._log)

    def wait_ready(self):
        line = self._lines.get(timeout=PATIENCE_S)
        if not line:
            self.end()
            raise AssertionError(f"serve did not start: {self.log}")
        self.ready = json.loads(line)
        self.host, self.port = self.ready["http"]
        self.url = self.ready["url"]

    # -- talking

    def connect(self):
        if self._tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE_S, context=self._tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)

    def request(self, method, path, body=None, *, token=None, headers=None, **query):
        text = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            connection.request(method, path + ("?" + text if text else ""), body, sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def json(self, path, **options):
        answer = self.get(path, **options)
        assert answer.status == 200, answer.body
        return answer.json

    def beat(self, service="shop", instance_id="one", *, token=None, **fields):
        answer = self.post("/api/v1/beats", {"service": service, "instanceId": instance_id, **fields}, token=token)
        assert answer.status in (200, 202), answer.body

    def beats(self, count, service="shop", *, token=None, **fields):
        body = [{"service": service, "instanceId": f"{service}-{n}", **fields} for n in range(count)]
        answer = self.post("/api/v1/beats", body, token=token)
        assert answer.status in (200, 202), answer.body

    def find(self, instance_id, *, token=None):
        found = self.json("/api/v1/instances", instance=instance_id, token=token)["instances"]
        return found[0] if found else None

    def states(self):
        """The state of each instance, by its instance id."""
        return {one["instance_id"]: one["state"] for one in self.json("/api/v1/instances")["instances"]}

    def open_stream(self, *, token=None, last_id=None, topics=(), receive_bytes=None):
        """The connection and the answer, which is to be read line by line. receive_bytes: how much the kernel keeps of
        what was not read, about."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = self.connect()
        if receive_bytes is not None:  # the size of the window is agreed on when the connection is made
            connection.sock = socket.socket()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.sock.settimeout(PATIENCE_S)
            connection.sock.connect((self.host, self.port))
        query = "?" + urlencode({"topic": topics}, doseq=True) if topics else ""
        connection.request("GET", f"/api/v1/stream{query}", headers=headers)
        return connection, connection.getresponse()

    # -- its end

    def stop(self, number=signal.SIGTERM):
        """Its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return status

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


def until(condition, what="it"):
    """Waits until the condition is true and returns its value. The test fails if that takes too long."""
    give_up = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < give_up, f"{what} did not come about"
        time.sleep(0.01)
    return value


def stream_events(answer, count):
    """`count` events of an open stream, as (id, name, data)."""
    found = []
    fields = {}
    while len(found) < count:
        line = answer.readline().decode()
        assert line, f"the stream ended after {found}"
        name, _, value = line.rstrip("\n").partition(":")
        if name in ("id", "event", "data"):
            fields[name] = value.removeprefix(" ")
        elif not line.strip() and "data" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
            fields = {}
    return found
