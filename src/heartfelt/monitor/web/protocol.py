# SPDX-License-Identifier: MIT
"""uvicorn's HTTP protocol with what it lacks: a time in which a request must have come, and a bound on its head.

Connections that owe a request stand in one dict in the order in which they began to, and all have the same time: so a
tick looks at those whose time is up, and at one more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from heartfelt.monitor.metric import Figures, Reading, counter, read

TICK_S = 0.5
FIGURES: Figures = {
    "timeouts": counter("heartfelt_requests_timeouts", "HTTP requests that were not complete in time"),
    "large_heads": counter("heartfelt_requests_large_heads", "HTTP requests whose headers were too large"),
}


class RequestGuard:
    """Of one server. Belongs to the loop's thread."""

    def __init__(self, *, request_timeout_s: float, header_bytes: int) -> None:
        self._timeout_s = request_timeout_s
        self.header_bytes = header_bytes
        self._owing: dict[Any, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.timeouts = 0
        self.large_heads = 0

    def owes(self, protocol: Any) -> None:
        if protocol not in self._owing:
            loop = protocol.loop
            self._owing[protocol] = loop.time() + self._timeout_s
            if self._timer is None:
                self._timer = loop.call_later(min(TICK_S, self._timeout_s), self._tick)

    def paid(self, protocol: Any) -> None:
        self._owing.pop(protocol, None)

    def _tick(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._owing:
            protocol, deadline = next(iter(self._owing.items()))
            if deadline > now:
                self._timer = loop.call_later(max(0.01, min(TICK_S, deadline - now)), self._tick)
                return
            del self._owing[protocol]
            self.timeouts += 1
            protocol.refuse(b"408 Request Timeout", b"the request did not come whole in time; see http.request_timeout")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owing.clear()

    def stats(self) -> dict[str, int]:
        return {"timeouts": self.timeouts, "large_heads": self.large_heads}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def protocol_class(guard: RequestGuard) -> type[HttpToolsProtocol]:
    class GuardedProtocol(HttpToolsProtocol):
        _head = 0
        _in_head = True

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            guard.owes(self)

        def connection_lost(self, exc: Exception | None) -> None:
            guard.paid(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                guard.owes(self)  # also for blank lines, which begin no request
                self._head += len(data)
                if self._head > guard.header_bytes and not self._looks_ahead(data):
                    return
            super().data_received(data)

        def _looks_ahead(self, data: bytes) -> bool:
            """Lets the parser see a large piece if its head ends within the bound; else refuses."""
            room = guard.header_bytes - (self._head - len(data))
            if b"\r\n\r\n" in data[: max(0, room) + 4]:
                return True
            guard.large_heads += 1
            self.refuse(
                b"431 Request Header Fields Too Large", b"the request's head is too large; see http.header_bytes"
            )
            return False

        def on_message_begin(self) -> None:
            guard.owes(self)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._head = 0
            self._in_head = True
            guard.paid(self)
            super().on_message_complete()

        def refuse(self, status: bytes, text: bytes) -> None:
            """Answers, if nothing was yet, and ends the connection."""
            guard.paid(self)
            if self.transport is None or self.transport.is_closing():
                return
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                self.transport.write(
                    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
                    b"connection: close\r\n\r\n%s" % (status, len(text), text)
                )
            self.transport.close()

    return GuardedProtocol
