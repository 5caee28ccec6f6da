# SPDX-License-Identifier: MIT
"""TLS connections before they are connections: a limit of their number and of their time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import pytest

from heartfelt.monitor.web.http1 import tls
from tests.monitor.serving import until
from tests.monitor.web.http1.server import echo
from tests.monitor.web.http1.wire import connected, get, post, rest, split_answers


@pytest.fixture
def serve_tls(serve_app, certificates):
    def start(**options):
        return serve_app(echo, tls=certificates.server_context(), **options)

    return start


@pytest.fixture
def trusting(certificates):
    return certificates.client_context()


def test_requests_are_served_as_without_tls(serve_tls, trusting):
    server = serve_tls()
    with connected(server) as plain, trusting.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(post(b"/", b"one") + post(b"/", b"x" * 300_000) + get(b"/", close=True))
        answers = split_answers(rest(sock))
    assert [(one.status, len(one.body)) for one in answers] == [(200, 3), (200, 300_000), (200, 0)]
    assert server.guard.stats()["failed_handshakes"] == 0
    until(lambda: not server.state.connections, "the end of the connection")


def test_a_request_that_comes_with_the_end_of_the_handshake_is_not_lost(serve_tls, trusting):
    server = serve_tls()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connected(server) as sock:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
            else:
                break
        tls.write(post(b"/", b"early") + get(b"/", close=True))
        sock.sendall(outgoing.read())  # the client's last message, and the requests
        found = b""
        while True:
            try:
                found += tls.read()
            except ssl.SSLWantReadError:
                if not (data := sock.recv(65536)):
                    break
                incoming.write(data)
            except ssl.SSLError:
                break
            else:
                if found.endswith(b"connection: close\r\n\r\n"):
                    break
    assert [one.body for one in split_answers(found)] == [b"early", b""]


def test_silent_connections_are_in_the_limit_and_have_little_time(serve_tls, monkeypatch, caplog):
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.7)
    monkeypatch.setattr(tls, "RETRY_S", 0.1)
    server = serve_tls(limit=2)
    with connected(server) as one, connected(server) as two, connected(server) as three:
        assert rest(one) == rest(two) == b""
        assert rest(three) == b""  # accepted later
    until(lambda: server.guard.stats()["failed_handshakes"] == 3, "the count")
    assert server.guard.stats()["over_limit"] >= 1
    assert "handshake failed" in caplog.text and "limits.connections" in caplog.text


def leaves_with_a_reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hello(trusting):
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trusting.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("what", ["nothing", "plain", "half", "hello"])
@pytest.mark.parametrize("reset", [False, True])
def test_what_is_no_handshake_is_counted_without_a_traceback(serve_tls, trusting, what, reset, caplog):
    server = serve_tls()
    sent = {"nothing": b"", "plain": get(b"/"), "half": hello(trusting)[:50], "hello": hello(trusting)}[what]
    with connected(server) as sock:
        sock.sendall(sent)
        if reset:
            leaves_with_a_reset(sock)
    until(lambda: server.guard.stats()["failed_handshakes"] == 1, "the count")
    until(lambda: not server.state.connections, "the end of the connection")
    assert not any(record.exc_info for record in caplog.records), caplog.text


def test_a_stop_ends_handshakes(serve_tls):
    server = serve_tls()
    with connected(server) as silent, connected(server) as sock:
        until(lambda: len(server.uvicorn.servers[0]._handshakes) == 2, "the connections")
        server.stop()
        assert rest(silent) == rest(sock) == b""
