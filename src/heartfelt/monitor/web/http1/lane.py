# SPDX-License-Identifier: MIT
"""The lane: accepts the connections of a port, and serves pings and heartbeats on them without ASGI.

`heartfelt._door` accepts, receives, splits and sends in C. What it cannot answer with the first bytes that it sees (any
other path, an incomplete request, a header that it does not know) is handed over: the connection becomes a
ServerConnection, with the bytes that arrived, and stays one. So such a request is served as it is without the lane.

Linux only, and not for TLS: `can_serve` tells.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.problems import Answer, Problem, as_answer
from heartfelt.monitor.web.http1.connection import ServerConnection, most_kept
from heartfelt.monitor.web.http1.exchange import STATUS_LINES, TOO_MANY, plain_answer
from heartfelt.monitor.web.http1.guard import TIMED_OUT, RequestGuard

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

RETRY_ACCEPT_S = 0.05
"""How long accepting pauses if there is no descriptor for another connection, unless one of the lane's is closed."""
STOP_S = 0.25
"""How long a stop goes on to answer what has arrived, and blocks the loop."""
BACKLOG = 65_535
"""Connections that may wait to be accepted; the kernel reduces it to net.core.somaxconn."""
_NS = 1_000_000_000
_UNLIMITED = 1 << 40
FIGURES: Figures = {
    "requests": counter("heartfelt_lane_requests", "Pings and heartbeats that the HTTP port's lane served"),
    "handed_over": counter(
        "heartfelt_lane_handed_over", "Connections that the HTTP port's lane handed over to the general HTTP server"
    ),
    "connections": gauge("heartfelt_lane_connections", "Connections open in the HTTP port's lane"),
    "accepted": counter("heartfelt_lane_accepted", "Connections that the HTTP port accepted"),
    "accept_errors": counter(
        "heartfelt_lane_accept_errors", "Times that the HTTP port could not accept a connection, which went on waiting"
    ),
    "evicted": counter(
        "heartfelt_lane_evicted", "Idle connections that were closed because there was no file descriptor for a new one"
    ),
    "broken": counter(
        "heartfelt_lane_broken", "Connections of the HTTP port's lane that were lost while they were answered"
    ),
}
_logger = logging.getLogger("heartfelt.monitor.http")  # the server limits it to one line a second


class Ingest(Protocol):
    """Serves requests that have arrived completely: `ingest.HttpIngest`."""

    def known_ping(self, key: bytes, peer: str) -> bool: ...

    def known_beat(self, text: bytes, peer: str) -> bool: ...

    def answer(
        self,
        method: str,
        path: str,
        raw_path: bytes,
        query: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        peer: str,
    ) -> tuple[Answer, bool]: ...


def can_serve() -> bool:
    """Tells whether there is a lane on this system."""
    return sys.platform == "linux"


def render(answer: Answer, *, closes: bool, is_head: bool) -> tuple[bytes, bytes, bool]:
    """Returns the status line, what follows the date header, and whether the connection closes: as an Exchange does."""
    status, headers, body = answer
    parts = []
    for name, value in headers:
        if name == b"connection" and b"close" in value.lower():
            closes = True
        else:
            parts.append(b"%b: %b\r\n" % (name, value))
    if closes:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    head = b"".join(parts)
    if head.count(b"\n") != len(parts) or head.count(b"\r") != len(parts) or b"\0" in head:
        raise RuntimeError("a header's value contains a line end or a NUL")
    return STATUS_LINES[status], head if is_head else head + body, closes


class _Service:
    """Answers the door's requests."""

    def __init__(
        self,
        ingest: Ingest,
        refusal: Callable[[dict[str, Any]], Problem | None],
        guard: RequestGuard,
        limit: int,
        plain: Iterable[Answer],
    ) -> None:
        self._answer = ingest.answer
        self._refusal = refusal
        self._guard = guard
        self._limit = limit
        self.known_ping = ingest.known_ping
        self.known_beat = ingest.known_beat
        self.plain = [
            render(answer, closes=closes, is_head=is_head)[:2]
            for answer in plain
            for is_head in (False, True)
            for closes in (False, True)
        ]

    def answer(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        host: bytes,
        authorization: bytes | None,
        body: bytes,
        peer: str,
        closes: bool,
    ) -> tuple[bytes, bytes, bool, bool]:
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        headers = [(b"host", host)]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": (peer, 0),
        }
        problem = self._refusal(scope)
        allows = False
        if problem is None:
            answer, allows = self._answer(method, path, raw_path, query, headers, body, peer)
        else:
            answer = as_answer(problem)
        return *render(answer, closes=closes, is_head=method == "HEAD"), allows

    def too_many(self, peer: str, is_head: bool) -> tuple[bytes, bytes]:
        self._guard.refuse_above(self._limit, peer)
        return render(TOO_MANY, closes=True, is_head=is_head)[:2]

    def fault(self, error: Exception) -> tuple[bytes, bytes]:
        """Logs a fault of the monitor, and answers as ServerConnection does."""
        _logger.error("Exception in the HTTP lane\n", exc_info=error)
        line, end, rest = plain_answer(500, b"Internal Server Error").partition(b"\r\n")
        return line + end, rest


def _handed_over(protocol: type[ServerConnection]) -> type[ServerConnection]:
    """Returns a class of connections that begin with bytes which the lane has received."""

    class HandedOver(protocol):  # type: ignore[misc, valid-type]
        received = unsent = b""
        closes = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # the transport reads nothing before this method ends
            if self.unsent:
                self._transport.write(self.unsent)
            if self.closes:
                self._finish()
            elif self.received:
                self.data_received(self.received)  # less than what makes it pause reading
            else:
                self.guard.requests.end(self)
                self.guard.idle.begin(self, self._loop)
            self.received = self.unsent = b""

    return HandedOver


