# SPDX-License-Identifier: MIT
"""A monitor for the tests of jobs and of the command line: keeps what it gets, and answers as the test says.

The fixtures are imported by the conftest.py of each folder that uses them.
"""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote

import pytest

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


@pytest.fixture
def make_monitor():
    """make_monitor(context=None): a Monitor that ends with its test."""
    made = []

    def make(context=None):
        made.append(Monitor(context))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def monitor(make_monitor, monkeypatch):
    """A Monitor that the environment names."""
    one = make_monitor()
    monkeypatch.setenv("HEARTFELT_URL", one.url)
    monkeypatch.delenv("HEARTFELT_TOKEN", raising=False)
    return one


@pytest.fixture
def nobody():
    """The URL of a port where nobody listens, and which nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def mute():
    """The URL of a listener that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key): files; the certificate is its own CA, good for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    words += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {made}"
    subprocess.run(words.split(), check=True, capture_output=True, timeout=LONG_S)
    return made, key


@pytest.fixture
def https_monitor(make_monitor, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return make_monitor(context)
