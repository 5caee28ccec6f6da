# SPDX-License-Identifier: MIT
"""The registry's timers: keys of hubs. Native workers watch them, and nothing here scans.

    lease    key: an instance's id; expires when the instance is LOST
    late     key: an instance's id; expires when one interval was missed
    cache    key: an instance's id; expires when a LOST or LEFT instance is forgotten, and when a pause ends
             key: `ack_key`; expires when an acknowledgement ends
             key: the id as str; expires when its beats have come from one address for long enough
    runs     key: a run's number; expires at the run's deadline
    control  the ends of holds, and a tick that shows whether the monitor itself was stalled (STALL)

All keys are disposable: they are gone once they expire, and a beat by their handle joins them again. So whether a key
is in the hub now says everything about a timer, however late its event is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from heartfelt._event import Event
from heartfelt._heart import Heart, heart_of
from heartfelt._known import untrack
from heartfelt._types import UNSET, EventType
from heartfelt.hub import HeartHub
from heartfelt.testing import ManualClock

TICK = "tick"
TICK_S = 1.0


def ack_key(id: int) -> int:
    """The key of the end of an instance's acknowledgement: the negative of its id."""
    return -id


class Timers:
    """Five hubs on one clock. Belongs to the loop's thread."""

    def __init__(self, clock: str | ManualClock) -> None:
        self.clock = clock
        self.is_real = not isinstance(clock, ManualClock)
        self.now_ms = _manual_ms(clock) if isinstance(clock, ManualClock) else _monotonic_ms
        self.lease = HeartHub(clock=clock)
        self.late = HeartHub(clock=clock)
        self.cache = HeartHub(clock=clock)
        self.runs = HeartHub(clock=clock)
        self.control = HeartHub(clock=clock, subscribe=(EventType.TIME_OUT, EventType.STALL))
        self._hubs = (self.control, self.late, self.lease, self.runs, self.cache)
        self._events = {hub: hub.events for hub in self._hubs}

    def filenos(self) -> list[int]:
        return [events.fileno() for events in self._events.values()]

    def taken(self, hub: HeartHub, most: int) -> list[Event]:
        """Returns waiting events without blocking."""
        return self._events[hub].get_many(most, 0)

    def waiting(self) -> int:
        return sum(events.qsize() for events in self._events.values())

    @staticmethod
    def set(hub: HeartHub, key: int | str, ms: float) -> Heart:
        """Sets a key to expire in `ms` from now. Each beat of the returned handle starts it again."""
        return untrack(hub.heart(key, timeout=_seconds(ms), disposable=True))  # the hub refers to no handle

    @staticmethod
    def set_all(hub: HeartHub, keys: list[int], ms: float) -> list[Heart]:
        """Does as `set` for each of the keys."""
        seconds = _seconds(ms)
        return [untrack(heart_of(hub, key, seconds, UNSET, True)) for key in keys]

    @staticmethod
    def drop(hub: HeartHub, key: int | str) -> None:
        hub.remove(key, missing_ok=True)

    def left_ms(self, hub: HeartHub, key: int | str) -> float:
        """Returns the time until a key expires; 0: it has expired, or is not there. About 2 us."""
        watch = hub.get(key)
        now_s = time.time() if self.is_real else self.now_ms() / 1000.0
        return 0.0 if watch is None else max((watch.deadline - now_s) * 1000.0, 0.0)

    def forget(self, key: int) -> None:
        for hub in (self.lease, self.late, self.cache):
            hub.remove(key, missing_ok=True)
        self.cache.remove(ack_key(key), missing_ok=True)

    def close(self) -> None:
        for hub in self._hubs:
            hub.close()


@lru_cache(maxsize=1024)  # a handle keeps its timeout, and most have the same
def _seconds(ms: float) -> float:
    return ms / 1000.0


def _monotonic_ms() -> float:
    return time.monotonic() * 1000.0


def _manual_ms(clock: ManualClock) -> Callable[[], float]:
    return lambda: clock.time() * 1000.0
