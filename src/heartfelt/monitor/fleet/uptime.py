# SPDX-License-Identifier: MIT
"""Uptime and availability of services, integrated between changes of state.

A service's uptime on a day, in UTC, is the time that its instances were up divided by the time that they were watched,
each summed over the instances. An instance is watched in every state but LEFT and PAUSED (`UNWATCHED`), until it is
removed; it is down if LOST, FAILED or STUCK (`DOWN`), otherwise up. The service's availability is the share of its
observed time, in which at least one instance was watched, that at least `min_up` of them were up. Where there are many
monitors, these two count all their instances, and are counted by one of them (`others`). Changes count from
their moment, by the monotonic clock. The wall clock only says to which day time belongs: a step adds and removes none.
Time in which the monitor did not run is not watched. docs/uptime.md says the same to users.

A service's times are known up to its last change. All are brought up to now, and published, at the end of each day,
when the wall clock is set, and whenever somebody asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from heartfelt.monitor.fleet.metrics import OTHER_SERVICES, SERVICES
from heartfelt.monitor.metric import Reading, clean_label, counter
from heartfelt.monitor.model import DOWN, UNWATCHED, State
from heartfelt.monitor.store import WatchedTime
from heartfelt.monitor.store.kept import DAY_MS

STEP_MS = 1000.0
"""The wall clock was set if it deviates by this much. Less is drift, which is corrected whenever all are published."""
ASLEEP_MS = 2000.0
"""The monitor did not run if there was no tick for longer than this. There is one a second."""
_UP, _DOWN, _OUT = (1, 1), (1, 0), (0, 0)
_PARTS = dict.fromkeys(State, _UP) | dict.fromkeys(DOWN, _DOWN) | dict.fromkeys((*UNWATCHED, State.REMOVED), _OUT)
"""How an instance in this state counts: as watched, and as up."""
_WHICH = f"of the first {SERVICES} services to come, all others as {OTHER_SERVICES}"
_METRICS = tuple(
    counter(f"heartfelt_service_{name}_seconds", f"{what}, {_WHICH}", unit="seconds", labels=("service",))
    for name, what in (
        ("watched", "Time that instances were watched, summed over the instances"),
        ("up", "Time that watched instances were up, summed over the instances"),
        ("observed", "Time with at least one watched instance"),
        ("available", "Time in which at least min_up watched instances were up"),
    )
)
_NONE = (0.0, 0.0, 0.0, 0.0)
_Times = tuple[float, float, float, float]
DayTimes = dict[tuple[int, str], WatchedTime]
"""By day (days since 1970, UTC) and service: what was added since it was published last."""


class _ServiceTimes:
    """How many instances of a service are watched and up, since `at_ms`; and its times until then, in ms."""

    __slots__ = (
        "at_ms",
        "available_ms",
        "counts",
        "is_named",
        "is_over",
        "min_up",
        "observed_ms",
        "others_up",
        "others_watched",
        "published",
        "up",
        "up_ms",
        "watched",
        "watched_ms",
    )

    def __init__(self, at_ms: float, min_up: int, is_named: bool) -> None:
        self.at_ms = at_ms
        self.min_up = min_up
        self.is_named = is_named
        """Its metrics have a label of its own."""
        self.watched = self.up = 0
        self.others_watched = self.others_up = 0
        """Instances of other monitors."""
        self.counts = True
        """Its observed and its available time are counted here, rather than by another monitor."""
        self.is_over = False
        """It has no instances here any more."""
        self.watched_ms = self.up_ms = self.observed_ms = self.available_ms = 0.0
        self.published = _NONE
        """The part of its times that was published."""

    def advance(self, now_ms: float) -> None:
        elapsed_ms = now_ms - self.at_ms
        if elapsed_ms <= 0.0:  # the monitor did not run, and the end of that is already taken into account
            return
        self.at_ms = now_ms
        self.watched_ms += elapsed_ms * self.watched
        self.up_ms += elapsed_ms * self.up
        if self.counts and self.watched + self.others_watched:
            self.observed_ms += elapsed_ms
            up = self.up + self.others_up
            if up and up >= self.min_up:
                self.available_ms += elapsed_ms

    def times(self) -> _Times:
        return self.watched_ms, self.up_ms, self.observed_ms, self.available_ms


class UptimeMeter:
    """Belongs to the loop's thread. A change costs O(1). A service is forgotten with its last instance.

    now_ms: the monotonic clock. min_up: how many instances of a service must be up for it to be available. publish:
    called with times, which the meter does not keep. ticks: `tick` is called once a second, so that the lack of it
    shows that the monitor did not run.
    """

    def __init__(
        self,
        now_ms: Callable[[], float],
        wall_ms: Callable[[], int],
        min_up: Callable[[str], int],
        publish: Callable[[DayTimes], None],
        *,
        ticks: bool,
    ) -> None:
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._min_up = min_up
        self._publish_times = publish
        self._asleep_ms = ASLEEP_MS if ticks else math.inf
        self.on_count: Callable[[str], None] | None = None
        """Called with a service of which the counts have changed."""
        self._services: dict[str, _ServiceTimes] = {}
        self._changed: dict[str, _ServiceTimes] = {}
        """Services with a change since their times were published."""
        self._n_named = 0
        self._others: _Times = _NONE
        """The times of forgotten services without a label of their own."""
        self._awake_ms = math.inf
        """The last tick."""
        self._offset_ms = self._midnight_ms = self._due_ms = 0.0
        self._day = 0
        self._read_clocks(now_ms())

    def move(self, service: str, old: State, new: State, n: int = 1) -> None:
        """Notes that `n` instances go from one state to another. REMOVED: they are not known, before or after."""
        before, after = _PARTS[old], _PARTS[new]
        if before is after:
            return
        now_ms = self._now_ms()
        if now_ms >= self._due_ms:
            self._settle(now_ms)
        one = self._services.get(service)
        if one is None:
            one = self._services[service] = self._new(service, now_ms)
        one.advance(now_ms)
        one.is_over = False
        one.watched += n * (after[0] - before[0])
        one.up += n * (after[1] - before[1])
        self._changed[service] = one
        if self.on_count is not None:
            self.on_count(service)

    def tick(self) -> None:
        """Notes that the monitor runs, and whether a day has ended or the wall clock was set."""
        now_ms = self._now_ms()
        if now_ms >= self._due_ms or abs(self._wall_ms() - now_ms - self._offset_ms) >= STEP_MS:
            self._settle(now_ms)
        self._awake_ms = now_ms
        self._due_ms = min(self._midnight_ms, now_ms + self._asleep_ms)

    def stopped(self, stop_ms: float) -> None:
        """Notes that the monitor did not run for this long, until now."""
        now_ms = self._now_ms()
        self._skip(now_ms - stop_ms, now_ms)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Returns how many instances are watched, and how many of them are up, for each service with watched ones."""
        return {service: (one.watched, one.up) for service, one in self._services.items() if one.watched}

    def count_of(self, service: str) -> tuple[int, int]:
        """Returns how many instances of a service are watched here, and how many of them are up."""
        one = self._services.get(service)
        return (0, 0) if one is None else (one.watched, one.up)

    def others(self, service: str, watched: int, up: int, *, counts: bool = True) -> None:
        """Notes how many instances of a service the other monitors watch, and how many of them are up.

        Observed and available time are of the whole fleet, so one monitor alone adds them up for a service. counts: it
        is this one.
        """
        now_ms = self._now_ms()
        if now_ms >= self._due_ms:
            self._settle(now_ms)
        one = self._services.get(service)
        if one is None:
            if not (watched and counts):
                return
            one = self._services[service] = self._new(service, now_ms)
            one.is_over = True
        one.advance(now_ms)
        one.others_watched, one.others_up, one.counts = watched, up, counts
        self._changed[service] = one
        if one.is_over and not (watched and counts):
            self.forget(service)

    def forget(self, service: str) -> None:
        """Forgets a service that has no instances any more, unless other monitors have some and it is counted here."""
        one = self._services.get(service)
        if one is None:
            return  # its instances were never watched
        one.is_over = True
        if one.others_watched and one.counts:
            return
        del self._services[service]
        self._changed.pop(service, None)
        self._publish([(service, one)])
        if one.is_named:
            self._n_named -= 1
        else:
            self._others = _sum(self._others, one.times())

    def publish(self, *, complete: bool) -> None:
        """Publishes the times of the services with a change since the last call, up to that change: O(changes).
        complete: those of all services, up to now: O(services)."""
        if complete:
            self._settle(self._now_ms())
        else:
            changed, self._changed = self._changed, {}
            self._publish(changed.items())

    def readings(self) -> Iterator[Reading]:
        """The times of each service since the start. O(services); the number of labels is bounded.

        A service keeps its label, or stays among the others, as long as it is known: counters must not fall.
        """
        now_ms = self._now_ms()
        if now_ms >= self._due_ms:
            self._settle(now_ms)
        else:
            self._advance(now_ms)
        by_label: dict[str, _Times] = {}
        others, n_others = self._others, len(self._services) - self._n_named
        for service, one in self._services.items():
            if one.is_named:
                label = clean_label(service)
                by_label[label] = _sum(by_label.get(label, _NONE), one.times())
            else:
                others = _sum(others, one.times())
        if n_others or others != _NONE:
            by_label[OTHER_SERVICES] = _sum(by_label.get(OTHER_SERVICES, _NONE), others)
        for n, metric in enumerate(_METRICS):
            yield metric, {(label,): times[n] / 1000.0 for label, times in by_label.items()}

    def _new(self, service: str, now_ms: float) -> _ServiceTimes:
        is_named = self._n_named < SERVICES
        self._n_named += is_named
        return _ServiceTimes(now_ms, self._min_up(service), is_named)

    def _settle(self, now_ms: float) -> None:
        """Brings all times up to now, publishes them, and reads the clocks again."""
        if now_ms - self._awake_ms > self._asleep_ms:
            self._skip(self._awake_ms, now_ms)
            self._awake_ms = now_ms
        self._advance(now_ms)
        self._publish_all()
        self._read_clocks(now_ms)

    def _skip(self, begin_ms: float, now_ms: float) -> None:
        """Leaves out the time from `begin_ms` to now."""
        self._advance(begin_ms)
        for one in self._services.values():
            one.at_ms = now_ms

    def _advance(self, now_ms: float) -> None:
        """Brings all times up to now, and publishes those of a day that has ended."""
        while now_ms >= self._midnight_ms:
            for one in self._services.values():
                one.advance(self._midnight_ms)
            self._publish_all()
            self._day += 1
            self._midnight_ms += DAY_MS
        for one in self._services.values():
            one.advance(now_ms)

    def _read_clocks(self, now_ms: float) -> None:
        wall_ms = self._wall_ms()
        self._offset_ms = wall_ms - now_ms
        self._day = wall_ms // DAY_MS
        self._midnight_ms = (self._day + 1) * DAY_MS - self._offset_ms
        self._due_ms = min(self._midnight_ms, self._awake_ms + self._asleep_ms)

    def _publish_all(self) -> None:
        self._changed = {}
        self._publish(self._services.items())

    def _publish(self, services: Iterable[tuple[str, _ServiceTimes]]) -> None:
        added: DayTimes = {}
        for service, one in services:
            times, before = one.times(), one.published
            if times != before:
                one.published = times
                new = (time - old for time, old in zip(times, before, strict=True))
                added[(self._day, service)] = WatchedTime(*(ms / 1000.0 for ms in new))
        if added:
            self._publish_times(added)


def _sum(one: _Times, other: _Times) -> _Times:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
