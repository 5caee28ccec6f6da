# SPDX-License-Identifier: MIT
"""The side of a connection that was connected to: takes beats, inputs, notices and requests, and answers.

While the other side does not read its answers, nothing more is read from it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from heartfelt.errors import FrameError
from heartfelt.monitor.cluster.channel.answering import Answers, Handlers, message_of
from heartfelt.monitor.cluster.channel.frames import (
    ACK,
    BEATS,
    CANCEL,
    CREDIT,
    FRAME_BYTES,
    INPUTS,
    NOTICE,
    REQUEST,
    UNKNOWN,
    BeatBatch,
    Transit,
    decode,
    frame,
    unpack_beats,
    unpack_clock,
    unpack_inputs,
)
from heartfelt.monitor.cluster.channel.handshake import HandshakeRefused, ListenerHandshake
from heartfelt.monitor.cluster.channel.wire import PeerWire, logger
from heartfelt.monitor.ingest.log_rate import RateLog

MOST_REMEMBERED = 4096
"""The number of monitors of which the last batch that was handled is remembered."""
BEATS_A_TURN = 8192
"""After so many beats other callbacks of the loop have their turn."""
ACKNOWLEDGE_AFTER = 16
"""Batches of beats; feed.WINDOW are on their way at most."""


class NoticeBody(msgspec.Struct, array_like=True):
    """The body of NOTICE."""

    name: str
    body: msgspec.Raw


_notices = msgspec.msgpack.Decoder(NoticeBody)


class Handled:
    """The last batch of each monitor that was handled, over all its connections: none is handled twice."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def last(self, peer: str) -> int:
        """Returns 0 if none is remembered."""
        return self._last.get(peer, 0)

    def set(self, peer: str, number: int) -> None:
        self._last[peer] = number
        self._last.move_to_end(peer)
        if len(self._last) > MOST_REMEMBERED:
            self._last.popitem(last=False)


