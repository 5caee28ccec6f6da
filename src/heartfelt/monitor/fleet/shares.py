# SPDX-License-Identifier: MIT
"""Decides whether so many instances of a service, or of all, go silent together that their losses are to be held.

The numbers are those of the fleet. A monitor of several is judged by its own besides, since it may be cut off from its
clients while the others hear theirs: if most of what it owns is silent, its part counts as a fleet of its own. So a
service of which a few instances are lost is not held because most of these happened to beat to one monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from heartfelt.monitor.fleet.loss_window import Window, Windows
from heartfelt.monitor.fleet.others import Others
from heartfelt.monitor.fleet.policy import HoldPolicy


class Timing(NamedTuple):
    """The times of an instance whose timeout has passed, in ms."""

    lease_ms: int = 0
    interval_ms: int | None = None
    late_ms: int | None = None

    @property
    def spread_ms(self) -> int:
        """Instances that were cut off at one moment are lost within this time of each other."""
        return self.interval_ms or 0

    @property
    def seen(self) -> float:
        """The share of those instances that is LATE when the first of them is lost."""
        if self.interval_ms is None or self.late_ms is None:
            return 1.0
        return min(1.0, (self.lease_ms - self.late_ms) / self.interval_ms)


NO_TIMING = Timing()


class View:
    """The instances that are counted at one moment: those of this monitor, with `others` those of the fleet."""

    __slots__ = ("_beating", "_now_ms", "_others", "_policy", "_windows", "is_part")

    def __init__(
        self,
        policy: HoldPolicy,
        windows: Windows,
        beating: Callable[[str], int],
        now_ms: float,
        others: Others | None,
        *,
        is_part: bool = False,
    ) -> None:
        self._policy, self._windows, self._beating = policy, windows, beating
        self._now_ms, self._others = now_ms, others
        self.is_part = is_part
        """It is a part of the fleet, by itself."""

    @property
    def is_fleet(self) -> bool:
        return self._others is not None

    def share(self, scope: str, timing: Timing) -> tuple[int, int]:
        """Returns how many of a service ("": of all) are silent together, and of how many."""
        now_s = int(self._now_ms // 1000)
        width = self._windows.width(timing.spread_ms)
        window = self._windows.of(scope) if scope else self._windows.all
        total = self._beating(scope)
        found = [] if self._others is None else self._others.counted(scope, self._now_ms)
        if found:
            window = _sum([window, *(one.window for one in found)], now_s, width)
            total += sum(one.beating for one in found)
        return window.most(now_s, width), total + window.notified_lately(now_s, width)

    def is_hit(self, scope: str, timing: Timing) -> bool:
        n, total = self.share(scope, timing)
        if scope:
            return total >= self._policy.least and n > self._policy.share * timing.seen * total
        return total >= self._policy.least_of_all and n > self._policy.share_of_all * timing.seen * total

    def are_others_hit(self, service: str, timing: Timing) -> bool:
        """Returns whether the instances of all other services are, taken together."""
        n, total = self.share(service, timing)
        n_all, total_all = self.share("", timing)
        others = total_all - total
        return others >= self._policy.least and n_all - n > self._policy.share_of_all * timing.seen * others

    def is_mostly_silent(self, timing: Timing) -> bool:
        n, total = self.share("", timing)
        return n > self._policy.share * timing.seen * total


def _sum(windows: Sequence[Window], now_s: int, width: int) -> Window:
    summed = Window()
    for window in windows:
        for name in ("lost", "notified"):
            seconds, into = getattr(window, name), getattr(summed, name)
            for second in range(now_s - width + 1, now_s + width) if seconds else ():
                if n := seconds.get(second, 0):
                    into[second] = into.get(second, 0) + n
    return summed


class LossShares:
    """Belongs to the loop's thread. beating: how many instances of a service ("": of all) may yet be lost here."""

    def __init__(self, policy: HoldPolicy, windows: Windows, beating: Callable[[str], int]) -> None:
        self._policy = policy
        self._windows = windows
        self._beating = beating
        self.others: Others | None = None

    def views(self, now_ms: float, timing: Timing) -> Iterator[View]:
        """Yields what a loss is judged by; one of them is enough to hold it."""
        others = self.others
        is_fleet = others is not None and bool(others.counted("", now_ms))
        yield View(self._policy, self._windows, self._beating, now_ms, others if is_fleet else None)
        if is_fleet:
            part = View(self._policy, self._windows, self._beating, now_ms, None, is_part=True)
            if part.is_mostly_silent(timing):
                yield part
