# SPDX-License-Identifier: MIT
"""How many instances go silent close together: those lost, and those that are about to be."""

from __future__ import annotations


class Window:
    """Of a service, or of all: in each second, by the registry's clock, how many leases ran out or will.

    An instance counts in one second at most, so the sums are of distinct instances. O(1) to note, O(window) to ask.
    """

    __slots__ = ("lost", "told")

    def __init__(self) -> None:
        self.lost: dict[int, int] = {}
        self.told: dict[int, int] = {}

    def most(self, now_s: int, width: int) -> int:
        """The most within any `width` seconds that now is one of."""
        lost = self.lost
        total = sum(lost.get(second, 0) for second in range(now_s - width + 1, now_s + 1))
        most = total
        for second in range(now_s + 1, now_s + width):
            total += lost.get(second, 0) - lost.get(second - width, 0)
            most = max(most, total)
        return most

    def told_lately(self, now_s: int, width: int) -> int:
        told = self.told
        return sum(told.get(second, 0) for second in range(now_s - width + 1, now_s + 1)) if told else 0

    def prune(self, before_s: int) -> bool:
        """Forgets the seconds before; whether nothing is left."""
        for seconds in (self.lost, self.told):
            for second in [second for second in seconds if second < before_s]:
                del seconds[second]
        return not self.lost and not self.told


class Windows:
    """A Window for each service in which anything is silent, and one for all.

    Who keeps an instance keeps the second in which it counts, too: 0, nowhere.
    """

    def __init__(self, width_ms: int) -> None:
        self.width = max(1, -(-width_ms // 1000))
        self.all = Window()
        self.services: dict[str, Window] = {}
        self._pruned_s = 0

    def count(self, service: str, old: int, new: int) -> int:
        """The instance counts in second `new` from now on, and no more in `old`. Returns `new`."""
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

    def tell(self, service: str, now_s: int) -> None:
        """A loss of the service was told: it is one instance fewer that is up."""
        for one in (self.services.setdefault(service, Window()), self.all):
            one.told[now_s] = one.told.get(now_s, 0) + 1

    def of(self, service: str) -> Window:
        return self.services.get(service) or _NOTHING

    def prune(self, now_s: int) -> None:
        """Once a second is enough. O(services in which anything is silent)."""
        if now_s == self._pruned_s:
            return
        self._pruned_s = now_s
        before_s = now_s - self.width
        self.all.prune(before_s)
        for service in [service for service, window in self.services.items() if window.prune(before_s)]:
            del self.services[service]


_NOTHING = Window()
