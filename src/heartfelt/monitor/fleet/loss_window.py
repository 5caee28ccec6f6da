# SPDX-License-Identifier: MIT
"""Counts how many instances go silent close together: those lost, and those about to be."""

from __future__ import annotations

MOST_S = 120
"""The longest time in which losses count together."""
_PRUNE_S = 5


class Window:
    """For one service, or for all: how many timeouts expired, or will, in each second of the registry's clock.

    An instance counts in at most one second, so the sums are of distinct instances. O(1) to count, O(window) to query.
    """

    __slots__ = ("lost", "notified")

    def __init__(self) -> None:
        self.lost: dict[int, int] = {}
        self.notified: dict[int, int] = {}

    def most(self, now_s: int, width: int) -> int:
        """Returns the most within any `width` seconds that include now."""
        lost = self.lost
        total = sum(lost.get(second, 0) for second in range(now_s - width + 1, now_s + 1))
        most = total
        for second in range(now_s + 1, now_s + width):
            total += lost.get(second, 0) - lost.get(second - width, 0)
            most = max(most, total)
        return most

    def notified_lately(self, now_s: int, width: int) -> int:
        notified = self.notified
        return sum(notified.get(second, 0) for second in range(now_s - width + 1, now_s + 1)) if notified else 0

    def prune(self, before_s: int) -> bool:
        """Forgets earlier seconds. Returns whether nothing is left."""
        for seconds in (self.lost, self.notified):
            for second in [second for second in seconds if second < before_s]:
                del seconds[second]
        return not self.lost and not self.notified


class Windows:
    """A Window for each service with silent instances, and one for all.

    The second in which an instance counts is kept by whoever keeps the instance; 0 means that it does not count.
    """

    def __init__(self, width_ms: int) -> None:
        self._width_ms = width_ms
        self.all = Window()
        self.services: dict[str, Window] = {}
        self._pruned_s = 0

    def width(self, spread_ms: int) -> int:
        """Returns for how many seconds losses count together if they come spread over this time."""
        return min(max(1, -(-(self._width_ms + spread_ms) // 1000)), max(MOST_S, self._width_ms // 1000))

    def count(self, service: str, old: int, new: int) -> int:
        """Counts an instance in second `new` instead of `old`. Returns `new`."""
        if old == new:
            return new
        window = self.services.get(service)
        if window is None:
            if not new:
                return new
            window = self.services[service] = Window()
        for one in (window, self.all):
            left = one.lost.get(old, 0)
            if old and left:
                if left > 1:
                    one.lost[old] = left - 1
                else:
                    del one.lost[old]
            if new:
                one.lost[new] = one.lost.get(new, 0) + 1
        return new

    def notified(self, service: str, now_s: int) -> None:
        """Notes that a loss of the service was notified: one instance fewer is up."""
        for one in (self.services.setdefault(service, Window()), self.all):
            one.notified[now_s] = one.notified.get(now_s, 0) + 1

    def of(self, service: str) -> Window:
        return self.services.get(service) or _NOTHING

    def prune(self, now_s: int) -> None:
        """Forgets old seconds, now and then. O(services with silent instances)."""
        if now_s < self._pruned_s + _PRUNE_S:
            return
        self._pruned_s = now_s
        before_s = now_s - max(MOST_S, self._width_ms // 1000)
        self.all.prune(before_s)
        for service in [service for service, window in self.services.items() if window.prune(before_s)]:
            del self.services[service]


_NOTHING = Window()
