# SPDX-License-Identifier: MIT
"""Time limits and counters of all HTTP connections of one server. Belongs to the loop's thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from heartfelt.monitor.metric import Figures, Reading, counter, read

if TYPE_CHECKING:
    from heartfelt.monitor.web.http1.link import HttpLink

LINGER_S = 2.0
"""How long a connection goes on reading after a response sent before its request was complete (RFC 9112, 9.6)."""
TIMED_OUT = "the request was not complete in time; see http.request_timeout"
SHORTEST_WAIT_S = 0.05
"""Connections that time out within this time are closed together."""

FIGURES: Figures = {
    "timeouts": counter("heartfelt_requests_timeouts", "HTTP requests that were not complete in time"),
    "large_heads": counter("heartfelt_requests_large_heads", "HTTP requests whose headers were too large"),
    "bad_requests": counter("heartfelt_requests_bad", "HTTP requests that are malformed or not supported"),
    "pipeline_pauses": counter(
        "heartfelt_requests_pipeline_pauses",
        "Pauses in reading from clients that do not read their answers",
    ),
    "unread_answers": counter(
        "heartfelt_requests_unread_answers", "Connections closed because the client did not read its answers"
    ),
    "abandoned": counter(
        "heartfelt_requests_abandoned", "Connections that clients closed while requests on them were not answered"
    ),
    "failed_handshakes": counter(
        "heartfelt_requests_failed_handshakes", "TLS connections whose handshake failed or took too long"
    ),
    "accept_errors": counter(
        "heartfelt_requests_accept_errors",
        "HTTP connections that could not be accepted, as for lack of descriptors",
    ),
    "over_limit": counter("heartfelt_requests_over_limit", "HTTP requests refused above limits.connections"),
}
_logger = logging.getLogger("heartfelt.monitor.http")  # the server limits it to one line a second


class Timeouts:
    """Connections that wait for the same thing, with the same timeout.

    One dict holds them in the order in which they began, which is the order in which they time out: beginning and
    ending cost one operation of a dict, and one timer serves all.
    """

    __slots__ = ("_due", "_expired", "_timer", "seconds")

    def __init__(self, seconds: float, expired: Callable[[HttpLink], None]) -> None:
        self.seconds = seconds
        self._expired = expired
        self._due: dict[HttpLink, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, connection: HttpLink) -> bool:
        return connection in self._due

    def begin(self, connection: HttpLink, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the connection's timeout, unless it is already running."""
        if connection not in self._due:
            self._due[connection] = loop.time() + self.seconds
            if self._timer is None:
                self._timer = loop.call_later(self.seconds, self._tick, loop)

    def end(self, connection: HttpLink) -> None:
        self._due.pop(connection, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._due:
            connection, deadline = next(iter(self._due.items()))
            if deadline > now:
                break
            del self._due[connection]
            self._expired(connection)
        if self._due and self._timer is None:
            deadline = next(iter(self._due.values()))
            self._timer = loop.call_later(max(SHORTEST_WAIT_S, deadline - now), self._tick, loop)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()


class RequestGuard:
    """Limits for every connection of a server, and counts of refusals.

    request_timeout_s: time limit for receiving a complete request. keep_alive_s: how long a connection may be idle
    between requests. send_timeout_s: a client that reads none of its response for this long is disconnected.
    header_bytes: maximum size of a request's head.
    """

    def __init__(
        self,
        *,
        request_timeout_s: float,
        header_bytes: int,
        keep_alive_s: float = 65.0,
        send_timeout_s: float = 30.0,
        linger_s: float = LINGER_S,
    ) -> None:
        self.header_bytes = header_bytes
        self.requests = Timeouts(request_timeout_s, lambda one: one.request_timed_out())
        self.idle = Timeouts(keep_alive_s, lambda one: one.idle_timed_out())
        self.lingering = Timeouts(linger_s, lambda one: one.linger_timed_out())
        self.sending = Timeouts(send_timeout_s, lambda one: one.send_timed_out())
        self.other_connections: Callable[[], int] = lambda: 0
        """Connections that count for limits.connections and are not ServerConnections: those of the lane."""
        self.timeouts = 0
        self.large_heads = 0
        self.bad_requests = 0
        self.pipeline_pauses = 0
        self.unread_answers = 0
        self.abandoned = 0
        self.failed_handshakes = 0
        self.accept_errors = 0
        self.over_limit = 0

    def forget(self, connection: HttpLink) -> None:
        for one in (self.requests, self.idle, self.lingering, self.sending):
            one.end(connection)

    def close(self) -> None:
        for one in (self.requests, self.idle, self.lingering, self.sending):
            one.close()

    def warn(self, peer: str, text: str) -> None:
        _logger.warning("http client %s: %s", peer, text)

    def refuse_above(self, limit: int, peer: str) -> None:
        """Counts and logs a request that is refused because there are too many connections."""
        self.over_limit += 1
        self.warn(peer, f"answered 503: there are {limit} connections already (limits.connections)")

    def stats(self) -> dict[str, int]:
        """Returns the counts that FIGURES describes."""
        return {name: getattr(self, name) for name in FIGURES}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
