# SPDX-License-Identifier: MIT
"""For tests of programs that use a hub: a clock that moves only when the test advances it."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from heartfelt._checks import LONGEST_NS, duration_or_zero_ns
from heartfelt._core import ManualClockBase
from heartfelt._greenlets import allocate_lock
from heartfelt._hubs import Hubs

__all__ = ["ManualClock"]


class _Hub(Protocol):
    """A hub as its clock sees it."""

    def _flush_callbacks(self) -> None: ...


class ManualClock(ManualClockBase):
    """A clock for `HeartHub(clock=...)`; several hubs may share one. It starts at 0.

    A hub on it has no worker threads: its verdicts are taken in `advance`, in the caller's thread. Events of such a
    hub have the clock's own times, starting at 0.0.
    """

    def __init__(self) -> None:
        self._hubs: Hubs[_Hub] = Hubs()
        self._lock = allocate_lock()

    def time(self) -> float:
        """Seconds since the clock's start."""
        return self._now_ns() / 1e9

    def advance(self, seconds: float | timedelta) -> None:
        """Advances the clock. On return every event that is due waits in its hub's `events`, in order of deadlines.

        Time passes as for a perfect watcher: each verdict is taken exactly at its deadline, so event_time == deadline.
        Callbacks have been called on return, on the hub's thread for them (unless advance is called in one). Blocks for
        as long as that takes. 0 is allowed. O(deadlines passed * log keys).
        """
        by_ns = duration_or_zero_ns(seconds, "seconds")
        with self._lock:
            hubs = list(self._hubs)
            target_ns = self._now_ns() + by_ns
            if target_ns > LONGEST_NS:
                raise OverflowError(f"a manual clock ends after 100 years; {seconds!r} more would exceed that")
            self._advance_to(target_ns, hubs)
        for hub in hubs:
            hub._flush_callbacks()

    def _abandon(self) -> None:
        """Resets it in the child after a fork: its hubs are closed, and a thread that is gone may hold the lock."""
        self._hubs, self._lock = Hubs(), allocate_lock()

    def __repr__(self) -> str:
        return f"<ManualClock at {self.time()!r} s>"
