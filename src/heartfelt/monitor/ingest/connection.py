# SPDX-License-Identifier: MIT
"""One TCP connection of an agent: reads frames and writes nothing.

A connection ends when it completes no frame for `connection_idle`, so slow and half-open connections end, too. A frame
above limits.frame_bytes is skipped: it does not count as one, and the next one is read. A connection that must not be
read any further (no token, framing lost) is quarantined: it is kept open unread for a while and then closed. If a
client sends heartbeats faster than allowed, reading pauses, which TCP makes the client notice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol, cast

from heartfelt.errors import FrameError
from heartfelt.monitor.credentials import why_refused
from heartfelt.monitor.ingest.decode import BadInput, decode_events, decode_goodbye, most_of_beat
from heartfelt.monitor.ingest.intake import INGEST, REFUSALS, SERMANT, Auth, Intake
from heartfelt.monitor.peer import plain_address
from heartfelt.wire.frames import EVENT, GOODBYE, HEARTBEAT, TOKEN, FrameDecoder, Message

__all__ = ["VIA", "AgentConnection"]

VIA = SERMANT
AT_ONCE = 64
"""Messages handled before other connections get their turn."""
AT_ONCE_BYTES = 1 << 20
PENDING_BYTES = 256 << 20
"""Limit for the bytes of incomplete frames, of all connections together."""
EARLY_EVENTS = 16
EARLY_BYTES = 256 << 10
EARLY_S = 5.0
"""How long events wait for the first heartbeat of their instance. An agent sends it as soon as it has connected."""
INSTANCES = 64
_PENDING = (
    f"incomplete frames of all connections take more than {PENDING_BYTES >> 20} MiB; this connection is closed: send "
    "whole frames, or smaller ones (limits.frame_bytes)"
)


class Server(Protocol):
    """The server as its connections see it."""

    intake: Intake
    auth: Auth
    quarantine_s: float
    connections: set[AgentConnection]
    counts: Counter[str]
    pending_bytes: int
    """Bytes of incomplete frames, of all connections."""

    def closed(self, connection: AgentConnection) -> None: ...


class AgentConnection(asyncio.Protocol):
    """Belongs to the loop's thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._intake = server.intake
        limits = server.intake.limits
        self._decoder = FrameDecoder(
            max_frame=limits.frame_bytes,
            max_gunzip=limits.gunzip_bytes,
            max_heartbeat=most_of_beat(limits.meta_bytes),
        )
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._peer = ""
        self._allowed: bool | None = None
        self._token: str | None = None
        self._services: dict[str, str] = {}  # instance id -> service, of the last to beat on this connection
        self._early: list[bytes] = []  # events received before the first heartbeat of their instance
        self._early_timer: asyncio.TimerHandle | None = None
        self._progress = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._pending = 0
        self._is_closed = False
        self._turn: asyncio.Handle | None = None
        self.is_quarantined = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is not a subclass of it
        address = transport.get_extra_info("peername")
        self._peer = plain_address(str(address[0])) if address else ""
        self._server.connections.add(self)
        self._progress = self._loop.time()
        self._timer = self._loop.call_later(self._intake.limits.connection_idle, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._turn is None:
            self._ended()
        elif not self.is_quarantined:  # it sent more than one turn can handle before it closed
            self._turn.cancel()
            self._turn = self._loop.call_soon(self._pump)
        self._server.counts["closed" if exc is None else "broken"] += 1
        self._server.closed(self)

    def _ended(self) -> None:
        """Cleans up after everything that was received has been handled."""
        self._report_early(last=True)
        if self._decoder.pending or self._decoder.to_skip:
            self._server.counts["ended_within_a_frame"] += 1
        self._decoder = FrameDecoder()
        self._count_pending()

    def _count_pending(self) -> bool:
        """Counts the bytes of the incomplete frame. Returns whether all connections are within PENDING_BYTES."""
        pending = self._decoder.pending
        self._server.pending_bytes += pending - self._pending
        self._pending = pending
        return self._server.pending_bytes <= PENDING_BYTES

    def abort(self) -> None:
        self._transport.abort()

    def ask_again(self) -> bool:
        """Ends the connection if its token is no longer valid, and returns whether it did. Data that was received but
        not handled yet is dropped."""
        if not self._allowed or self.is_quarantined or self._server.auth(self._token, INGEST):
            return False
        self._quarantine("token_revoked")
        self._transport.abort()  # if it reconnects with this token, it is quarantined like any other
        return True

    def data_received(self, data: bytes) -> None:
        if not self.is_quarantined:
            self._decoder.feed(data)
            if self._turn is None:
                self._pump()
            if self._decoder.skipped:
                self._server.counts["skipped_bytes"] += self._decoder.skipped
                self._decoder.skipped = 0

    def eof_received(self) -> bool | None:
        return None  # `_pump` goes on handling what was read, also while the transport closes

    # -- reading

    def _pump(self) -> None:
        """Handles a slice of what was received. The next slice comes after the other connections' turn, or when the
        client's rate allows it."""
        self._turn = None
        beats, is_all = self._slice()
        if self.is_quarantined:
            return
        wait = 0.0
        if beats and not self._is_closed:
            wait = self._intake.rates.owe(self._peer, beats)
            self._server.counts["rate_pauses"] += wait > 0
        if wait > 0:
            self._pause_reading()
            self._turn = self._loop.call_later(wait, self._pump)
        elif not is_all:
            self._pause_reading()
            self._turn = self._loop.call_soon(self._pump)
        elif self._is_closed:
            self._ended()
        elif not self._count_pending():
            self._intake.refuse(VIA, BadInput("pending", _PENDING), self._peer)
            self._quarantine("pending_limit")
        else:
            self._resume_reading()

    def _slice(self) -> tuple[int, bool]:
        """Handles a slice. Returns how many heartbeats it had, and whether nothing is left."""
        n_bytes = beats = 0
        for n, item in enumerate(self._decoder, 1):
            self._intake.counters.messages[VIA] += 1
            if isinstance(item, FrameError):
                self._intake.refuse(VIA, item, self._peer)
                if item.reason == "gunzip_limit":
                    n_bytes += AT_ONCE_BYTES
                if item.fatal:
                    self._quarantine("lost_framing")
                    break
            elif not self._is_allowed(item):
                self._intake.refuse(VIA, self._why_refused(), self._peer)
                self._quarantine("unauthorised")
                break
            else:
                self._progress = self._loop.time()
                beats += item.kind == HEARTBEAT
                n_bytes += len(item.data)
                self._handle(item)
            if n >= AT_ONCE or n_bytes >= AT_ONCE_BYTES:
                return beats, False
        return beats, True

    def _is_allowed(self, item: Message) -> bool:
        # The token is the first message of a frame.
        if item.kind == TOKEN:
            self._token = item.data.decode(errors="replace")
            self._allowed = self._server.auth(self._token, INGEST)
        elif self._allowed is None:
            self._allowed = self._server.auth(None, INGEST)
        return self._allowed

    def _why_refused(self) -> BadInput:
        held = None if self._token is None else self._intake.tokens.held(self._token)
        code, text = why_refused(self._token, INGEST, held)
        return BadInput(code, f"{text}, or set auth.tcp = false for agents that cannot send one")

    def _handle(self, item: Message) -> None:
        try:
            if item.kind == HEARTBEAT:
                instance = self._intake.take(item.data, VIA, self._peer)
                if instance.instance_id not in self._services:
                    if len(self._services) >= INSTANCES:
                        del self._services[next(iter(self._services))]
                    self._services[instance.instance_id] = instance.service
                    self._intake.services.learn(instance.instance_id, instance.service)
                    if self._early:
                        self._report_early()
            elif item.kind == EVENT:
                self._event(item.data)
            elif item.kind == GOODBYE:
                service, instance_id = decode_goodbye(item.data)
                self._intake.goodbye(service, instance_id, VIA, self._peer)
            elif item.kind != TOKEN:  # tracing and visibility data, which this monitor has no use for
                self._server.counts["messages_ignored"] += 1
        except REFUSALS as error:
            self._intake.refuse(VIA, error, self._peer)

    # -- events: an agent sends its first ones before its first heartbeat, and they do not name their service

    def _event(self, text: bytes) -> None:
        instance_id, _ = decode_events(text)
        is_known = instance_id in self._services or self._intake.services.of(instance_id) is not None
        if is_known or len(self._early) >= EARLY_EVENTS or len(text) > EARLY_BYTES // EARLY_EVENTS:
            self._intake.events(text, VIA, self._peer, self._services.get)
            return
        self._early.append(text)
        if self._early_timer is None:
            self._early_timer = self._loop.call_later(EARLY_S, self._report_early, True)

    def _report_early(self, last: bool = False) -> None:
        """Reports the events whose instance has beaten meanwhile; all, without a service, if `last`."""
        if last and self._early_timer is not None:
            self._early_timer.cancel()
            self._early_timer = None
        early, self._early = self._early, []
        for text in early:
            if last or decode_events(text)[0] in self._services:
                self._intake.events(text, VIA, self._peer, self._services.get)
            else:
                self._early.append(text)

    # -- flow control, and the end

    def _pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _quarantine(self, why: str) -> None:
        """Stops reading, and closes the connection later: after an early close the agent would reconnect at once."""
        self.is_quarantined = True
        self._server.counts[why] += 1
        self._decoder = FrameDecoder()
        self._count_pending()
        if self._is_closed:
            return
        self._pause_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._server.quarantine_s, self._transport.abort)

    def _look(self) -> None:
        idle_s = self._intake.limits.connection_idle
        left = self._progress + idle_s - self._loop.time()
        if self._turn is not None:  # reading is paused by us
            left = idle_s
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._timer = None
        self._server.counts["idle"] += 1
        self._transport.abort()
