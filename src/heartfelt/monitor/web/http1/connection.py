# SPDX-License-Identifier: MIT
"""One HTTP/1.1 connection: splits the bytes into requests, serves one after another, and closes.

Everything that a client can make longer has a bound: a head `header_bytes`; the part of a body that the application has
not received yet BODY_BYTES; requests that wait for earlier responses PIPELINED_BYTES (the last two plus the excess of
one read of the socket); responses that the client does not read the transport's high-water mark plus one response.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, cast

from heartfelt.monitor.web.http1.chunked import Chunks
from heartfelt.monitor.web.http1.exchange import UNSENT, Exchange, plain_answer, server_options, too_many
from heartfelt.monitor.web.http1.guard import TIMED_OUT, RequestGuard
from heartfelt.monitor.web.http1.head import CHUNKED, BadRequest, HeadParser
from heartfelt.monitor.web.http1.link import HttpLink, address

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

BODY_BYTES = 64 << 10
"""Reading pauses while more than this of a body waits for the application."""
PIPELINED_BYTES = 16 << 10
"""Reading pauses while more than this waits behind a request that is being served."""

REFUSED_AT_ONCE = 100
"""Connections above the limit that get an answer, 503, at most an eighth of it. More are closed unanswered."""
STOP_S = 1.0
"""Time that an incomplete request has left to arrive when the server stops."""

_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NAMES_A_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")


def most_kept(most_open: int) -> int:
    """Returns how many connections stay open at a limit: a new one beyond that is closed without an answer."""
    return most_open + min(REFUSED_AT_ONCE, 1 + most_open // 8)


class ServerConnection(HttpLink):
    """A connection (uvicorn calls it a protocol): reads, and serves one request after another."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop())
        if not config.loaded:
            config.load()
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._scope: dict[str, Any] = {}  # common to all requests of the connection
        self._in = bytearray()  # received but not consumed
        self._searched = 0  # where the search for the end of the head continues
        self._blank = 0  # bytes of blank lines before the request
        self._head = HeadParser()
        self._body_left = 0
        self._chunks: Chunks | None = None
        self._exchange: Exchange | None = None

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not an instance of it
        client = address(transport.get_extra_info("peername"))
        self._peer = f"{client[0]}:{client[1]}" if client else "unknown"
        most = self._config.limit_concurrency
        if most is not None and len(self._state.connections) >= most_kept(most):
            self.guard.over_limit += 1
            self.guard.warn(self._peer, f"closed: there are {most} connections already (limits.connections)")
            self.ending = True
            self._transport.abort()
            return
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._scope = {
            "type": "http",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.3"},
            "server": address(transport.get_extra_info("sockname")),
            "client": client,
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": self._config.root_path,
            "extensions": {UNSENT: transport.get_write_buffer_size},  # type: ignore[attr-defined]
        }
        self.guard.requests.begin(self, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self.guard.forget(self)
        exchange = self._exchange
        if not self.ending and ((exchange is not None and not exchange.sent) or self._in):
            self.guard.abandoned += 1
        self.ending = True
        self._in.clear()
        self._head.close()
        if exchange is not None:
            exchange.disconnect()
            self._exchange = None
        if self.writable is not None:
            self.writable.set()

    def eof_received(self) -> bool | None:
        """Keeps the connection (returns True) of a client that closed its side after complete requests, until it has
        its response.

        A client that is gone looks the same, so the application is told of a disconnect if it asks.
        """
        exchange = self._exchange
        if exchange is None or not exchange.whole or exchange.sent or self.ending or self._scope["scheme"] == "https":
            return None
        self.at_eof = True
        exchange.wake()
        return True

    def data_received(self, data: bytes) -> None:
        if not self.ending:
            self._in += data
            self._advance()

    # -- from bytes to requests

    def _advance(self) -> None:
        while self._in and not self.ending:
            exchange = self._exchange
            if exchange is None:
                if self.writable is not None or not self._take_head():
                    break
            elif exchange.whole or not self._take_body(exchange):
                break
        self.control_reading()

    def _take_head(self) -> bool:
        """Parses a head and begins its exchange. Returns False if the head is not complete."""
        data = self._in
        guard = self.guard
        if data[0] in b"\r\n":
            size = len(data)
            data = self._in = data.lstrip(b"\r\n")
            self._blank += size - len(data)
        end = data.find(_END, self._searched)
        size = self._blank + (end + len(_END) if end >= 0 else len(data))
        if size > guard.header_bytes:
            guard.large_heads += 1
            if data.find(b"\r\n", 0, guard.header_bytes) < 0:
                self.refuse(414, "the request's target is too long; see http.header_bytes")
            else:
                self.refuse(431, "the request's head is too large; see http.header_bytes")
            return False
        guard.idle.end(self)
        if end < 0:
            guard.requests.begin(self, self._loop)
            if data and (not _NAMES_A_METHOD.match(data) or _BARE_LF.search(data, self._searched)):
                self._refuse_bad(BadRequest(400, "this is not an HTTP request, or its lines do not end with CR LF"))
            self._searched = max(0, len(data) - len(_END) + 1)
            return False
        head = bytes(data[: end + len(_END)])
        del data[: end + len(_END)]
        self._searched = self._blank = 0
        try:
            self._head.parse(head)
        except BadRequest as bad:
            self._refuse_bad(bad)
        else:
            self._begin()
        return True

    def _begin(self) -> None:
        """Starts the exchange for the parsed head."""
        head = self._head
        path, raw_path, query = head.target
        root = self._config.root_path
        scope = self._scope | {
            "http_version": head.version,
            "method": head.method,
            "path": root + path if root else path,
            "raw_path": root.encode("ascii") + raw_path if root else raw_path,
            "query_string": query,
            "headers": head.headers,
            "state": self._app_state.copy(),
        }
        keep_alive = head.keep_alive and not self._stopping
        exchange = self._exchange = Exchange(self, scope, keep_alive, head.expects_continue and head.version == "1.1")
        if head.length == 0:
            exchange.whole = True
            self.guard.requests.end(self)
        else:
            self._body_left = head.length
            self._chunks = Chunks(self.guard.header_bytes) if head.length == CHUNKED else None
            self.guard.requests.begin(self, self._loop)
        tasks = self._state.tasks
        limit = self._config.limit_concurrency
        application: Any = self._config.loaded_app
        n_open = len(self._state.connections) + self.guard.other_connections()
        if limit is not None and (n_open > limit or len(tasks) >= limit):
            self.guard.refuse_above(limit, self._peer)
            application = too_many
        elif raw_path == b"*":
            application = server_options
        exchange.task = self._loop.create_task(exchange.run(application))
        tasks.add(exchange.task)

    def _take_body(self, exchange: Exchange) -> bool:
        """Feeds received bytes of the body to the exchange. Returns False if there are none."""
        data = self._in
        chunks = self._chunks
        if chunks is not None:
            before = len(data)
            try:
                body = chunks.take(data)
            except BadRequest as bad:
                self._refuse_bad(bad)
                return False
            whole = chunks.done
            if len(data) == before:
                return False
        else:
            left = self._body_left
            if len(data) <= left:
                body = bytes(data)
                data.clear()
            else:
                body = bytes(data[:left])
                del data[:left]
            self._head.skip(body)
            self._body_left = left = left - len(body)
            whole = left == 0
        if whole:
            self._chunks = None
            self.guard.requests.end(self)
        exchange.feed(body, whole)
        if whole and exchange.answered:
            self._next()
        return True

    def _next(self) -> None:
        """Keeps the connection after a complete request and response."""
        self._exchange = None
        if not self._in:
            if self.at_eof:
                self._finish()
            else:
                self.guard.idle.begin(self, self._loop)

    def control_reading(self) -> None:
        """Pauses reading while received data must wait, or resumes it."""
        if self.ending or self.at_eof:
            return
        exchange = self._exchange
        if exchange is None:
            pause = self.writable is not None and len(self._in) > PIPELINED_BYTES
        elif exchange.whole:
            pause = len(self._in) > PIPELINED_BYTES
        else:
            pause = exchange.unread > BODY_BYTES
        if pause != self._reading_paused:
            self._reading_paused = pause
            if not pause:
                self._transport.resume_reading()
                return
            self._transport.pause_reading()
            if exchange is None or exchange.whole:
                self.guard.pipeline_pauses += 1
                self.guard.warn(self._peer, "sends more requests without reading the responses; reading is paused")

    # -- the exchange's calls

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._state.default_headers

    def finished(self, exchange: Exchange) -> None:
        """Called when the application has returned."""
        if exchange.task is not None:
            self._state.tasks.discard(exchange.task)
            exchange.task = None

    def answered(self) -> None:
        """Called when the response is complete."""
        self._state.total_requests += 1
        exchange = self._exchange
        if self.ending or exchange is None:
            return
        if not exchange.keep_alive:
            self._finish()
        elif exchange.whole:
            self._next()
            self._advance()
            if self.at_eof and self._exchange is None and self.writable is None and not self.ending:
                self._finish()  # what is left is not a complete request
        else:
            self.control_reading()

    # -- the end

    def refuse(self, status: int, text: str) -> None:
        """Sends an error response, if no response was begun, and closes the connection."""
        if self.ending:
            return
        exchange = self._exchange
        if exchange is None or not exchange.sent:
            self._transport.write(plain_answer(status, text.encode()))
        if exchange is not None:
            exchange.disconnect()
        self._finish(refused=True)

    def _refuse_bad(self, bad: BadRequest) -> None:
        self.guard.bad_requests += 1
        self.guard.warn(self._peer, f"answered {bad.status}: {bad.text}")
        self.refuse(bad.status, bad.text)

    def _finish(self, *, refused: bool = False) -> None:
        """Closes the connection without another response."""
        exchange = self._exchange
        reads_on = refused or bool(self._in) or self._reading_paused or (exchange is not None and not exchange.whole)
        self._in.clear()
        self._end(reads_on=reads_on)

    def idle_timed_out(self) -> None:
        self._finish()

    def request_timed_out(self) -> None:
        self.guard.timeouts += 1
        self.refuse(408, TIMED_OUT)

    def shutdown(self) -> None:
        """Makes the current request the last one, because the server stops; its missing part must arrive soon."""
        self._stopping = True
        exchange = self._exchange
        if self.ending:
            self._stop_lingering()
        elif exchange is None or exchange.answered:
            self._finish()
        else:
            exchange.keep_alive = False
            if not exchange.whole:
                self._loop.call_later(STOP_S, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._exchange is not None and not self._exchange.whole:
            self.refuse(503, "the server is stopping and the request was not complete; send it again")


def protocol_class(guard: RequestGuard) -> type[ServerConnection]:
    """Returns a class whose connections have this guard, for `uvicorn.Config(http=...)`."""

    class GuardedConnection(ServerConnection):
        pass

    GuardedConnection.guard = guard
    return GuardedConnection
