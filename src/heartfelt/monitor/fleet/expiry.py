# SPDX-License-Identifier: MIT
"""Reads the timers' events and acts on them, for a bounded time in each call.

An event that says a timer expired is only a hint, since it may be read late: whether it is still true is checked with
the hub at the moment of acting, and decided once. Losses are first collected, many at a time, so that the hold can see
how many come together, and decided afterwards. Work is done in rounds of small slices. A call ends after the round in
which its time is used up, so slow listeners do not make it longer than one round more.

If the event loop was busy for a long time, beats wait unread in sockets. Expired timers are then decided only after
the loop has had as much time to read those beats, at most two seconds.
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
from heartfelt.monitor.fleet.timers import TICK, TICK_S, Timers, ack_key
from heartfelt.monitor.model import Hold, HoldState

TURN_S = 0.005
"""How long a call works before it yields to the loop. The last round may exceed it."""
SLICE = 8
"""Changes of one kind per round, about 20 us each."""
NOTED = 512
"""Losses collected per round, about 1 us each."""
CONTROL = 64
BUSY_MS = 100.0
MOST_DEFERRED_MS = 2000.0
_HOLD, _LATER = "hold", "later"


class Verdicts:
    """Belongs to the loop's thread. `run_due` takes the number of each run whose deadline may have passed. `work_s` is
    the clock that measures a call's time."""

    def __init__(
        self, life: Life, run_due: Callable[[int], None], work_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self.life = life
        self._run_due = run_due
        self._work_s = work_s
        self.book = life.book
        self.timers: Timers = life.timers
        self.hold = life.hold
        self.beats = 0
        """Beats of all instances since the start; set by the registry before it polls."""
        self.stalls = 0
        self.stalled_ms = 0.0
        self.deferred = 0
        self.max_late_ms = 0.0
        """The longest delay with which a loss was read, by real clocks."""
        self._noted: deque[int] = deque()
        self._noted_runs: deque[int] = deque()
        self._not_before_ms = 0.0
        self._backlog = False
        self._more = False
        """More losses are waiting in the hub."""
        self._version = 0
        self._published_hold = Hold()
        self._of_fleet = False
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
        """Returns how much was read or done; 0 if nothing is waiting."""
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
                self._ring()  # so that the loop calls again at once
                break
        self._publish_hold(now_ms)
        return done

    def _round(self, now_ms: float) -> int:
        """Does a slice of each kind of work, so that none waits for another. Returns how much was read or done."""
        done = self._control(now_ms) + self._late() + self._note(now_ms) + self._note_runs(now_ms) + self._cache()
        if now_ms >= self._not_before_ms and not self._more:
            done += self._decide() + self._decide_runs()
        if self.life.asking is not None:
            done += self.life.asking.due(now_ms, SLICE)
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
                    self.hold.outages.stalled(now_ms, busy_ms)
                self.hold.heard(now_ms, self.beats)
                self.book.uptime.tick()
                self.life.leases.review()
        return len(events)

    def stalled(self, stall_ms: float) -> None:
        """Notes that the monitor itself could not run for this long, until now."""
        self.stalls += 1
        self.stalled_ms += stall_ms
        self.hold.outages.stalled(self.life.now_ms(), stall_ms)
        if stall_ms >= self.hold.policy.stall_ms:  # a busy machine has many shorter ones, which change nothing
            self.book.publish(self.book.on_event, own_events.stalled(self.life.wall_ms(), stall_ms))

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
        if not self._backlog:  # otherwise this code is itself the cause of the delay
            self.max_late_ms = max(self.max_late_ms, late_ms)
            self._defer(now_ms, late_ms)
        self._backlog = True
        for event in events:
            instance = self._known(event)
            if instance is None or instance.id in self.timers.lease:
                continue
            if self.life.silent(instance, self._since_ms(event)):
                self._noted.append(instance.id)
        return len(events)

    def _note_runs(self, now_ms: float) -> int:
        events = self.timers.taken(self.timers.runs, SLICE)
        if events and not self._noted_runs:
            self._defer(now_ms, self._lateness_ms(events[0]))
        self._noted_runs.extend(event.key for event in events)
        return len(events)

    def _defer(self, now_ms: float, late_ms: float) -> None:
        """Lets the loop read for as long as the events waited, at most two seconds, before anything is decided."""
        if late_ms > BUSY_MS:
            wait_ms = min(late_ms, MOST_DEFERRED_MS)
            self.deferred += 1
            self._not_before_ms = now_ms + wait_ms
            self.timers.set(self.timers.control, _LATER, wait_ms)

    def _decide_runs(self) -> int:
        n = min(len(self._noted_runs), SLICE)
        for _ in range(n):
            self._run_due(self._noted_runs.popleft())
        return n

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
            if isinstance(event.key, str):
                if event.key not in self.timers.cache:
                    self.life.addresses.quiet(int(event.key))
                continue
            key: int = event.key
            instance = self.book.by_id.get(abs(key))
            if instance is None or key in self.timers.cache:
                continue
            if key == ack_key(instance.id):
                self.life.acks.over(instance)
            else:
                self.life.cached(instance)
        return len(events)

    def _release(self, now_ms: float) -> int:
        due = self.hold.due(now_ms, SLICE)
        for id in due:
            instance = self.book.by_id.get(id)
            if instance is not None:
                self.life.lose(instance)
        return len(due)

    def _publish_hold(self, now_ms: float) -> None:
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
        before, self._published_hold = self._published_hold, self.hold.hold(now_ms, wall_ms)
        if self.hold.state is HoldState.HOLDING:  # otherwise it is the end of what was told
            self._of_fleet = self.hold.is_of_fleet
        self.book.publish_hold(before, self._published_hold, wall_ms, of_fleet=self._of_fleet)

    def _known(self, event: Event) -> Instance | None:
        return self.book.by_id.get(event.key)

    def _since_ms(self, event: Event) -> float:
        """Returns the time since the deadline."""
        now_ms = time.time() * 1000.0 if self.timers.is_real else self.timers.now_ms()
        return now_ms - event.deadline * 1000.0

    def _lateness_ms(self, event: Event) -> float:
        # Event times use the current difference between the hub's clock and the wall clock, so this is exact.
        return (time.time() - event.event_time) * 1000.0 if self.timers.is_real else 0.0

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            with contextlib.suppress(BlockingIOError):  # the buffer is full, so the other end is readable already
                self._ringer.send(b"\0")
