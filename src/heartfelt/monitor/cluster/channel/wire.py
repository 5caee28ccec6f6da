# SPDX-License-Identifier: MIT
"""One connection to another monitor, what both its sides have in common: frames, room to write, silence, its end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from heartfelt.errors import FrameError
from heartfelt.monitor.cluster.channel.frames import GREETING_BYTES, PING, PONG, UNKNOWN, FrameReader, frame
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.tasks import TimedEvent

__all__ = ["ChannelTiming", "PeerWire", "logger"]

WRITE_BYTES = 256 * 1024
"""The most that waits in a connection's transport before writing pauses; one frame may exceed it."""
FLUSH_S = 0.5
"""How long a connection that closes may take to send what was written."""
logger = logging.getLogger("heartfelt.monitor.cluster")


@dataclass(frozen=True)
class ChannelTiming:
    """Times in seconds."""

    batch_s: float = 0.05
    """How long beats and inputs wait for others."""
    ping_s: float = 0.5
    silent_s: float = 4.0
    """A connection over which nothing has come for so long is closed."""
    handshake_s: float = 5.0
    retry_s: float = 0.1
    """The first pause before a new attempt to connect; it doubles."""
    most_retry_s: float = 5.0
    end_s: float = 1.0
    """How long tasks, and then connections, may take to end at the stop."""


class PeerWire(asyncio.Protocol):
    """Base of OutgoingWire and IncomingWire. `closed` is set at its end, `why` says the reason."""

    logs_failures = True

    def __init__(self, counts: Counter[str], log: RateLog) -> None:
        self.counts, self.log = counts, log
        self.loop = asyncio.get_running_loop()
        self.reader = FrameReader(GREETING_BYTES)
        self.transport: asyncio.Transport | None = None
        self.peer = "?"
        """The other monitor's id, once it is known."""
        self.address = "?"
        self.known = False
        """The handshake has succeeded."""
        self.greeted = TimedEvent()
        """Set when the handshake has succeeded or the connection has ended."""
        self.closed = TimedEvent()
        self.why = ""
        self.ending = False
        self._is_reported = False
        self.room = TimedEvent()
        """Set while there is room to write, and at the end."""
        self.room.set()
        self.heard_s = self.loop.time()
        self._unsent = 0

    # -- for the sides

    def frame(self, kind: int, number: int, body: bytes) -> None:
        """Handles a frame. Raises FrameError if the connection cannot go on."""
        raise NotImplementedError

    def greet(self, kind: int, body: bytes) -> None:
        """Handles a frame of the handshake."""
        raise NotImplementedError

    def processed(self) -> None:
        """Called after all frames that have arrived were handled."""

    def ended(self) -> None:
        """Called once, when the connection ends; `lost` follows, when nothing of it is left."""

    def lost(self) -> None: ...

    # -- reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are no subclasses of Transport
        assert self.transport is not None
        peer = transport.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)
        self.transport.set_write_buffer_limits(high=WRITE_BYTES)
        if self.ending:  # given up meanwhile
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        self.heard_s = self.loop.time()
        self.counts["bytes_received"] += len(data)
        self.reader.feed(data)
        self.process()

    @property
    def is_held(self) -> bool:
        """Frames are not handled at this time."""
        return False

    def process(self) -> None:
        """Handles what has arrived."""
        try:
            while not (self.ending or self.is_held) and (found := self.reader.take()) is not None:
                kind, number, body = found
                if self.known:
                    self._frame(kind, number, body)
                else:
                    self.greet(kind, body)
            if not self.ending:
                self.processed()
        except FrameError as error:
            self.fail("malformed", str(error))
        except Exception:
            logger.exception("a frame of the monitor %s could not be handled", self.peer)
            self.fail("error", "a frame could not be handled")

    def _frame(self, kind: int, number: int, body: bytes) -> None:
        if kind == PING:
            self.pinged(body)
            self.write(frame(PONG, number, body))
        elif kind != PONG:
            self.frame(kind, number, body)

    def pinged(self, body: bytes) -> None: ...

    def unknown(self, kind: int, number: int) -> None:
        """Answers a frame that a newer monitor has sent."""
        self.counts["unknown"] += 1
        self.log.warn("unknown", f"the monitor {self.peer} has sent a frame of the unknown kind {kind}, left out")
        if kind != UNKNOWN and self.room.is_set():
            self.write(frame(UNKNOWN, number, bytes((kind,))))

    # -- writing

    def write(self, data: bytes) -> None:
        if not self.ending and self.transport is not None:
            self.counts["bytes_sent"] += len(data)
            self.transport.write(data)

    async def wait_for_room(self) -> None:
        """Returns when there is room to write, also if several wait for it."""
        while not self.room.is_set():
            await self.room.wait()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    # -- silence

    def check(self, now_s: float, silent_s: float) -> None:
        """Closes a connection over which nothing has come for too long."""
        if self.transport is None or not self.known:
            return  # the handshake has a time limit of its own
        if not self.room.is_set():
            unsent = self.transport.get_write_buffer_size()
            if unsent < self._unsent and self.is_held:
                self.heard_s = now_s  # it reads, though slowly
            self._unsent = unsent
        if now_s - self.heard_s > silent_s:
            reads = "" if self.room.is_set() else ", and it does not read"
            self.fail("silent", f"nothing has come for {now_s - self.heard_s:.1f} s{reads}")

    # -- the end

    def fail(self, reason: str, text: str) -> None:
        """Ends the connection because of an error, which is counted and logged."""
        if self.ending:
            return
        self.counts[f"failed_{reason}"] += 1
        if self.logs_failures:
            self.log.warn(reason, f"the connection of the monitor {self.peer} at {self.address} is closed: {text}")
        self.close(text)

    def close(self, why: str, *, flush: bool = False) -> None:
        """Ends the connection. flush: sends first what was written, as far as the system takes it."""
        if self.ending:
            return
        self.ending, self.why = True, why
        if self.transport is None:
            return
        if flush:
            self.transport.close()
            self.loop.call_later(FLUSH_S, self.transport.abort)
        else:
            self.transport.abort()
        self._report()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ending:
            self.ending = True
            self.why = str(error) if error is not None else "the other side has closed it"
        self._report()
        self.closed.set()
        self.lost()

    def _report(self) -> None:
        self.room.set()
        self.greeted.set()
        if not self._is_reported:
            self._is_reported = True
            self.ended()