class Lane:
    """Serves a listening socket, which stays the caller's. Belongs to the loop's thread; nothing blocks.

    config, state: of the uvicorn server whose protocol class gets the connections that are handed over. refusal: the
    check of Host and origin. plain: the answers to a known ping and a known heartbeat. most_body: the longest body of
    such a request. forget_allowed must be called whenever a Host or a token that was accepted may no longer be.

    A path below a base path (http.base_path) is none that it serves, so such requests are handed over.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        config: Config,
        state: ServerState,
        guard: RequestGuard,
        ingest: Ingest,
        refusal: Callable[[dict[str, Any]], Problem | None],
        plain: Iterable[Answer],
        most_body: int,
    ) -> None:
        from heartfelt._door import IN_MAX, Door

        self._sock = sock
        self._config = config
        self._state = state
        self._guard = guard
        limit = config.limit_concurrency or _UNLIMITED
        self._connection_class = _handed_over(config.http_protocol_class)  # type: ignore[arg-type]
        others: set[Any] = state.connections
        service = _Service(ingest, refusal, guard, limit, plain)
        self._limit = limit
        self._door = Door(service, others, limit, most_kept(limit), guard.header_bytes, min(most_body, IN_MAX))
        self.forget_allowed = self._door.forget_allowed
        self._request_ns = int(guard.requests.seconds * _NS)
        self._idle_ns = int(guard.idle.seconds * _NS)
        self._tick_s = min(1.0, guard.requests.seconds / 4, guard.idle.seconds / 4)
        self._farewell = plain_answer(408, TIMED_OUT.encode())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._joining: set[asyncio.Task[None]] = set()
        self._errors_told = self._refused = 0

    def start(self) -> None:
        """Accepts connections. Raises OSError if the system cannot watch them."""
        self._loop = loop = asyncio.get_running_loop()
        self._sock.listen(BACKLOG)
        self._door.listen(self._sock.fileno())
        self._guard.other_connections = lambda: self._door.n_open
        loop.add_reader(self._door.fileno(), self._on_ready)

    def stop(self) -> None:
        """Answers what has arrived, for at most STOP_S, and closes the lane's connections. Those handed over go on:
        `joined` waits for them. Idempotent."""
        if self._loop is None:
            return
        end_s = time.monotonic() + STOP_S
        before = None
        while (state := (self._door.requests, self._door.released, self._door.n_open, *self._door.counts())) != before:
            before = state
            self._on_ready()
            if time.monotonic() >= end_s:
                _logger.warning(
                    "requests arrived for longer than %s s during the stop; the last ones got no answer", STOP_S
                )
                break
        self._door.stop_listening()
        self._loop.remove_reader(self._door.fileno())
        for timer in (self._timer, self._resume):
            if timer is not None:
                timer.cancel()
        self._guard.other_connections = lambda: 0
        self._door.close()
        self._loop = None

    async def joined(self, seconds: float) -> None:
        """Waits until the connections handed over belong to the general server, for at most this long."""
        if self._joining:
            await asyncio.wait(self._joining, timeout=seconds)

    # -- a turn of the loop

    def _on_ready(self) -> None:
        for fd, received, unsent, closes in self._door.turn(time.monotonic_ns()):
            self._hand_over(fd, received, unsent, closes)
        if self._door.refused != self._refused:
            self._tell_refused()
        loop = self._loop
        assert loop is not None
        if self._timer is None and self._door.n_open:
            self._timer = loop.call_later(self._tick_s, self._tick)
        if self._door.paused and self._resume is None:
            self._tell_errors()
            self._resume = loop.call_later(RETRY_ACCEPT_S, self._accept_again)

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        self._guard.timeouts += self._door.expire(now_ns - self._request_ns, now_ns - self._idle_ns, self._farewell)
        self._tell_errors()
        assert self._loop is not None
        self._timer = self._loop.call_later(self._tick_s, self._tick) if self._door.n_open else None

    def _accept_again(self) -> None:
        self._resume = None
        self._door.resume()

    def _tell_refused(self) -> None:
        self._guard.over_limit += self._door.refused - self._refused
        self._refused = self._door.refused
        _logger.warning("closed: there are %s connections already (limits.connections)", self._limit)

    def _tell_errors(self) -> None:
        n = self._door.counts()[1]
        if n != self._errors_told:
            self._errors_told = n
            reason = os.strerror(self._door.accept_error)
            _logger.warning(
                "cannot accept a connection for now: %s; clients wait until others are closed. If it is for want of "
                "file descriptors, raise the process's limit (LimitNOFILE, ulimit -n)",
                reason,
            )

    # -- handing over

    def _hand_over(self, fd: int, received: bytes, unsent: bytes, closes: bool) -> None:
        loop = self._loop
        assert loop is not None
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:  # a connection that is broken already
            os.close(fd)
            _logger.warning("a connection was lost while it was handed over: %s", error)
            return
        connection = self._connection_class(self._config, self._state, {}, loop)
        connection.received, connection.unsent, connection.closes = received, unsent, closes  # type: ignore[attr-defined]
        task = loop.create_task(self._join(loop, connection, sock))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, loop: asyncio.AbstractEventLoop, connection: ServerConnection, sock: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            sock.close()
            _logger.warning("a connection was lost while it was handed over: %s", error)

    # -- figures

    def stats(self) -> dict[str, int]:
        """Returns the counts that FIGURES describes."""
        door = self._door
        accepted, errors, evicted, broken = door.counts()
        return {
            "requests": door.requests,
            "handed_over": door.released,
            "connections": door.n_open,
            "accepted": accepted,
            "accept_errors": errors,
            "evicted": evicted,
            "broken": broken,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
