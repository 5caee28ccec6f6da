# SPDX-License-Identifier: MIT
"""Learns the period of an instance from the times between its beats, where only a default timeout applies.

Nothing here runs for a plain beat. The times between the last beats are in the instance (`gap_at`), and they are looked
at when the default timeout has passed without a beat, before that is called a loss, and with a beat that changes a
state. A time between beats that was no loss counts at once. One that was a loss counts if the next one was a loss, too,
and as long: a single outage is no period. The times are by the wall clock, so one that is longer than the timeout,
without a loss, is ignored: the clock was set.

A job's plain beats say nothing about when it runs next. Its period is that of the ends of its runs (`ended`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

from heartfelt.monitor.fleet.instance import RING, Instance, Rhythm, alike
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.model import UNWATCHED, State

PERIODS = 8
"""The time that is looked back on, in periods, and the number of runs of a job that must come regularly."""
KEPT = 3
"""A known period is kept for this many periods after the last time that it was seen, however fast the beats are."""


class Periods:
    """Belongs to the loop's thread. `heard`, `look` and `ended` return whether they learned something new."""

    def __init__(self, policy: Policy, now_ms: Callable[[], float]) -> None:
        self._policy = policy
        self._now_ms = now_ms

    def use(self, policy: Policy) -> None:
        self._policy = policy

    def heard(self, instance: Instance, *, restored: bool) -> bool:
        """Learns from a beat that changes its state, or came after the default timeout; before the change."""
        if instance.terms.is_explicit:
            return False
        now_ms = self._now_ms()
        changed = False
        if restored or instance.state in UNWATCHED:  # nobody knows whether a beat was missed, or was not wanted
            rhythm = self._rhythm(instance)
            rhythm.first_gap, rhythm.lost_gap_ms = instance.beats, 0
        elif instance.state is State.LOST or instance.held:
            changed = self._lost(instance, now_ms)
        elif instance.waiting:
            self._rhythm(instance).confirmed_ms = now_ms
        return self.look(instance) or changed

    def look(self, instance: Instance) -> bool:
        """Learns from its last beats."""
        terms, known_ms = instance.terms, instance.period_ms
        if instance.is_job or terms.is_explicit or (known_ms is None and terms.interval_ms is not None):
            return False
        default_ms = terms.look_ms
        gaps = _until(_usable(instance), PERIODS * max(known_ms or 0, default_ms))
        total_ms = sum(gaps)
        if 3 * total_ms < 2 * default_ms:  # too little to know anything
            return False
        period_ms = _typical(gaps, total_ms)
        if known_ms is not None:
            rhythm, now_ms = self._rhythm(instance), self._now_ms()
            if 5 * period_ms >= 4 * known_ms:
                rhythm.confirmed_ms = now_ms
            elif now_ms - rhythm.confirmed_ms < KEPT * known_ms:
                return False
        found = period_ms if period_ms + self._policy.grace_ms(instance, period_ms) > default_ms else None
        return self._learned(instance, found)

    def keep_rhythm(self, instance: Instance) -> None:
        """Takes the usual time between its last beats for its period, even if the default timeout is longer."""
        default_ms = instance.terms.look_ms
        gaps = _until(_usable(instance), PERIODS * default_ms)
        if instance.period_ms is None and not instance.terms.is_explicit and 3 * sum(gaps) >= 2 * default_ms:
            self._learned(instance, _typical(gaps, sum(gaps)))

    def ended(self, instance: Instance) -> bool:
        """Learns from the end of a job's run, if the last ones came regularly."""
        if instance.terms.is_explicit:
            return False
        rhythm = self._rhythm(instance)
        rhythm.ends = (*rhythm.ends[-PERIODS:], self._now_ms())
        gaps = sorted(later - sooner for sooner, later in pairwise(rhythm.ends))
        if len(gaps) < PERIODS or sum(gaps) < self._policy.lease_timeout_ms or not alike(gaps[0], gaps[-1]):
            return False
        return self._learned(instance, round(gaps[PERIODS // 2]))

    def _lost(self, instance: Instance, now_ms: float) -> bool:
        rhythm = self._rhythm(instance)
        gap_ms = instance.gap_at(instance.beats - 1)[0] * 10
        before_ms, since_ms = rhythm.lost_gap_ms, now_ms - rhythm.lost_at_ms
        rhythm.lost_gap_ms, rhythm.lost_at_ms = gap_ms, now_ms
        if gap_ms <= 0 or not alike(before_ms, gap_ms) or not alike(since_ms, gap_ms):
            return False
        rhythm.confirmed_ms = now_ms
        return self._learned(instance, round(since_ms))

    def _learned(self, instance: Instance, period_ms: int | None) -> bool:
        unknown, instance.period_unknown = instance.period_unknown, False
        known_ms = instance.period_ms
        if period_ms is not None:
            period_ms = _rounded(period_ms)
            if known_ms is not None and 20 * abs(period_ms - known_ms) <= known_ms:  # so that it is not stored often
                return unknown
        instance.period_ms = period_ms
        return unknown or period_ms != known_ms

    def _rhythm(self, instance: Instance) -> Rhythm:
        if instance.rhythm is None:
            instance.rhythm = Rhythm(confirmed_ms=self._now_ms())
        return instance.rhythm


def crowding_ms(instance: Instance) -> int | None:
    """Returns the usual time between its last beats, losses included, if that is about its timeout or longer."""
    first = max(1, instance.beats - PERIODS)
    gaps = sorted(instance.gap_at(n)[0] * 10 for n in range(first, instance.beats))
    if not gaps:
        return None
    usual_ms = gaps[len(gaps) // 2]
    is_outage = len(gaps) == 1 and 2 * usual_ms > 3 * instance.lease_ms  # or may be one
    return usual_ms if 5 * usual_ms >= 4 * instance.lease_ms and not is_outage else None


def _usable(instance: Instance) -> Iterator[int]:
    """Times between its last beats that were no loss, the newest first. If its period is known, also losses that ended
    soon: otherwise only the short times would count, and too short a period would never be corrected."""
    first = max(1, instance.beats - RING, 0 if instance.rhythm is None else instance.rhythm.first_gap)
    most_ms = instance.lease_ms * 6 // 5
    is_known = instance.period_ms is not None
    for n in range(instance.beats - 1, first - 1, -1):
        hundredths, missed = instance.gap_at(n)
        if (is_known or not missed) and (ms := hundredths * 10) <= most_ms:
            yield ms


def _until(gaps: Iterator[int], enough_ms: int) -> list[int]:
    taken: list[int] = []
    total_ms = 0
    for ms in islice(gaps, RING):
        taken.append(ms)
        total_ms += ms
        if total_ms >= enough_ms:
            break
    return taken


def _typical(gaps: list[int], total_ms: int) -> int:
    """The time between beats in which half of the time was spent, so that a burst of beats by hand counts for little;
    more if the longest would otherwise come close to the timeout."""
    passed_ms = 0
    for ms in sorted(gaps):
        passed_ms += ms
        if 2 * passed_ms >= total_ms:
            return max(ms, 4 * max(gaps) // 5)
    return 0


def _rounded(ms: int) -> int:
    """Three digits, as people say it."""
    unit: int = 10 ** max(0, len(str(ms)) - 3)
    return max(1, round(ms / unit) * unit)
