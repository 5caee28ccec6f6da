# SPDX-License-Identifier: MIT
"""A connection of the test server's that speaks HTTP/1.1: beats, single or in batches, and pings."""

from __future__ import annotations

import asyncio
import gzip
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from tests.agent.server import Server

BEATS = "/api/v1/beats"


class Answer(NamedTuple):
    """How an http server answers. `hang`: never; `close`: and closes; `body`, `headers`: besides the usual ones.

    `most_requests`: a connection that has carried so many is closed at the next one, which is not answered (0: never).
    """

    status: int = 200
    delay_s: float = 0.0
    close: bool = False
    hang: bool = False
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    most_requests: int = 0


class Request(NamedTuple):
    """`headers` by names in lower case; `body` unpacked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Ping(NamedTuple):
    key: str
    action: str
    body: str


class HttpConnection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._n_requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.opened_one(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed_one(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (request := self._next_request()) is not None:
            self._answer(request)

    def _next_request(self) -> Request | None:
        head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        try:
            method, path, version = first.split(" ")
            assert version == "HTTP/1.1", version
            assert headers["host"] == f"{self._server.host}:{self._server.port}" or "localhost" in headers["host"]
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return None
            body = rest[:length]
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
        except (ValueError, KeyError, AssertionError, OSError, EOFError) as error:
            self._server.take(("errors", f"{type(error).__name__} {error}: {head[:300]!r}"))
            self._transport.abort()
            return None
        self._received = bytearray(rest[length:])
        return Request(method, path, headers, body, time.monotonic())

    def _answer(self, request: Request) -> None:
        server, answer = self._server, self._server.answer
        self._n_requests += 1
        if 0 < answer.most_requests < self._n_requests:
            self._transport.abort()
            return
        updates: list[tuple[str, object]] = [("requests", request)]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            updates.append(("tokens", token))
        server.take(*updates)
        status = answer.status
        if answer.status in (200, 202):
            status = self._accept(request) or status
        if answer.hang:
            return
        if answer.delay_s:
            asyncio.get_running_loop().call_later(answer.delay_s, self._write, answer, status)
        else:
            self._write(answer, status)

    def _accept(self, request: Request) -> int | None:
        """Keeps what was sent; another status than the one asked for if it is no beat and no ping."""
        if request.method == "POST" and request.path == BEATS:
            if request.headers.get("content-type") != "application/json":
                self._server.take(("errors", f"content-type of a beat: {request.headers.get('content-type')}"))
            self._server.beat(request.body)
            return None
        parts = request.path.split("/")
        if request.method == "POST" and len(parts) in (3, 4) and parts[:2] == ["", "ping"]:
            action = parts[3] if len(parts) == 4 else ""
            self._server.take(("pings", Ping(unquote(parts[2]), action, request.body.decode())))
            return None
        self._server.take(("errors", f"{request.method} {request.path}"))
        return 404

    def _write(self, answer: Answer, status: int) -> None:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer.body))), *answer.headers]
        if answer.close:
            headers.append(("Connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._transport.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode() + answer.body)
        if answer.close:
            self._transport.close()