class IncomingWire(PeerWire):
    """on_known: called when the handshake has succeeded; on_end: when it ends; on_lost: when nothing of it is left."""

    def __init__(
        self,
        secret: Callable[[], bytes],
        own: str,
        handlers: Handlers,
        handled: Handled,
        now_ms: Callable[[], int],
        counts: Counter[str],
        log: RateLog,
        *,
        on_known: Callable[[IncomingWire], None],
        on_end: Callable[[IncomingWire], None],
        on_lost: Callable[[IncomingWire], None],
    ) -> None:
        super().__init__(counts, log)
        self.answers = Answers(self, handlers, counts)
        self._handlers, self._handled, self._now_ms = handlers, handled, now_ms
        self._on_known, self._on_end, self._on_lost = on_known, on_end, on_lost
        self._listening = ListenerHandshake(secret, own, self._handled_of)
        self._lateness = Transit()
        self._unacknowledged = self._acknowledged = 0
        self._must_acknowledge = False
        self._beats = 0
        self._is_resting = False

    # -- the handshake

    def greet(self, kind: int, body: bytes) -> None:
        try:
            answer = self._listening.receive(kind, body)
            if self.reader.waiting:
                raise HandshakeRefused("malformed", "it sends before it was asked")
        except (HandshakeRefused, FrameError) as refusal:
            code = refusal.code if isinstance(refusal, HandshakeRefused) else "malformed"
            self.refuse(code if code in _CODES else "malformed", str(refusal))
            return
        self.write(answer)
        if self._listening.peer is not None:
            self.known = True
            self.reader.most = FRAME_BYTES
            self.greeted.set()

    def refuse(self, code: str, text: str) -> None:
        """Ends a handshake, and tells the other side why."""
        self.counts[f"refused_{code}"] += 1
        self.log.warn(f"refused {code}", f"a connection from {self.address} is refused: {text}")
        self.write(HandshakeRefused(code, text).frame())
        self.close(text, flush=True)

    def _handled_of(self, peer: str) -> int:
        self.peer = peer
        self._on_known(self)  # ends an older connection, before what that has handled is looked up
        return self._handled.last(peer)

    # -- frames

    @property
    def is_held(self) -> bool:
        return self._is_resting or not self.room.is_set()

    def _hold(self) -> None:
        """Stops reading."""
        if self.transport is not None and not self.ending:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Reads again, unless there is another reason not to."""
        if self.transport is not None and not (self.ending or self.is_held):
            self.heard_s = self.loop.time()
            self.transport.resume_reading()
            self.process()

    def _rest(self) -> None:
        """Lets the other callbacks of the loop have their turn."""
        self._is_resting = True
        self._hold()
        self.loop.call_soon(self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting, self._beats = False, 0
        self._go_on()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._hold()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def frame(self, kind: int, number: int, body: bytes) -> None:
        if kind == BEATS:
            sent_ms, ids, ages = unpack_beats(body)
            at_ms = self._at_ms(sent_ms)
            if self._is_new(number):
                self.counts["beats_received"] += len(ids)
                self._beats += len(ids)
                if self._beats >= BEATS_A_TURN:
                    self._rest()
                self._call(self._handlers.beats, BeatBatch(ids, ages, at_ms))
        elif kind == INPUTS:
            self._must_acknowledge = True
            inputs = unpack_inputs(body, self._at_ms(unpack_clock(body)))
            if self._is_new(number):
                self.counts["inputs_received"] += len(inputs)
                self._call(self._handlers.inputs, inputs)
        elif kind == REQUEST:
            self.answers.request(number, body)
        elif kind == CREDIT:
            self.answers.credit(number, body)
        elif kind == CANCEL:
            self.answers.cancel(number)
        elif kind == NOTICE:
            self._notice(body)
        elif kind != UNKNOWN:
            self.unknown(kind, number)

    def _at_ms(self, sent_ms: int) -> int:
        """Returns when a frame would have arrived that did not wait anywhere."""
        now_ms = self._now_ms()
        return now_ms - self._lateness.of(sent_ms, now_ms)

    def pinged(self, body: bytes) -> None:
        self._at_ms(unpack_clock(body))
        self._must_acknowledge = True

    def _is_new(self, number: int) -> bool:
        """Notes that a batch is handled. Returns False if it was before."""
        last = self._handled.last(self.peer)
        self._unacknowledged = max(number, last)
        if self._unacknowledged - self._acknowledged >= ACKNOWLEDGE_AFTER:
            self._must_acknowledge = True
        if number <= last:
            self.counts["batches_known"] += 1
            return False
        if last and number != last + 1:
            raise FrameError("malformed", f"batch {number} follows batch {last}", fatal=True)
        self._handled.set(self.peer, number)
        return True

    def _call(self, handler: Callable[[str, Any], object] | None, what: Any) -> None:
        """Calls a handler. What fails is not sent again."""
        if handler is None:
            self.counts["unhandled"] += 1
            self.log.warn("unhandled", f"what the monitor {self.peer} forwards is handled by nobody")
            return
        try:
            handler(self.peer, what)
        except Exception:
            self.counts["handler_errors"] += 1
            logger.exception("what the monitor %s has sent could not be handled", self.peer)

    def _notice(self, body: bytes) -> None:
        notice = decode(_notices, body)
        self.counts["notices_received"] += 1
        handler = self._handlers.notices.get(notice.name)
        if handler is None:
            self.unknown(NOTICE, 0)
            return
        try:
            message = message_of(notice.body, handler.kind)
        except Exception as error:
            self.counts["handler_errors"] += 1
            self.log.warn("notice", f"the notice {notice.name!r} of the monitor {self.peer} is left out: {error}")
            return
        self._call(handler.call, message)

    def processed(self) -> None:
        if self._must_acknowledge:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Says which batches were handled. Those of beats wait for that until the next ping, or check, both twice a
        second: what is sent again does nothing. Inputs are acknowledged at once."""
        self._must_acknowledge = False
        if self._unacknowledged:
            self.write(frame(ACK, self._unacknowledged))
            self._acknowledged, self._unacknowledged = self._unacknowledged, 0

    # -- the end

    def ended(self) -> None:
        self.answers.end()
        self._on_end(self)

    def lost(self) -> None:
        self._on_lost(self)


_CODES = frozenset(("version", "secret", "identity", "malformed"))
