# SPDX-License-Identifier: MIT
"""The TCP port for Sermant's agents and heartfelt's own: accepts connections, up to a limit.

Agents reset their backoff after each successful connect. So a connection is never closed right after it was accepted:
at the limit of connections the server stops accepting (the kernel keeps the next clients in its backlog), and a
connection that must end is quarantined, kept open unread for a while, before it is closed (`connection.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Iterator

from heartfelt.monitor.ingest.connection import VIA, AgentConnection
from heartfelt.monitor.ingest.intake import Auth, Intake
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.tasks import LEFT_RUNNING, TimedEvent, end_tasks

__all__ = ["SermantServer"]

BACKLOG = 1024
ACCEPTS_AT_ONCE = 64
ASKED_AT_ONCE = 128
"""Connections whose token is checked again before others get their turn, about 5 us each."""
QUARANTINE_S = 30.0
RETRY_S = 1.0
HANDSHAKE_S = 10.0
END_S = 1.0
"""How long a stop waits for handshakes to end, and then again for connections to close."""
_logger = logging.getLogger("heartfelt.monitor")
_OUT_OF = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_CLOSED = counter("heartfelt_tcp_closed", "Connections that ended: by a close, or broken by an error", labels=("how",))
_QUARANTINES = counter(
    "heartfelt_tcp_quarantines",
    "Connections that were quarantined: kept open unread for a while before they are closed",
    labels=("reason",),
)
FIGURES: Figures = {
    "connections": gauge("heartfelt_tcp_connections", "TCP connections of agents that are open now"),
    "connections_held": gauge("heartfelt_tcp_quarantined_connections", "Open connections that are quarantined"),
    "accepting": gauge("heartfelt_tcp_accepting", "1 if connections are accepted, 0 at the limit or after an error"),
    "pending_bytes": gauge(
        "heartfelt_tcp_pending_bytes", "Received bytes of frames that are not complete yet", unit="bytes"
    ),
    "accepted": counter("heartfelt_tcp_accepted", "Connections that were accepted"),
    "closed": _CLOSED.of("closed"),
    "broken": _CLOSED.of("broken"),
    "idle": counter("heartfelt_tcp_idle", "Connections that were ended since no frame was completed in time"),
    "ended_within_a_frame": counter("heartfelt_tcp_truncated", "Connections that ended in the middle of a frame"),
    **{why: _QUARANTINES.of(why) for why in ("lost_framing", "unauthorised", "pending_limit", "token_revoked")},
    "rate_pauses": counter(
        "heartfelt_tcp_rate_pauses", "Times that reading paused because a client's rate was above its limit"
    ),
    "skipped_bytes": counter(
        "heartfelt_tcp_skipped_bytes", "Bytes of frames above limits.frame_bytes, which were dropped", unit="bytes"
    ),
    "messages_ignored": counter("heartfelt_tcp_messages_ignored", "Messages of kinds that a monitor has no use for"),
    "accept_errors": counter("heartfelt_tcp_accept_errors", "Connections that could not be accepted"),
    "accept_errors_other": counter(
        "heartfelt_tcp_unexpected_accept_errors",
        "Connections that could not be accepted for another reason than a lack of descriptors or memory",
    ),
    "most": gauge("heartfelt_tcp_most_connections", "Connections that may be open at a time"),
    "times_full": counter("heartfelt_tcp_full", "Times that the limit of connections was reached"),
    "left_running": LEFT_RUNNING.of("tcp"),
    "left_open": counter("heartfelt_tcp_left_open", "Connections that did not close within the time of a stop"),
}


class SermantServer:
    """`await start()`, `await stop()`. `port` 0: any free port; after the start `address` has its number.

    auth: replaces the intake's check of tokens. tls: a server-side context. quarantine_s: how long a quarantined
    connection is kept open. most: limit of connections, if there are too few descriptors for limits.connections.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        host: str = "127.0.0.1",
        port: int = 6888,
        auth: Auth | None = None,
        tls: ssl.SSLContext | None = None,
        quarantine_s: float = QUARANTINE_S,
        end_s: float = END_S,
        most: int | None = None,
    ) -> None:
        self.intake = intake
        self.auth = intake.auth if auth is None else auth
        self.quarantine_s = quarantine_s
        self.pending_bytes = 0
        connections = intake.limits.connections
        self.most = connections if most is None else min(most, connections)
        self._end_s = end_s
        self._none_open = TimedEvent()  # set when the last connection ends while a stop waits for that
        self._host, self._port, self._tls = host, port, tls
        self._listening: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop
        self._accepting = False
        self._retry: asyncio.TimerHandle | None = None
        self._joining: set[asyncio.Task[None]] = set()
        self.connections: set[AgentConnection] = set()
        self.counts: Counter[str] = Counter()

    @property
    def address(self) -> tuple[str, int]:
        assert self._listening is not None, "the server was not started"
        return self._listening.getsockname()[:2]  # type: ignore[no-any-return]

    async def start(self) -> None:
        """Starts to listen. Raises OSError if the address cannot be used."""
        self._loop = asyncio.get_running_loop()
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._listening = listening
        self._accept_more()

    @property
    def stop_s(self) -> float:
        """The most that `stop` takes."""
        return 2 * self._end_s

    async def stop(self) -> None:
        """Accepts nothing more, closes all connections. Takes at most `stop_s`; what does not end is logged, counted
        and left. Idempotent."""
        if self._listening is None:
            return
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()
        self._listening = None
        left = await end_tasks(self._joining, seconds=self._end_s)
        self.counts["left_running"] += len(left)
        for connection in list(self.connections):
            connection.abort()
        if self.connections and not await self._closed_all():
            self.counts["left_open"] += len(self.connections)
            _logger.error("TCP: %d connections did not close within %g s", len(self.connections), self._end_s)

    async def _closed_all(self) -> bool:
        """Waits until the loop has reported the end of each aborted connection, for at most `end_s`."""
        self._none_open.clear()
        return await self._none_open.wait(self._end_s)

    # -- accepting

    def _accept_more(self) -> None:
        self._retry = None
        if self._listening is not None and not self._accepting and not self._is_full():
            self._accepting = True
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _pause(self) -> None:
        if self._accepting and self._listening is not None:
            self._accepting = False
            self._loop.remove_reader(self._listening.fileno())

    def _is_full(self) -> bool:
        return len(self.connections) + len(self._joining) >= self.most

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._listening is None or self._is_full():
                break
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self.counts["accept_errors"] += 1
                self.intake.log.warn(
                    "accept", f"TCP: cannot accept a connection, trying again in {RETRY_S:g} s: {error}"
                )
                if error.errno not in _OUT_OF:
                    self.counts["accept_errors_other"] += 1
                self._pause()
                self._retry = self._loop.call_later(RETRY_S, self._accept_more)
                return
            accepted.setblocking(False)
            with contextlib.suppress(OSError):  # if it is gone already, the connection will notice
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.counts["accepted"] += 1
            task = self._loop.create_task(self._join(accepted), name="tcp handshake")
            self._joining.add(task)
            task.add_done_callback(self._joined)
        if self._is_full():
            self.counts["times_full"] += 1
            self.intake.log.warn(
                "full",
                f"TCP: {self.most} connections are open ({self._why_most()}); more are accepted when some end",
            )
            self._pause()

    def _why_most(self) -> str:
        return "limits.connections" if self.most == self.intake.limits.connections else "the process's limit of files"

    async def _join(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: AgentConnection(self),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
            )
        except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:
            accepted.close()
            self.intake.counters.refuse(VIA, "handshake")
            self.intake.log.warn("handshake", f"TCP: a handshake failed: {error!r}")
        except BaseException:
            accepted.close()
            raise

    def _joined(self, task: asyncio.Task[None]) -> None:
        self._joining.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counts["accept_errors_other"] += 1
            self.intake.log.warn("accept", f"TCP: {error!r}")
        self._accept_more()

    def closed(self, connection: AgentConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._none_open.set()
        self._accept_more()

    # -- tokens

    def ask_again(self) -> None:
        """Ends the connections whose token is no longer valid. Must be called when a token was revoked, so that
        heartbeats need no check. O(connections), a slice at a time."""
        self._check_some(list(self.connections), 0)

    def _check_some(self, connections: list[AgentConnection], ended: int) -> None:
        ended += sum(connection.ask_again() for connection in connections[:ASKED_AT_ONCE])
        left = connections[ASKED_AT_ONCE:]
        if left:
            self._loop.call_soon(self._check_some, left, ended)
        elif ended:
            self.intake.log.warn("token revoked", f"TCP: token revoked: {ended} connections that used it were closed")

    def stats(self) -> dict[str, int | float]:
        """Returns the figures of this port: connections now and since the start, by how they ended."""
        held = sum(1 for connection in self.connections if connection.is_quarantined)
        return {
            "connections": len(self.connections),
            "connections_held": held,
            "accepting": int(self._accepting),
            "most": self.most,
            "pending_bytes": self.pending_bytes,
            **self.counts,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
