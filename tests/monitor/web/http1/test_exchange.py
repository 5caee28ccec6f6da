# SPDX-License-Identifier: MIT
"""Requests and answers under uvicorn with applications of the tests' own: what ASGI says."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading

import pytest

from tests.monitor.serving import PATIENCE_S, until
from tests.monitor.web.http1.server import answer, app_of, body_of, echo
from tests.monitor.web.http1.wire import HOST, connected, exchanged, get, post, rest, split_answers

# -- what an application is given, and what becomes of what it sends


def test_the_scope_is_what_asgi_says(serve_app):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await echo(scope, receive, send)

    server = serve_app(app)
    exchanged(server, get(b"/a%20b/%C3%A9?x=1&y=%20", b"X-Two: 1", b"X-TWO: \t2\t ", close=True))
    (scope,) = scopes
    assert scope["path"] == "/a b/é"
    assert scope["raw_path"] == b"/a%20b/%C3%A9"
    assert scope["query_string"] == b"x=1&y=%20"
    assert [one for one in scope["headers"] if one[0] == b"x-two"] == [(b"x-two", b"1"), (b"x-two", b"2")]
    assert (scope["type"], scope["http_version"], scope["method"], scope["scheme"]) == ("http", "1.1", "GET", "http")
    assert scope["server"] == (server.host, server.port)
    assert scope["client"][0] == "127.0.0.1"


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
def test_a_body_without_a_length_is_chunked_or_ends_with_the_connection(serve_app, size):
    server = serve_app(app_of(answer(b"x" * size, length=False)))
    (first, second) = exchanged(server, get(b"/") + get(b"/", close=True))
    assert first.headers["transfer-encoding"] == "chunked"
    assert len(first.body) == len(second.body) == size
    (old,) = exchanged(server, b"GET / HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in old.headers
    assert len(old.body) == size


def test_head_and_no_content_have_no_body(serve_app):
    async def app(scope, receive, send):
        status = 204 if scope["path"] == "/none" else 200
        for message in answer(b"body", status=status, length=scope["path"] == "/length"):
            await send(message)

    server = serve_app(app)
    head = b"HEAD %b HTTP/1.1\r\n" + HOST + b"\r\n"
    sent = head % b"/length" + head % b"/chunked" + get(b"/none") + get(b"/length", close=True)
    with connected(server) as sock:
        sock.sendall(sent)
        answers = split_answers(rest(sock), methods=["HEAD", "HEAD"])
    assert [(one.status, one.body) for one in answers] == [(200, b""), (200, b""), (204, b""), (200, b"body")]
    assert answers[0].headers["content-length"] == "4"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"type": "http.response.body", "body": b"x"}],
        answer(headers=[(b"x-a", b"b\r\nSet-Cookie: c")]),
        answer(headers=[(b"x-a", b"\0")]),
        answer(headers=[(b"x a", b"b")]),
        answer()[:1],
        answer(headers=[(b"content-length", b"3")], length=False),
        answer(headers=[(b"content-length", b"5")], length=False),
    ],
    ids=["nothing", "no start", "a line end", "NUL", "a bad name", "no body", "too long", "too short"],
)
def test_a_wrong_answer_becomes_an_error_of_the_server(serve_app, messages, caplog):
    (found,) = exchanged(serve_app(app_of(messages)), get(b"/") + get(b"/"))
    assert (found.status, found.headers["connection"]) == (500, "close")
    assert caplog.records


def test_an_answer_that_breaks_off_does_not_look_complete(serve_app, caplog):
    async def app(scope, receive, send):
        start_, body = answer(b"x" * 100, length=False)
        await send(start_)
        await send(body | {"more_body": True})
        raise ValueError("a fault")

    server = serve_app(app)
    with connected(server) as sock:
        sock.sendall(get(b"/") + get(b"/"))
        found = rest(sock)
    assert found.count(b"HTTP/1.1") == 1
    assert not found.endswith(b"0\r\n\r\n")
    assert "a fault" in caplog.text


def test_more_than_one_task_may_wait_for_the_client_to_leave(serve_app):
    left = []

    async def app(scope, receive, send):
        await body_of(receive)
        left.extend(message["type"] for message in await asyncio.gather(receive(), receive()))

    server = serve_app(app)
    with connected(server) as sock:
        sock.sendall(get(b"/"))
        until(lambda: server.state.tasks, "the request")
    until(lambda: left == ["http.disconnect"] * 2, "the end of both")


def test_requests_above_the_limit_are_answered_503(serve_app, caplog):
    server = serve_app(echo, limit=2)
    with connected(server) as one, connected(server) as two:
        for sock in (one, two):
            sock.sendall(get(b"/"))
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        (found,) = exchanged(server, get(b"/"))
        assert (found.status, found.headers["connection"]) == (503, "close")
        assert server.guard.stats()["over_limit"] == 1
        assert "limits.connections" in caplog.text
    until(lambda: not server.state.connections, "the end of the connections")
    assert exchanged(server, get(b"/", close=True))[0].status == 200


def test_silent_connections_far_above_the_limit_are_closed_and_counted(serve_app, caplog):
    server = serve_app(echo, limit=2)
    with connected(server) as one, connected(server), connected(server):
        until(lambda: len(server.state.connections) == 3, "two connections, and one that would be answered 503")
        with connected(server) as four:
            assert rest(four) == b""
        assert server.guard.stats()["over_limit"] == 1
        assert "limits.connections" in caplog.text
        one.sendall(get(b"/"))
        assert one.recv(100).startswith(b"HTTP/1.1 503")


# -- the request's body


def test_a_body_that_the_application_does_not_take_is_not_read_from_the_socket(serve_app):
    may_go_on = threading.Event()
    sizes = []

    async def app(scope, receive, send):
        await asyncio.get_running_loop().run_in_executor(None, may_go_on.wait, PATIENCE_S)
        message = await receive()
        sizes.append(len(message["body"]))
        body = message["body"] + (await body_of(receive) if message["more_body"] else b"")
        for part in answer(b"%d" % len(body)):
            await send(part)

    server = serve_app(app)
    size = 20 << 20
    request = post(b"/", b"x" * size)
    with connected(server) as sock:
        sock.setblocking(False)
        sent = 0
        while sent < len(request) and select.select([], [sock], [], 2.0)[1]:  # until the socket's buffers are full
            sent += sock.send(request[sent : sent + (1 << 20)])
        assert sent < len(request)
        may_go_on.set()
        sock.setblocking(True)
        sock.sendall(memoryview(request)[sent:])
        assert sock.recv(1000).endswith(b"\r\n\r\n%d" % size)
    assert sizes[0] < 1 << 20


def test_a_request_that_came_whole_is_handled_though_its_client_has_gone(serve_app):
    """A heartbeat from something that does not wait for the answer."""
    bodies = []

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        bodies.append(await body_of(receive))

    server = serve_app(app)
    with connected(server) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        sock.sendall(post(b"/", b"beat"))
        until(lambda: server.state.tasks or bodies, "the request")
    until(lambda: bodies == [b"beat"], "the body")


def test_a_client_that_has_gone_before_its_request_was_whole_is_a_disconnect(serve_app):
    bodies = []

    async def app(scope, receive, send):
        bodies.append(await body_of(receive))

    server = serve_app(app)
    with connected(server) as sock:
        sock.sendall(post(b"/", b"beat")[:-1])
    until(lambda: bodies == [None], "the disconnect")
