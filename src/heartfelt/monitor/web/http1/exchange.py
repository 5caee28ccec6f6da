# SPDX-License-Identifier: MIT
"""One request and its response: ASGI's `receive` and `send` on a connection."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from heartfelt.monitor.problems import Answer, to_asgi

if TYPE_CHECKING:
    from heartfelt.monitor.web.http1.connection import ServerConnection

Message = MutableMapping[str, Any]
Application = Callable[[dict[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+\Z")
_MOST_NAMES = 1000
UNSENT = "heartfelt.unsent"
"""The extension in ASGI's scope that returns how many bytes of responses wait to be sent on the connection."""
_BODILESS = frozenset((204, 304))

_logger = logging.getLogger("heartfelt.monitor.http")
_names: set[bytes] = set()  # names of headers, known to be valid


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def plain_answer(status: int, text: bytes) -> bytes:
    """Returns a complete response that closes the connection."""
    return (
        b"%scontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%s"
    ) % (STATUS_LINES[status], len(text), text)


class Exchange:
    """A request and its response. Its connection feeds it the body, and reports that the client has disconnected.

    The response's head is written with the first part of its body: until then `sent` is False, and an error response is
    still possible.
    """

    __slots__ = (
        "_bodiless", "_chunked", "_connection", "_event", "_expects_continue", "_given", "_head", "_left", "_parts",
        "answered", "disconnected", "keep_alive", "scope", "sent", "task", "unread", "version", "whole",
    )  # fmt: skip

    def __init__(
        self, connection: ServerConnection, scope: dict[str, Any], keep_alive: bool, expects_continue: bool
    ) -> None:
        self._connection = connection
        self.scope = scope
        self.version: str = scope["http_version"]
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self.task: asyncio.Task[None] | None = None
        self._event: asyncio.Event | None = None
        # the request's body
        self._parts: list[bytes] = []
        self.unread = 0  # bytes that have arrived but were not received by the application
        self.whole = False  # all of it has arrived
        self._given = False  # its end was received by the application
        self.disconnected = False
        # the response
        self._head: bytes | None = None
        self._bodiless = False
        self._chunked = False
        self._left: int | None = None  # bytes of its body that must still follow; None: unknown
        self.sent = False
        self.answered = False  # the response is complete

    # -- called by the connection

    def feed(self, body: bytes, whole: bool) -> None:
        if body and not self.answered:
            self._parts.append(body)
            self.unread += len(body)
        self.whole = whole
        self.wake()

    def disconnect(self) -> None:
        self.disconnected = True
        self.wake()

    def wake(self) -> None:
        """Makes a waiting `receive` check again."""
        if self._event is not None:
            self._event.set()

    async def run(self, application: Application) -> None:
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.answered and not self.disconnected:
                self._connection.refuse(503, "the server is stopping and could not answer in time")
            raise
        except Exception as error:
            _logger.error("Exception in ASGI application\n", exc_info=error)
            self._fail()
        else:
            if self.answered or self.disconnected or self._connection.ending:
                return
            if self._connection.writable is not None:  # the application has given up on the client
                self._connection.give_up()
                return
            _logger.error(
                "%s %r was not answered%s", self.scope["method"], self.scope["path"], " completely" * self.sent
            )
            self._fail()
        finally:
            self._connection.finished(self)

    def _fail(self) -> None:
        if not self.answered and not self.disconnected:
            self._connection.refuse(500, "Internal Server Error")

    # -- ASGI

    async def receive(self) -> Message:
        while True:
            if self.answered:
                return {"type": "http.disconnect"}
            if self._parts or (self.whole and not self._given):
                return self._request()
            if self.disconnected or self._connection.at_eof:
                return {"type": "http.disconnect"}
            if self._expects_continue and not self.whole:
                self._expects_continue = False
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()

    def _request(self) -> Message:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._expects_continue = False
        self._given = self.whole
        if parts:
            self._parts = []
            self.unread = 0
            self._connection.control_reading()
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        connection = self._connection
        if connection.writable is not None and not self.disconnected:
            await connection.writable.wait()
        if self.disconnected or connection.ending:
            return
        kind = message["type"]
        if self.answered:
            raise RuntimeError(f"unexpected ASGI message {kind!r}: the response is complete already")
        if self._head is None:
            if kind != "http.response.start":
                raise RuntimeError(f"expected ASGI message 'http.response.start'; got {kind!r}")
            self._head = self._make_head(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body":
            raise RuntimeError(f"expected ASGI message 'http.response.body'; got {kind!r}")
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if self._left is not None:
            if len(body) > self._left or (len(body) < self._left and not more):
                raise RuntimeError(
                    f"the response's body does not match its Content-Length; {self._left} bytes are left"
                )
            self._left -= len(body)
        if self._bodiless:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self.sent:
            data = body
        else:
            self.sent = True
            data = self._head + body
        if data:
            connection.write(data)
        if not more:
            self.answered = True
            self._parts = []
            self.unread = 0
            self.wake()
            connection.answered()

    def _make_head(self, status: int, headers: Any) -> bytes:
        parts = [STATUS_LINES[status]]
        length: bytes | None = None
        closes = False
        for name, value in (*self._connection.default_headers, *headers):
            if name not in _names:
                name = _checked_name(name)
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                continue  # chosen by the connection
            elif name == b"connection" and b"close" in value.lower():
                closes = True
                continue
            parts.append(b"%b: %b\r\n" % (name, value))
        self._bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        if not self._bodiless:
            if length is not None:
                self._left = int(length)
            elif self.version == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False  # the body ends with the connection
        if closes or (self._expects_continue and not self.whole):  # RFC 9110, 10.1.1: the body may or may not follow
            self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != len(parts) or head.count(b"\r") != len(parts) or b"\0" in head:
            raise RuntimeError("a header's value contains a line end or a NUL")
        return head


def _checked_name(name: bytes) -> bytes:
    name = bytes(name).lower()
    if not _TOKEN.match(name):
        raise RuntimeError(f"{name!r} is not a header's name")
    if len(_names) < _MOST_NAMES:
        _names.add(name)
    return name


_TOO_MANY_TEXT = b"Service Unavailable"
TOO_MANY: Answer = (
    503,
    [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(_TOO_MANY_TEXT)),
        (b"retry-after", b"5"),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
    ],
    _TOO_MANY_TEXT,
)
"""The answer to requests above the limit of connections."""


async def too_many(scope: Any, receive: Any, send: Any) -> None:
    """The application for requests above the limit of connections."""
    for message in to_asgi(TOO_MANY):
        await send(message)


async def server_options(scope: Any, receive: Any, send: Any) -> None:
    """The application for `OPTIONS *`, which asks about the server as a whole (RFC 9110, 9.3.7)."""
    headers = [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
