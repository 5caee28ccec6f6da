# SPDX-License-Identifier: MIT
"""Numbers of the other monitors of a fleet, as far as this one needs them to decide about its own instances.

A hold goes by shares of a service, or of all, and by silence; an instance is the last of its service or not. All of
these are the fleet's, while each monitor owns a part. So a monitor asks the others for their numbers of a service when
an instance of it is to be decided on (`want`), and goes by those that have come by then (`counted`): nothing waits for
them. Numbers count for FRESH_MS; without any, a monitor decides by its own. On one machine there is none of this.

Memory: O(services that were asked for a moment ago), for each other monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.loss_window import MOST_S, Window
from heartfelt.monitor.reasons import Reason, read

__all__ = ["CensusAnswer", "CensusPart", "CountedPart", "FleetHold", "Others", "Quiet", "part_of"]

FRESH_MS = 2000.0
MOST_PARTS = 2000
"""Services of another monitor that are remembered."""


class CensusPart(msgspec.Struct, array_like=True):
    """The numbers of one monitor for a service, or for all."""

    beating: int = 0
    """Its instances that may yet be lost."""
    watched: int = 0
    """All but those that have left, or are paused."""
    lost: dict[int, int] = {}
    """When timeouts ended, or will, in ms from now -> how many; by the second."""
    notified: dict[int, int] = {}
    """When losses were notified."""


class Quiet(NamedTuple):
    """The silence of a monitor that hears nobody, for unusually long."""

    late: int
    """Instances that became LATE in the silence,"""
    due: int
    """and those that have missed a beat in it, and do not become LATE."""
    expected: float
    """How many would be LATE by now if nobody were heard."""


class FleetHold(msgspec.Struct, array_like=True):
    """A hold that one monitor has begun by the numbers of the fleet. It is the fleet's: all others join it."""

    scope: str
    code: str
    args: dict[str, Any]
    """The arguments of its reason."""
    age_ms: float
    left_ms: float


class CensusAnswer(msgspec.Struct, array_like=True):
    """The numbers of one monitor, for another one."""

    all: CensusPart
    services: dict[str, CensusPart]
    quiet: tuple[int, int, float] | None = None
    """A Quiet; None: it hears somebody."""
    misses: tuple[int, int, int, int] = (0, 0, 0, 0)
    """`Misses.figures`, and how many instances have a known interval."""
    hold: FleetHold | None = None


class CountedPart(NamedTuple):
    """A CensusPart, by this monitor's clock."""

    beating: int
    watched: int
    window: Window


class _Hold(NamedTuple):
    scope: str
    reason: Reason
    since_ms: float
    until_ms: float


class _Other:
    """The last words of another monitor."""

    __slots__ = ("at_ms", "everything", "hold", "misses", "parts", "quiet")

    def __init__(self) -> None:
        self.at_ms = 0.0
        self.everything = CountedPart(0, 0, Window())
        self.parts: dict[str, tuple[float, CountedPart]] = {}
        self.quiet: Quiet | None = None
        self.misses = (0, 0, 0, 0)
        self.hold: _Hold | None = None


def part_of(counts: ServiceCounts, window: Window, now_ms: float) -> CensusPart:
    """Makes what another monitor is told."""
    return CensusPart(
        counts.beating, counts.watched, _from_now(window.lost, now_ms), _from_now(window.notified, now_ms)
    )


