# SPDX-License-Identifier: MIT
"""How a connection ends: half-closed clients, those that do not read, answers before the body, and stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading

import pytest
import uvicorn

from heartfelt.monitor.web.http1 import RequestGuard, connection, protocol_class
from tests.monitor.serving import PATIENCE_S, until
from tests.monitor.web.http1.server import answer, app_of, echo
from tests.monitor.web.http1.wire import HOST, connected, exchanged, get, post, rest, split_answers


def test_a_client_that_ends_its_side_gets_its_answers(serve_app):
    server = serve_app(echo)
    with connected(server) as sock:
        sock.sendall(post(b"/", b"one") + post(b"/", b"two"))
        sock.shutdown(socket.SHUT_WR)
        assert [one.body for one in split_answers(rest(sock))] == [b"one", b"two"]
    until(lambda: not server.state.connections, "the end of the connection")
    with connected(server) as sock:
        sock.sendall(post(b"/", b"one") + post(b"/", b"two")[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert [one.body for one in split_answers(rest(sock))][:1] == [b"one"]
    until(lambda: not server.state.connections, "the end of the connection")


def test_an_answer_before_the_body_has_come_reaches_the_client(serve_app):
    """The connection is not reset while the client sends: it would lose the answer."""
    server = serve_app(app_of(answer(b"too large", 413, [(b"connection", b"close")])), linger_s=PATIENCE_S)
    body = b"x" * (8 << 20)
    with connected(server) as sock:
        sock.sendall(post(b"/", body))
        (found,) = split_answers(rest(sock))
    assert (found.status, found.body) == (413, b"too large")
    until(lambda: not server.state.connections, "the end of the connection")


def test_a_client_that_sends_on_after_its_answer_is_cut_off(serve_app):
    server = serve_app(app_of(answer(b"too large", 413, [(b"connection", b"close")])), linger_s=0.3)
    with connected(server) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4000000000\r\n\r\n")
        while server.state.connections:
            sock.sendall(b"x" * 1000)
    until(lambda: not server.state.connections, "the end of the connection")


def big(size):
    return app_of(answer(b"x" * size))


def small_window(server):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(PATIENCE_S)
    sock.connect((server.host, server.port))
    return sock


@pytest.mark.parametrize("close", [False, True])
def test_a_client_that_takes_nothing_of_its_answer_is_given_up(serve_app, close, caplog):
    server = serve_app(big(32 << 20), send_timeout_s=0.5)
    with small_window(server) as sock:
        sock.sendall(get(b"/", close=close))
        until(lambda: server.guard.stats()["unread_answers"] == 1, "the count")
        until(lambda: not server.state.connections, "the end of the connection")
    assert "read none of" in caplog.text


class Transport:
    """One whose client takes what the test says."""

    def __init__(self, waiting):
        self.waiting = waiting
        self.aborted = False

    def get_extra_info(self, name):
        return None

    def get_write_buffer_size(self):
        return self.waiting

    def abort(self):
        self.aborted = True


def test_a_client_that_reads_slowly_is_given_up_only_when_it_takes_nothing_in_the_whole_time():
    async def main():
        guard = RequestGuard(request_timeout_s=60, header_bytes=1000)
        config = uvicorn.Config(echo, http=protocol_class(guard), lifespan="off", log_config=None)
        link = protocol_class(guard)(config, uvicorn.server.ServerState(), {})
        transport = Transport(100_000)
        link.connection_made(transport)
        link.pause_writing()
        for transport.waiting in (90_000, 80_000, 79_999):
            link.send_timed_out()
            assert link in guard.sending
        assert guard.stats()["unread_answers"] == 0 and not transport.aborted
        guard.sending.end(link)
        link.send_timed_out()
        assert guard.stats()["unread_answers"] == 1 and transport.aborted
        guard.close()

    asyncio.run(main())


def test_no_further_request_is_begun_while_answers_are_not_read(serve_app):
    size = 16 << 20  # more than the kernel's buffers hold
    paths = []

    async def app(scope, receive, send):
        paths.append(scope["path"])
        for message in answer(b"x" * size if scope["path"] == "/1" else b"small"):
            await send(message)

    server = serve_app(app)
    with small_window(server) as sock:
        sock.sendall(get(b"/1") + get(b"/2") + get(b"/3", close=True))
        until(lambda: paths and not server.state.tasks, "the first answer")
        until(lambda: exchanged_elsewhere(server), "another connection's request")
        assert paths == ["/1", "/other"]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        answers = split_answers(rest(sock))
    assert [len(one.body) for one in answers] == [size, 5, 5]
    assert paths == ["/1", "/other", "/2", "/3"]


def exchanged_elsewhere(server):
    return exchanged(server, get(b"/other", close=True))[0].status == 200


def test_an_application_that_gives_its_client_up_ends_the_connection(serve_app, caplog):
    async def app(scope, receive, send):
        start_, body = answer(b"x" * (32 << 20), length=False)
        await send(start_)
        await send(body | {"more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(send(body), 0.1)

    server = serve_app(app)
    with small_window(server) as sock:
        sock.sendall(get(b"/"))
        until(lambda: server.guard.stats()["unread_answers"] == 1, "the count")
        until(lambda: not server.state.connections, "the end of the connection")
    assert "was not answered" not in caplog.text


def test_a_stopping_server_waits_for_the_rest_of_a_request_for_a_moment_only(serve_app, caplog):
    server = serve_app(echo)
    with connected(server) as begun, connected(server) as other:
        begun.sendall(post(b"/", b"beat")[:-1])
        other.sendall(post(b"/", b"beat")[:10])  # not even a head
        until(lambda: server.state.tasks, "the request")
        server.begin_stop()
        assert rest(other) == b""
        (found,) = split_answers(rest(begun))
        assert found.status == 503
        assert b"the server is stopping" in found.body
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_stopping_server_takes_the_rest_of_a_request(serve_app, monkeypatch):
    monkeypatch.setattr(connection, "STOP_S", PATIENCE_S)
    server = serve_app(echo)
    with connected(server) as begun, connected(server) as idle:
        begun.sendall(post(b"/", b"beat")[:-1])
        until(lambda: server.state.tasks, "the request")
        server.begin_stop()
        assert rest(idle) == b""
        begun.sendall(b"t")
        (found,) = split_answers(rest(begun))
    assert (found.status, found.body) == (200, b"beat")
    assert found.headers["connection"] == "close"


def test_a_stopping_server_answers_the_request_at_hand_and_closes_idle_connections(serve_app):
    may_go_on = threading.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await asyncio.get_running_loop().run_in_executor(None, may_go_on.wait, PATIENCE_S)
        for message in answer():
            await send(message)

    server = serve_app(app)
    with connected(server) as busy, connected(server) as idle:
        idle.sendall(get(b"/"))
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        busy.sendall(get(b"/slow") + get(b"/never"))
        until(lambda: server.state.tasks, "the request")
        server.begin_stop()
        assert idle.recv(1000) == b""
        may_go_on.set()
        (found,) = split_answers(rest(busy))
        assert found.headers["connection"] == "close"
