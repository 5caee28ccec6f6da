# SPDX-License-Identifier: MIT
"""The side of a connection that connects: sends beats, inputs, notices and requests, and gets the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from heartfelt.errors import FrameError
from heartfelt.monitor.cluster.channel.asking import Asks
from heartfelt.monitor.cluster.channel.feed import Feed
from heartfelt.monitor.cluster.channel.frames import ACK, FRAME_BYTES, NOTICE, PING, UNKNOWN, frame, pack_clock
from heartfelt.monitor.cluster.channel.handshake import Dialing, HandshakeRefused
from heartfelt.monitor.cluster.channel.wire import PeerWire
from heartfelt.monitor.ingest.log_rate import RateLog


class Outgoing(PeerWire):
    """now_ms: the clock of `feed`. Errors of the handshake are in `refusal`."""

    logs_failures = False  # Peers does

    def __init__(
        self,
        dialing: Dialing,
        peer: str,
        feed: Feed,
        now_ms: Callable[[], int],
        counts: Counter[str],
        log: RateLog,
    ) -> None:
        super().__init__(counts, log)
        self.peer = peer
        self.asks = Asks(self, counts)
        self.refusal: HandshakeRefused | None = None
        self._dialing, self._feed, self._now_ms = dialing, feed, now_ms

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.write(self._dialing.first())

    def greet(self, kind: int, body: bytes) -> None:
        try:
            answer = self._dialing.receive(kind, body)
        except HandshakeRefused as refusal:
            self.refusal = refusal
            if refusal.by_peer:
                self.close(str(refusal))
            else:
                self.write(refusal.frame())
                self.close(str(refusal), flush=True)
            return
        if answer is not None:
            self.write(answer)
            return
        self.known = True
        self.reader.most = FRAME_BYTES
        self._feed.resume(self._dialing.handled)
        self.greeted.set()
        self.pump()

    def frame(self, kind: int, number: int, body: bytes) -> None:
        if kind == ACK:
            if not self._feed.acknowledge(number):
                raise FrameError("malformed", f"it acknowledges batch {number}, which was not sent", fatal=True)
            self.pump()
        elif not self.asks.handle(kind, number, body):
            if kind != UNKNOWN:
                self.unknown(kind, number)
            elif body[:1] == bytes((NOTICE,)):
                self.counts["notices_unknown"] += 1
            else:
                self.counts["unknown"] += 1

    def pump(self) -> None:
        """Sends what waits, as far as there is room."""
        while self.known and not self.ending and self.room.is_set():
            if (made := self._feed.take(self._now_ms())) is None:
                return
            self.counts["batches_sent"] += 1
            self.write(made)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.pump()

    def ping(self) -> None:
        """Asks for a sign of life."""
        if self.known and self.room.is_set():
            self.write(frame(PING, 0, pack_clock(self._now_ms())))

    def notify(self, body: bytes) -> bool:
        """Sends a notice. Returns False if there is no room."""
        if not self.known or self.ending or not self.room.is_set():
            return False
        self.write(frame(NOTICE, 0, body))
        return True

    def ended(self) -> None:
        self.asks.end(self.why)