def _from_now(seconds: Mapping[int, int], now_ms: float) -> dict[int, int]:
    now_s = int(now_ms // 1000)
    if len(seconds) > 2 * MOST_S:
        seconds = {s: seconds[s] for s in range(now_s - MOST_S, now_s + MOST_S + 1) if s in seconds}
    return {round(s * 1000 + 500 - now_ms): n for s, n in seconds.items() if abs(s - now_s) <= MOST_S}


def _by_clock(from_now: Mapping[int, int], now_ms: float) -> dict[int, int]:
    seconds: dict[int, int] = {}
    for ms, n in from_now.items():
        second = int((now_ms + ms) // 1000)
        seconds[second] = seconds.get(second, 0) + n
    return seconds


def _counted(part: CensusPart, now_ms: float) -> CountedPart:
    window = Window()
    window.lost, window.notified = _by_clock(part.lost, now_ms), _by_clock(part.notified, now_ms)
    return CountedPart(part.beating, part.watched, window)


class Others:
    """Belongs to the loop's thread; times are in ms by the registry's clock."""

    def __init__(self) -> None:
        self.on_want: Callable[[str], object] = lambda service: None
        """Called with a service of which the others' numbers will be needed; "": only with those of all."""
        self.own_id = ""
        self.ids: tuple[str, ...] = ()
        """The other monitors that live."""
        self._known: dict[str, _Other] = {}

    def want(self, service: str) -> None:
        if self.ids:
            self.on_want(service)

    def set_living(self, own: str, ids: Iterable[str]) -> None:
        self.own_id = own
        self.ids = tuple(sorted(one for one in ids if one != own))
        for gone in [one for one in self._known if one not in self.ids]:
            del self._known[gone]

    def took(self, monitor: str, answer: CensusAnswer, now_ms: float) -> None:
        """Takes a monitor's answer, which says what it counted just now."""
        if monitor not in self.ids:
            return
        one = self._known.setdefault(monitor, _Other())
        one.at_ms, one.everything = now_ms, _counted(answer.all, now_ms)
        one.quiet = None if answer.quiet is None else Quiet(*answer.quiet)
        one.misses, one.hold, hold = answer.misses, None, answer.hold
        if hold is not None and (reason := read(hold.code, hold.args)) is not None:
            one.hold = _Hold(hold.scope, reason, now_ms - hold.age_ms, now_ms + hold.left_ms)
        if len(one.parts) > MOST_PARTS:
            one.parts.clear()
        for service, part in answer.services.items():
            one.parts[service] = now_ms, _counted(part, now_ms)

    def prune(self, now_ms: float) -> None:
        """Forgets what is too old. O(what is known)."""
        before_ms = now_ms - FRESH_MS
        for monitor, one in list(self._known.items()):
            one.parts = {service: part for service, part in one.parts.items() if part[0] >= before_ms}
            if one.at_ms < before_ms:
                del self._known[monitor]

    @property
    def is_empty(self) -> bool:
        return not self._known

    # -- what is known

    def _fresh(self, now_ms: float) -> list[_Other]:
        return [one for one in self._known.values() if now_ms - one.at_ms <= FRESH_MS]

    def counted(self, scope: str, now_ms: float) -> list[CountedPart]:
        """Returns what the others count of a service ("": of all), as far as they have said so a moment ago."""
        if not scope:
            return [one.everything for one in self._fresh(now_ms)]
        parts = (one.parts.get(scope) for one in self._known.values())
        return [part[1] for part in parts if part is not None and now_ms - part[0] <= FRESH_MS]

    def watched(self, service: str, now_ms: float) -> dict[str, CountedPart] | None:
        """Returns what each monitor counts of a service. None: not all of them have said so."""
        found: dict[str, CountedPart] = {}
        for monitor in self.ids:
            other = self._known.get(monitor)
            part = None if other is None else other.parts.get(service)
            if part is None or now_ms - part[0] > FRESH_MS:
                return None
            found[monitor] = part[1]
        return found

    def quiet(self, now_ms: float) -> Quiet | None:
        """Returns the numbers of the others together; None: one of them hears somebody, or none has answered."""
        found = [one.quiet for one in self._fresh(now_ms)]
        quiet = [one for one in found if one is not None]
        if not found or len(quiet) < len(found):
            return None
        return Quiet(sum(one.late for one in quiet), sum(one.due for one in quiet), sum(one.expected for one in quiet))

    def misses(self, now_ms: float) -> list[tuple[int, int, int, int]]:
        return [one.misses for one in self._fresh(now_ms)]

    def holds(self, service: str, now_ms: float) -> Iterable[tuple[str, Reason, float, float]]:
        """Yields the scope, reason, beginning and end of the holds of others that hold a loss of this service."""
        for one in self._fresh(now_ms):
            hold = one.hold
            if hold is not None and hold.scope in ("", service) and now_ms < hold.until_ms:
                yield hold
