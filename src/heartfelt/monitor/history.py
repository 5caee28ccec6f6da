# SPDX-License-Identifier: MIT
"""Figures of the monitor itself: rates of the last minutes, and how late losses were found.

Bounded, in memory only. Belongs to the loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import msgspec

from heartfelt.monitor.metric import histogram

DETECTION_LATENESS = histogram(
    "heartfelt_detection_lateness_seconds",
    "Time from an instance's deadline to the report of its loss, without losses that were held",
    unit="seconds",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0),
)
LOOP_LAG = histogram(
    "heartfelt_loop_lag_seconds",
    "Delay of the event loop, measured twice a second by a timer",
    unit="seconds",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
STEP_S = 5.0
KEPT_S = 900.0


class Rates(msgspec.Struct, kw_only=True, frozen=True):
    """Rates per second, one value per step, oldest first. A stall of the monitor makes a step longer."""

    step_s: float
    times_ms: list[int]
    """The end of each step."""
    beats_per_s: list[float]
    events_per_s: list[float]
    """Changes of state, plus events of agents."""


class RateHistory:
    """Keeps the rates of the last `kept_s`, in steps of `step_s`. `sample` is O(1)."""

    def __init__(self, *, step_s: float = STEP_S, kept_s: float = KEPT_S) -> None:
        self._step_s = step_s
        self._steps: deque[tuple[int, float, float]] = deque(maxlen=max(1, round(kept_s / step_s)))
        self._last: tuple[float, int, int] | None = None

    def is_due(self, now_s: float) -> bool:
        return self._last is None or now_s - self._last[0] >= self._step_s

    def sample(self, now_s: float, wall_ms: int, beats: int, events: int) -> None:
        """Ends a step; call it when `is_due`. now_s: monotonic. beats, events: totals since the start."""
        if self._last is not None:
            then_s, beats_then, events_then = self._last
            passed_s = now_s - then_s
            if passed_s <= 0:
                return
            self._steps.append((wall_ms, (beats - beats_then) / passed_s, (events - events_then) / passed_s))
        self._last = (now_s, beats, events)

    def rates(self) -> Rates:
        return Rates(
            step_s=self._step_s,
            times_ms=[one[0] for one in self._steps],
            beats_per_s=[round(one[1], 3) for one in self._steps],
            events_per_s=[round(one[2], 3) for one in self._steps],
        )


def _bounds() -> list[int]:
    """Returns ten bounds per decade from 1 ms to 100 s, in whole ms, so fewer below 10 ms."""
    return sorted({round(10 ** (step / 10)) for step in range(51)})


class LatenessCounts(msgspec.Struct, kw_only=True, frozen=True):
    """Times from deadlines to the reports of losses, since the monitor started. Held losses are not counted."""

    count: int
    p50_ms: int | None
    """Half of the losses were at most this late: the upper bound of the median's bucket. null: no losses."""
    p99_ms: int | None
    max_ms: int | None
    buckets: list[tuple[int, int]]
    """[upper bound in ms, count], from the first bucket that is not empty to the last one."""


class Lateness:
    """A histogram with bounds that grow by a quarter, and one more bucket above the last bound."""

    def __init__(self) -> None:
        self._bounds = _bounds()
        self._counts = [0] * (len(self._bounds) + 1)
        self._count = 0
        self._max_ms = 0

    def observe(self, late_ms: int) -> None:
        self._counts[bisect_left(self._bounds, late_ms)] += 1
        self._count += 1
        self._max_ms = max(self._max_ms, late_ms)

    def _quantile(self, share: float) -> int | None:
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= share * self._count:
                return min(self._bounds[index], self._max_ms) if index < len(self._bounds) else self._max_ms
        return None

    def counts(self) -> LatenessCounts:
        filled = [index for index, count in enumerate(self._counts) if count]
        bounds = [*self._bounds, max(self._max_ms, self._bounds[-1] + 1)]
        some = range(filled[0], filled[-1] + 1) if filled else range(0)
        return LatenessCounts(
            count=self._count,
            p50_ms=self._quantile(0.5),
            p99_ms=self._quantile(0.99),
            max_ms=self._max_ms if self._count else None,
            buckets=[(bounds[index], self._counts[index]) for index in some],
        )
