# SPDX-License-Identifier: MIT
"""`heartfelt health` and the monitors that it asks."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading

import pytest

from heartfelt.cli.health import local_url
from tests.monitor.serving import plain_environ, run_command


class Monitor(http.server.BaseHTTPRequestHandler):
    """A monitor that lives but is not ready."""

    def do_GET(self):
        status, body = {"/healthz": (200, b'{"ok":true}'), "/readyz": (503, b'{"ready":false,"store":"full"}')}[
            self.path
        ]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def asked(certificates):
    """asked(tls): the port of a monitor that is not ready."""
    servers = {}
    for tls in (False, True):
        server = servers[tls] = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Monitor)
        if tls:
            server.socket = certificates.server_context().wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield lambda tls: servers[tls].server_address[1]
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8900"),
        ({"HEARTFELT_HOST": "0.0.0.0", "HEARTFELT_HTTP_PORT": "81"}, "http://127.0.0.1:81"),
        ({"HEARTFELT_HOST": "10.0.0.1", "HEARTFELT_HTTP_HOST": "::"}, "http://[::1]:8900"),
        ({"HEARTFELT_TLS_CERT": "a.pem"}, "https://127.0.0.1:8900"),
        ({"HEARTFELT_TLS_CERT": "a.pem", "HEARTFELT_HTTP_TLS": "no"}, "http://127.0.0.1:8900"),
    ],
)
def test_the_monitor_of_this_machine_is_found_by_its_variables(environ, url):
    assert local_url(environ) == url


def test_a_monitor_that_is_not_ready_fails_with_its_reason(asked):
    url = f"http://127.0.0.1:{asked(False)}"
    done = run_command("health", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "503" in done.stderr
    assert '"store":"full"' in done.stderr
    alive = run_command("health", "--alive", HEARTFELT_URL=url)
    assert (alive.returncode, alive.stdout) == (0, '{"ok":true}\n')


def test_certificates_are_checked_unless_it_is_this_machines_own(asked, certificates):
    port = asked(True)
    url = f"https://127.0.0.1:{port}"
    assert "not trusted" in run_command("health", "--alive", url).stderr
    for arguments in ([url, "--insecure"], [url, "--ca", certificates.ca]):
        assert run_command("health", "--alive", *arguments).returncode == 0
    done = run_command("health", "--alive", HEARTFELT_HTTP_PORT=str(port), HEARTFELT_TLS_CERT="here.pem")
    assert done.returncode == 0, done.stderr


def test_a_monitor_that_is_not_there_or_silent_ends_soon(kept_port):
    assert "nothing listens" in run_command("health", f"http://127.0.0.1:{kept_port}").stderr
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run_command("health", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
    assert done.returncode == 1
    assert "did not answer within 0.2 s" in done.stderr
    for bad in (["--timeout", "0"], ["nonsense"]):
        assert run_command("health", *bad).returncode == 2


def test_it_loads_nothing_that_the_monitor_needs():
    code = (
        "import sys; from heartfelt.__main__ import main; main(['health', 'http://127.0.0.1:1', '--timeout', '1']);"
        "print([one for one in sys.modules if one.split('.')[0] in ('msgspec', 'uvicorn', 'starlette', 'sqlite3')"
        " or one.startswith('heartfelt.monitor')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=True, env=plain_environ()
    )
    assert done.stdout == "[]\n"
