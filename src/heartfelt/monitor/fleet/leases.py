# SPDX-License-Identifier: MIT
"""Sets the timers of an instance by its terms, and gives it more time where its period needs more than the default.

The lease timer of an instance whose period was learned ends with the default timeout. Only then its last beats are
looked at, and the timer is set again for the rest of its own timeout. So a plain beat costs nothing more, and what is
decided is always decided by the latest beats.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.periods import Periods
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.fleet.terms import Terms
from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.model import State

LAG_TO_TELL_MS = 1000
"""A beat that reports a longer lag never takes the fast path."""
REVIEWED = 32
"""Instances whose terms are reviewed in each second."""
GONE = frozenset((State.LOST, State.LEFT))
"""States in which no lease runs."""
_TEACHING = GONE | {State.NEW, State.LATE, State.PAUSED}
"""States in which a beat says more about the period than the time since the last one."""


class InstanceLeases:
    """Belongs to the loop's thread."""

    def __init__(self, book: Book, timers: Timers, policy: Policy, now_ms: Callable[[], float]) -> None:
        self._book = book
        self._timers = timers
        self._policy = policy
        self._periods = Periods(policy, now_ms)
        self._to_review: dict[int, None] = {}
        self.bounded = 0
        """Timeouts that were asked for and are beyond the bounds."""
        self.learned = 0
        """Times that a period was learned, has changed or was forgotten."""

    def set(self, instance: Instance) -> None:
        """Sets the timers again if the timeout or the interval has changed. Counts as a beat for those it sets."""
        before = instance.terms
        terms = self._take_terms(instance)
        stuck_ms = self._policy.stuck_ms(instance.service, instance.interval_ms)
        instance.lag_to_tell_ms = min(LAG_TO_TELL_MS, stuck_ms + 1)
        if terms.look_ms != before.look_ms or instance.waiting:
            instance.waiting = False
            instance.lease = self._timers.set(self._timers.lease, instance.id, terms.look_ms)
        if terms.is_bounded and terms != before:
            self.bounded += 1
        late_ms = self._policy.late_ms(terms.interval_ms, terms.timeout_ms)
        if late_ms != instance.late_ms:
            instance.late_ms = late_ms
            if late_ms is None:
                instance.late = None
                self._timers.drop(self._timers.late, instance.id)
            else:
                instance.late = self._timers.set(self._timers.late, instance.id, late_ms)
        if instance.id in self._book.by_id:
            self._book.counts.count_interval(instance, instance.state)

    def use(self, policy: Policy) -> None:
        """Decides by another policy from now on; `retime` applies it to what is known already."""
        self._policy = policy
        self._periods.use(policy)

    def retime(self, instance: Instance, now_ms: int) -> bool:
        """Applies a changed policy to an instance: its timeout is counted from its last beat, and at least a moment is
        left of it. Returns whether its terms have changed."""
        before, was_running = instance.terms, instance.id in self._timers.lease
        if not was_running:  # it is lost, or has left: its next beat sets the timers
            changed = self._take_terms(instance) != before
            instance.waiting = instance.waiting or changed
            return changed
        self.set(instance)
        if instance.terms == before:
            return False
        begin_ms = max(instance.last_beat_ms, instance.restored_ms or 0)
        left_ms = instance.lease_ms + instance.reconnect_ms - (now_ms - begin_ms)
        instance.waiting = True
        instance.plain = False  # so that its next beat sets the timer back
        self._timers.set(self._timers.lease, instance.id, max(left_ms, 1))
        return True

    def restored(self, like: Instance, others: list[Instance]) -> None:
        """Sets the timers of instances that have the terms of `like`, whose timers are set."""
        terms, timers = like.terms, self._timers
        ids = [one.id for one in others]
        hearts = timers.set_all(timers.lease, ids, terms.look_ms + like.reconnect_ms)
        for one, heart in zip(others, hearts, strict=True):
            one.lease = heart
        if like.late_ms is not None:
            for one, heart in zip(others, timers.set_all(timers.late, ids, like.late_ms), strict=True):
                one.late = heart
        self.bounded += terms.is_bounded * len(ids)
        if terms.look_ms != terms.timeout_ms:
            self._to_review.update(dict.fromkeys(ids))

    def heard(self, instance: Instance, *, restored: bool) -> None:
        """Learns from a beat that the timers have seen, before it changes the state. `restored`: it is the first one
        since the monitor started."""
        if not (instance.waiting or instance.held or restored or instance.state in _TEACHING):
            return
        learned = self._periods.heard(instance, restored=restored)
        if learned or instance.waiting:
            self.set(instance)
        if learned:
            self._publish(instance)

    def becomes_job(self, instance: Instance) -> None:
        """Handles the first report of a run. If it beat before that, it is expected to beat as it did."""
        self._periods.keep_rhythm(instance)
        instance.is_job = True
        self.set(instance)

    def ended(self, instance: Instance) -> None:
        """Learns from the end of a job's run, which is a beat that the timers have seen."""
        if self._periods.ended(instance):
            self.set(instance)
            self._publish(instance)

    def wait(self, instance: Instance, since_ms: float = 0.0) -> bool:
        """Handles that its lease timer ended `since_ms` ago. Returns whether it has more time, by its period."""
        if instance.waiting or instance.state in GONE or instance.before_pause in GONE:
            return False
        looked_ms = instance.terms.look_ms
        self._look(instance)
        more_ms = instance.lease_ms - looked_ms - since_ms
        if more_ms < 1:
            return False
        instance.waiting = True
        instance.plain = False  # so that its next beat sets the timer back
        self._timers.set(self._timers.lease, instance.id, more_ms)
        return True

    def review(self) -> None:
        """Looks at the beats of some instances that have more time than the default, so that the timeout that is shown
        stays true. Nothing is decided by it: `wait` looks again."""
        for id in list(islice(self._to_review, REVIEWED)):
            del self._to_review[id]
            instance = self._book.by_id.get(id)
            if instance is None:
                continue
            if not instance.waiting:
                self._look(instance)
            if instance.terms.look_ms != instance.lease_ms:
                self._to_review[id] = None

    def _look(self, instance: Instance) -> None:
        if self._periods.look(instance):
            self._take_terms(instance)
            self._book.counts.count_interval(instance, instance.state)
            self._publish(instance)

    def _take_terms(self, instance: Instance) -> Terms:
        terms = instance.terms = self._policy.terms(instance)
        instance.lease_ms = terms.timeout_ms
        if terms.look_ms != terms.timeout_ms:
            self._to_review[instance.id] = None
        return terms

    def _publish(self, instance: Instance) -> None:
        self.learned += 1
        self._book.publish_row(instance)

    def stats(self) -> dict[str, int]:
        return {"leases_bounded": self.bounded, "periods_learned": self.learned}
