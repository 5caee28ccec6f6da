# SPDX-License-Identifier: MIT
"""A monitor for the tests of jobs and of the command line: keeps what it is told, and answers as it is told to."""

from __future__ import annotations

import gzip
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote

LONG_S = 40  # a wait that ends at once if nothing is wrong


@dataclass(frozen=True)
class Got:
    """A request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return unquote(self.path.split("/")[2])

    @property
    def event(self) -> str | None:
        parts = self.path.split("/")
        return parts[3] if len(parts) > 3 else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def beats(self) -> list[dict[str, object]]:
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


class Monitor(ThreadingHTTPServer):
    """`answers`: statuses for the next requests, then 200. `gate`: no request is answered while it is cleared."""

    daemon_threads = True

    def __init__(self, context=None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.server_port}"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self._got: list[Got] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def took(self, got: Got) -> int:
        with self._changed:
            self._got.append(got)
            self._changed.notify_all()
            status = self.answers.pop(0) if self.answers else 200
        self.gate.wait(LONG_S)
        return status

    @property
    def got(self) -> list[Got]:
        with self._changed:
            return list(self._got)

    @property
    def events(self) -> list[str | None]:
        return [one.event for one in self.got]

    def wait_for(self, condition) -> None:
        """Waits until condition(list of Got) is true, or fails the test."""
        give_up = time.monotonic() + LONG_S
        with self._changed:
            while not condition(list(self._got)):
                left = give_up - time.monotonic()
                assert left > 0, f"it did not come: {self._got}"
                self._changed.wait(left)

    def stop(self) -> None:
        self.gate.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Monitor

    def do_POST(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.took(Got(path, dict(parse_qsl(query)), headers, body))
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "https://elsewhere.example/")
        self.end_headers()
        if status != 200:
            self.wfile.write(b"because\nof this")

    def log_message(self, *args: object) -> None:
        pass
