# SPDX-License-Identifier: MIT
"""Compares the beats that arrive with those that are due: in a silence of all instances, and if some get lost.

Both go by instances that missed a beat, which is known without a scan: each is moved to LATE, and back when it beats.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque

_RATE_OVER_MS = 30_000.0
_STEP = math.log(1.1)
_TOLERANCE = 0.25
"""A beat that is later by this part of its interval is missing."""
_FAR = 2.0
_EVEN = 0.5
"""Beats are lost evenly if at least this part of the instances that chance would hit have missed one."""


class Intervals:
    """Counts the instances that beat, if their interval or period is known, by its length: those that become LATE when
    they miss a beat, and apart from them those whose timeout passes first. Lengths that differ by less than a tenth
    count as one, so that there are few."""

    def __init__(self) -> None:
        self._numbers: Counter[int] = Counter()
        """By kind: above 0, they become LATE; below 0, they do not."""
        self.known = 0
        """How many of them become LATE."""

    def count(self, old: int, interval_ms: int | None, *, late: bool = True) -> int:
        """Counts an instance that was counted under `old`; 0: it was not. Returns what it is counted under now.

        late: it becomes LATE when it misses a beat.
        """
        new = 0 if not interval_ms else 1 + round(math.log(interval_ms) / _STEP)
        new = new if late else -new
        if old != new:
            if old:
                self.known -= old > 0
                self._numbers[old] -= 1
                if not self._numbers[old]:
                    del self._numbers[old]
            if new:
                self.add(new, 1)
        return new

    def add(self, kind: int, n: int) -> None:
        """Counts `n` more instances under what `count` has returned for one that is alike."""
        if kind:
            self.known += n * (kind > 0)
            self._numbers[kind] += n

    def late_after(self, silent_ms: float) -> float:
        """Returns how many become LATE, on average, in a silence of this length: those whose last beat before it was
        one and a half intervals ago."""
        return sum(
            n * min(max(silent_ms / _length_ms(kind) - 0.5, 0.0), 1.0) for kind, n in self._numbers.items() if kind > 0
        )

    def missed_in(self, silent_ms: float, gap_ms: float) -> int:
        """Returns how many of those that do not become LATE have missed a beat in a silence of this length: on average
        if it is far longer than the usual `gap_ms`, otherwise only those that have whenever their last beat was, since
        they may beat in bursts."""
        missed = 0.0
        for kind, n in self._numbers.items():
            if kind < 0:
                share = min(max(silent_ms / _length_ms(kind) - _TOLERANCE, 0.0), 1.0)
                if share == 1.0 or silent_ms >= _FAR * gap_ms:
                    missed += n * share
        return int(missed)

    def longest_ms(self, silent_ms: float) -> float:
        """Returns the longest interval that is no longer than a silence: in that time all beat whose beats it took."""
        return max((ms for ms in map(_length_ms, self._numbers) if ms <= silent_ms), default=0.0)


def _length_ms(kind: int) -> float:
    return math.exp((abs(kind) - 1) * _STEP)


class Listening:
    """Measures the rate of beats, for how long there has been none, and who should have sent one in that time."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self.heard_ms: float | None = None
        self.gap_ms = 0.0
        """The longest recent time without a beat that was not unusual."""
        self.overdue: set[int] = set()
        """The instances that have missed a beat since the last one of anybody."""
        self.total = 0

    def heard(self, now_ms: float, total: int, usual: bool = True) -> bool:
        """Takes the number of beats since the start, once a second. Returns whether it has grown. `usual`: a time
        without beats until now was not the network's fault, nor the monitor's."""
        new, self.total = total - self.total, total
        if self.heard_ms is None:
            self.heard_ms = now_ms
        elapsed_ms = now_ms - self.heard_ms
        if not new or elapsed_ms <= 0:
            return False
        part = 1.0 - math.exp(-elapsed_ms / _RATE_OVER_MS)
        self.per_s += part * (new * 1000.0 / elapsed_ms - self.per_s)
        self.heard_ms = now_ms
        self.gap_ms = max(elapsed_ms if usual else 0.0, 0.9 * self.gap_ms)
        self.overdue.clear()
        return True

    def silent_ms(self, now_ms: float) -> float:
        return 0.0 if self.heard_ms is None else now_ms - self.heard_ms


class Misses:
    """Finds out whether beats get lost on their way, by instances that miss beats and then beat again.

    Such an instance is alive, and its beats were sent. So neither instances that end, one by one or all of them, nor
    those that never beat again count here. Memory: O(instances that missed a beat within the window).
    """

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._last: OrderedDict[int, float] = OrderedDict()
        """When each instance last beat again, oldest first."""
        self._fresh: list[tuple[int, float, int]] = []
        """Those that beat again since the last tick: id, when the gap began, the number of beats missed."""
        self._ticks: deque[tuple[float, int, int]] = deque()
        """Time, beats received since the tick before, and beats that were found to be missing."""
        self._received = self._missed = 0
        self._total = 0
        self._not_before_ms = -math.inf

    def missed(self, now_ms: float, id: int, gap_ms: float, interval_ms: float) -> None:
        """Notes that an instance beats again after it was LATE."""
        n = int(gap_ms / interval_ms + 0.25) - 1  # a beat that is late by up to three quarters is not missing
        if n > 0:
            self._fresh.append((id, now_ms - gap_ms, n))

    def ignore_before(self, now_ms: float) -> None:
        """Ignores gaps that began before now: why beats were missing then is known."""
        self._not_before_ms = now_ms

    def tick(self, now_ms: float, total: int) -> None:
        """Takes the number of beats since the start, once a second."""
        received, self._total = total - self._total, total
        missed = 0
        for id, began_ms, n in self._fresh:
            if began_ms >= self._not_before_ms:
                missed += n
                self._last[id] = now_ms
                self._last.move_to_end(id)
        self._fresh.clear()
        self._ticks.append((now_ms, received, missed))
        self._received += received
        self._missed += missed
        before_ms = now_ms - self.window_ms
        while self._ticks[0][0] < before_ms:
            _, received, missed = self._ticks.popleft()
            self._received -= received
            self._missed -= missed
        while self._last:
            id, last_ms = next(iter(self._last.items()))
            if last_ms >= before_ms:
                break
            del self._last[id]

    def share(self, known: int, least: int) -> float:
        """Returns `share_of` these figures."""
        return share_of(*self.figures(), known, least)

    def figures(self) -> tuple[int, int, int]:
        """Returns how many instances miss beats, how many beats have arrived, and how many are missing."""
        return len(self._last), self._received, self._missed


def share_of(n: int, received: int, missed: int, known: int, least: int) -> float:
    """Returns the share of the due beats that do not arrive. 0: fewer than `least` instances, `n`, miss beats, or they
    are so few of those whose interval is `known` that the fault lies with them."""
    if n < least or not missed or not known:
        return 0.0
    due = received + missed
    share = missed / due
    expected = known * (1.0 - (1.0 - share) ** (due / known))
    return share if n >= _EVEN * expected else 0.0
