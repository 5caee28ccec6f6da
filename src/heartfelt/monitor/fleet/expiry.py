# SPDX-License-Identifier: MIT
"""Takes what the timers say, for a bounded time, and acts on it.

A time that is up is only a hint: it may have been read late. Whether it is still true is asked of the hub when it is
acted upon, and then it is decided once. Losses are first noted, many at a time, so that the hold sees how many come
together, and decided after that. All of it is done in rounds of small slices: a call ends with the round in which its
time is up, so what a change costs (that is its listeners' affair) does not lengthen it.

If the event loop was busy for long, beats wait in sockets that nobody has read: then what ran out meanwhile is decided
only when the loop has had as long to read them, or two seconds.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable

from heartfelt._event import Event
from heartfelt._types import EventType
from heartfelt.monitor.fleet import own_events
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.timers import TICK, TICK_S, Timers
from heartfelt.monitor.model import Hold
from heartfelt.testing import ManualClock

TURN_S = 0.005
"""How long a call works; others have their turn then. It may last for one round more."""
SLICE = 8
"""Changes of one kind in a round, about 20 us each."""
NOTED = 512
"""Losses noted in a round, about 1 us each."""
CONTROL = 64
BUSY_MS = 100.0
MOST_DEFERRED_MS = 2000.0
_HOLD, _LATER = "hold", "later"


class Verdicts:
    """Belongs to the loop's thread. work_s: the clock that a call's time is measured by."""

    def __init__(self, life: Life, work_s: Callable[[], float] = time.perf_counter) -> None:
        self.life = life
        self._work_s = work_s
        self.book = life.book
        self.timers: Timers = life.timers
        self.hold = life.hold
        self.real = not isinstance(self.timers.clock, ManualClock)
        self.beats = 0
        """Of all instances, since the start: told by the registry before it polls."""
        self.stalls = 0
        self.stalled_ms = 0.0
        self.deferred = 0
        self.max_late_ms = 0.0
        """How late a loss was read at most, by real clocks."""
        self._noted: deque[int] = deque()
        self._not_before_ms = 0.0
        self._backlog = False
        self._more = False
        """More losses wait to be noted, in the hub."""
        self._version = 0
        self._told_hold = Hold()
        self._tick = self.timers.set(self.timers.control, TICK, TICK_S * 1000)
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._rung = False

    def filenos(self) -> list[int]:
        return [*self.timers.filenos(), self._bell.fileno()]

    def close(self) -> None:
        self._bell.close()
        self._ringer.close()

    def poll(self) -> int:
        """How much was read or done; 0: nothing waits."""
        if self._rung:
            self._rung = False
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(64)
        ends_s = self._work_s() + TURN_S
        now_ms = self.life.now_ms()
        done = 0
        while n := self._round(now_ms):
            done += n
            if self._work_s() >= ends_s:
                self._ring()  # to come back at once
                break
        self._tell_hold(now_ms)
        return done

    def _round(self, now_ms: float) -> int:
        """How much was read or done: of each kind a slice, so that none waits for another."""
        done = self._control(now_ms) + self._late() + self._note(now_ms) + self._cache()
        if now_ms >= self._not_before_ms and not self._more:
            done += self._decide()
        return done + self._release(now_ms)

    def _control(self, now_ms: float) -> int:
        events = self.timers.taken(self.timers.control, CONTROL)
        for event in events:
            if event.type is EventType.STALL:
                self.stalled(event.timeout * 1000.0)
            elif event.key == TICK:
                busy_ms = self._lateness_ms(event)
                self._tick.beat()
                if busy_ms > BUSY_MS:
                    self.hold.stalled(now_ms, busy_ms)
                self.hold.heard(now_ms, self.beats)
        return len(events)

    def stalled(self, stall_ms: float) -> None:
        """The monitor itself could not run for so long, until now."""
        self.stalls += 1
        self.stalled_ms += stall_ms
        self.hold.stalled(self.life.now_ms(), stall_ms)
        if stall_ms >= self.hold.policy.stall_ms:  # shorter ones are many on a busy machine, and change nothing
            self.book.tell(self.book.on_event, own_events.stalled(self.life.wall_ms(), stall_ms))

    def _late(self) -> int:
        events = self.timers.taken(self.timers.late, SLICE)
        for event in events:
            instance = self._known(event)
            if instance is not None and instance.id not in self.timers.late:
                self.life.late(instance)
        return len(events)

    def _note(self, now_ms: float) -> int:
        events = self.timers.taken(self.timers.lease, NOTED)
        self._more = len(events) == NOTED and len(self._noted) < len(self.book.by_id)
        if not events:
            self._backlog = bool(self._noted)
            return 0
        late_ms = self._lateness_ms(events[0])
        if not self._backlog:  # not by what this itself takes long for
            self.max_late_ms = max(self.max_late_ms, late_ms)
            if late_ms > BUSY_MS:
                wait_ms = min(late_ms, MOST_DEFERRED_MS)
                self.deferred += 1
                self._not_before_ms = now_ms + wait_ms
                self.timers.set(self.timers.control, _LATER, wait_ms)
        self._backlog = True
        for event in events:
            instance = self._known(event)
            if instance is not None and instance.id not in self.timers.lease and self.life.silent(instance):
                self._noted.append(instance.id)
        return len(events)

    def _decide(self) -> int:
        n = min(len(self._noted), SLICE)
        for _ in range(n):
            instance = self.book.by_id.get(self._noted.popleft())
            if instance is not None:
                self.life.decide(instance)
        return n

    def _cache(self) -> int:
        events = self.timers.taken(self.timers.cache, SLICE)
        for event in events:
            instance = self._known(event)
            if instance is not None and instance.id not in self.timers.cache:
                self.life.cached(instance)
        return len(events)

    def _release(self, now_ms: float) -> int:
        told = self.hold.due(now_ms, SLICE)
        for id in told:
            instance = self.book.by_id.get(id)
            if instance is not None:
                self.life.lose(instance)
        return len(told)

    def _tell_hold(self, now_ms: float) -> None:
        new = self.hold.version != self._version
        next_ms = self.hold.next_ms(now_ms)
        if next_ms is not None and (new or _HOLD not in self.timers.control):
            self.timers.set(self.timers.control, _HOLD, next_ms)
        if not new:
            return
        self._version = self.hold.version
        if next_ms is None:
            self.timers.drop(self.timers.control, _HOLD)
        wall_ms = self.life.wall_ms()
        before, self._told_hold = self._told_hold, self.hold.hold(now_ms, wall_ms)
        self.book.tell_hold(before, self._told_hold, wall_ms)

    def _known(self, event: Event) -> Instance | None:
        return self.book.by_id.get(event.key)

    def _lateness_ms(self, event: Event) -> float:
        # An event's times are made from the clock at this very moment's difference to the wall clock, so this is exact.
        return (time.time() - event.event_time) * 1000.0 if self.real else 0.0

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            with contextlib.suppress(BlockingIOError):  # full: then it is readable
                self._ringer.send(b"\0")
