# SPDX-License-Identifier: MIT
"""The state machine of an instance: each transition, with its timers, its level and its reason.

Callers say what has happened (a beat, an expired timeout, a goodbye). What follows from it is decided only here.
"""

from __future__ import annotations

from collections.abc import Callable

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.acks import Acks
from heartfelt.monitor.fleet.addresses import Addresses
from heartfelt.monitor.fleet.hold import HoldMachine
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.kept import Kept
from heartfelt.monitor.fleet.leases import GONE
from heartfelt.monitor.fleet.losing import Losing
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.roster import ACKABLE, Book
from heartfelt.monitor.fleet.runs import OpenRuns
from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.model import DOWN, AgentEvent, ExpectedBy, Level, State
from heartfelt.monitor.reasons import Reason

BEFORE_PAUSE = GONE | ACKABLE
"""States that a pause remembers, since people were told of them."""
_SILENT = frozenset((State.LATE, State.LOST))


class Life(Losing):
    """Belongs to the loop's thread."""

    def __init__(
        self,
        book: Book,
        timers: Timers,
        policy: Policy,
        hold: HoldMachine,
        now_ms: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        super().__init__(book, timers, policy, hold, now_ms, wall_ms)
        self.runs = OpenRuns(timers)
        self.acks = Acks(book, timers, wall_ms)
        self.kept = Kept(book)
        self.addresses = Addresses(book, timers, now_ms, wall_ms)
        self.recoveries = self.failures = 0

    def set_terms(self, instance: Instance) -> None:
        """Decides again whether it is expected, and on its times; see `InstanceLeases.set`."""
        if instance.expected_by is not ExpectedBy.BEAT:
            by_key = instance.expected_by is ExpectedBy.KEY
            instance.expected = self.policy.is_expected(instance.service, by_key)
        self.leases.set(instance)

    def is_stuck(self, instance: Instance) -> bool:
        lag_ms = instance.lag_ms
        return bool(lag_ms) and lag_ms > self.policy.stuck_ms(instance.service, instance.interval_ms)  # type: ignore[operator]

    # -- what happens to an instance

    def beaten(self, instance: Instance, gap_ms: int, now_ms: int, *, succeeded: bool = True) -> None:
        """Handles a beat that its timers have seen. Needed unless `instance.plain`, and if its interpreter is stuck.

        succeeded: the beat shows that its job works again, if a run failed before.
        """
        old = instance.state
        interval_ms = instance.terms.interval_ms
        restored = instance.restored_ms is not None
        if old in _SILENT and interval_ms is not None and gap_ms < 2 * instance.lease_ms and not restored:
            self.hold.outages.misses.missed(self.now_ms(), instance.id, gap_ms, interval_ms)
        self._heard(instance)
        gap_ms = max(gap_ms, 0)
        had_failed = instance.failed
        if succeeded:
            instance.failed = False
        if old is State.PAUSED:
            self._beaten_in_pause(instance)
            return
        if instance.failed:
            self._still_failed(instance, now_ms)
            return
        stuck = self.is_stuck(instance)
        new = State.STUCK if stuck else State.UP
        if new is old:
            instance.plain = not (stuck or instance.in_run)
            return
        level, outage_ms = Level.NORMAL, None
        reason = reasons.second(gap_ms) if old is State.NEW else reasons.beats_again(gap_ms)
        if old in GONE or old is State.FAILED:
            self.recoveries += 1
            level, outage_ms = Level.IMPORTANT, self._up_again(instance, gap_ms, now_ms)
            self.timers.drop(self.timers.cache, instance.id)
            if old is State.LEFT:
                reason = reasons.came_back(gap_ms)
            elif had_failed:
                reason = reasons.succeeded_again(outage_ms)
        elif old is State.STUCK:
            level, reason = Level.IMPORTANT, reasons.answers(instance)
        if stuck:
            limit_ms = self.policy.stuck_ms(instance.service, instance.interval_ms)
            level, reason = Level.IMPORTANT, reasons.stuck(instance, limit_ms)
        self.book.move(instance, new, reason, level, now_ms, outage_ms)
        self.came(instance, now_ms)

    def came(self, instance: Instance, now_ms: int) -> None:
        """Removes the LOST instance that was kept as the last of its service, now that another one is there."""
        kept = self.kept.outdated_by(instance)
        if kept is not None:
            self.remove(kept, reasons.made_way(kept, instance.instance_id, now_ms))

    def fail(self, instance: Instance, reason: Reason, *, heard: bool) -> None:
        """Handles a run that failed. `heard`: its beat says so, rather than a deadline that has passed."""
        now_ms = self.wall_ms()
        if heard:
            self._heard(instance)
        instance.failed = True
        old = instance.state
        if old is State.PAUSED:
            if instance.before_pause not in DOWN:
                instance.down_since_ms = max(now_ms, instance.since_ms + 1)  # so that it is known not to be told yet
            self._changed_in_pause(instance, State.FAILED, reason)
            return
        if old in GONE:
            self.timers.drop(self.timers.cache, instance.id)
        if old is not State.FAILED:
            self.failures += 1
        if instance.down_since_ms is None:
            instance.down_since_ms = now_ms
        self.book.move(instance, State.FAILED, reason, Level.EMERGENCY, now_ms)
        self.came(instance, now_ms)

    def leave(self, instance: Instance, text: str, event: AgentEvent | None = None) -> None:
        """Handles a goodbye. `text`: what was said about it. `event`: the agent's event that says so."""
        if instance.state is State.LEFT:
            return
        instance.goodbye_ms = None if event is None else event.time_ms
        self.rest(instance)
        instance.failed, instance.down_since_ms = False, None
        if instance.state is State.PAUSED:
            self._changed_in_pause(instance, State.LEFT, reasons.left(text, instance, event))
            return
        self.no_longer_due(instance)
        self.kept.no_longer(instance)
        self.forget_in(instance, self.policy.cached_ms(instance.service))
        self.book.move(instance, State.LEFT, reasons.left(text, instance, event), Level.NORMAL, self.wall_ms())

    def pause(self, instance: Instance, until_ms: int | None, by: str, why: str) -> None:
        """Suppresses notifications until then, or until `resume`."""
        now_ms = self.wall_ms()
        if instance.state is State.PAUSED:
            before = reasons.before_pause(instance.reason)
        else:
            remembered = instance.state in BEFORE_PAUSE
            instance.before_pause = instance.state if remembered else None
            before = reasons.bare(instance.reason) if remembered else None
            if instance.state is not State.LOST:
                self.no_longer_due(instance)
            self.kept.no_longer(instance)
            self.acks.rest(instance)
        instance.paused_until_ms = until_ms
        if until_ms is None:
            self.timers.drop(self.timers.cache, instance.id)
        else:
            self.forget_in(instance, max(until_ms - now_ms, 1))
        self.book.move(instance, State.PAUSED, reasons.paused(until_ms, by, why, before), Level.NORMAL, now_ms)

    def _changed_in_pause(self, instance: Instance, before: State | None, reason: Reason | None) -> None:
        """Remembers what a paused instance is by now, with its reason. UP: it beats again."""
        instance.before_pause = before
        instance.reason = reasons.paused_after(instance.reason, reason)
        if before not in ACKABLE:  # the outage is over
            instance.down_since_ms = None
            self.book.end_ack(instance)
        self.book.publish_row(instance)

    def resume(self, instance: Instance, led: reasons.Led) -> None:
        """Ends a pause: moves the instance to the state that is true now. `led`: why the pause ended."""
        told, instance.before_pause = instance.before_pause, None
        told_reason = reasons.before_pause(instance.reason)
        instance.paused_until_ms = None
        self.timers.drop(self.timers.cache, instance.id)
        now_ms = self.wall_ms()
        silent = instance.id not in self.timers.lease and (told in GONE or not self.leases.wait(instance))
        may_hold = silent and told not in GONE and self.hold.unsettled_ms(self.now_ms(), instance.service) > 0
        if silent and told is State.LEFT:
            self.forget_in(instance, self.policy.cached_ms(instance.service))
            reason = led(told_reason or reasons.left("", instance))
            self.book.move(instance, State.LEFT, reason, Level.NORMAL, now_ms)
        elif may_hold and told is not State.FAILED and self.is_held_now(instance, led):
            return  # its silence proves no more than that of the others whose losses are held
        elif silent or told is State.FAILED:
            is_lost = silent and not (may_hold and told is State.FAILED)
            was_told = told is State.LOST if is_lost else _was_told(instance)
            level = Level.NORMAL if was_told else Level.EMERGENCY
            if (over := self.acks.end_in_pause(instance)) is not None:
                level, led = Level.EMERGENCY, reasons.both(led, reasons.ack_ended(over))
            if is_lost:
                self.lose(instance, led, level, again=told is State.LOST)
            else:
                instance.down_since_ms = min(instance.down_since_ms or now_ms, now_ms)  # from now on it is told
                reason = led(told_reason or reasons.still_failed(instance))
                self.book.move(instance, State.FAILED, reason, level, now_ms)
                if silent and not self.is_held_now(instance):
                    self.lose(instance)
            self.acks.watch(instance)
        else:
            self._resume_alive(instance, led, told is not None, now_ms)

    def _resume_alive(self, instance: Instance, led: reasons.Led, came_back: bool, now_ms: int) -> None:
        instance.down_since_ms = None
        level = Level.IMPORTANT if came_back else Level.NORMAL
        if instance.restored_ms is not None or (instance.late is not None and instance.id not in self.timers.late):
            self.book.move(instance, State.LATE, led(reasons.waiting(instance, now_ms)), level, now_ms)
        elif self.is_stuck(instance):
            limit_ms = self.policy.stuck_ms(instance.service, instance.interval_ms)
            reason = led(reasons.stuck(instance, limit_ms))
            self.book.move(instance, State.STUCK, reason, Level.IMPORTANT, now_ms)
        else:
            self.recoveries += came_back
            self.book.move(instance, State.UP, led(reasons.ALIVE), level, now_ms)
        self.came(instance, now_ms)

    def cached(self, instance: Instance) -> None:
        """Handles the end of its time in the cache, or of its pause."""
        if instance.state is State.PAUSED:
            if instance.paused_until_ms is not None:
                self.resume(instance, reasons.pause_ended)
        elif instance.state is State.LOST and (look_ms := self._stays(instance)) is not None:
            if look_ms:
                self.forget_in(instance, look_ms)
        elif instance.state in GONE:
            lease_cache_ms = self.policy.cached_ms(instance.service)
            self.remove(instance, reasons.expired(instance, lease_cache_ms, self.wall_ms()))

    def _stays(self, instance: Instance) -> int | None:
        return self.kept.look_ms(instance, self.now_ms(), self.wall_ms())

    def remove(self, instance: Instance, reason: Reason) -> None:
        if instance.state is not State.LOST:
            self.no_longer_due(instance)
        self._forget(instance)
        self.book.remove(instance, reason, self.wall_ms())

    def disown(self, instance: Instance) -> None:
        """Forgets it without a change, since it is another monitor's."""
        if instance.state is not State.LOST:
            self.no_longer_due(instance)
        self._forget(instance)
        self.book.drop(instance)

    def _forget(self, instance: Instance) -> None:
        self.kept.no_longer(instance)
        self.timers.forget(instance.id)
        self.runs.forget(instance.id)
        instance.plain = False
        if self.asking is not None:
            self.asking.forget(instance.id)

    def stats(self) -> dict[str, int]:
        counts = {"losses": self.losses, "recoveries": self.recoveries, "failures": self.failures}
        return counts | self.leases.stats() | self.addresses.stats()

    def _heard(self, instance: Instance) -> None:
        restored = instance.restored_ms is not None
        if restored:
            self._return(instance)
        if instance.state in _SILENT:
            instance.mark_missed()
        self.leases.heard(instance, restored=restored)
        if instance.state in (State.LATE, State.FAILED):
            self.no_longer_due(instance)

    def _beaten_in_pause(self, instance: Instance) -> None:
        before = instance.before_pause
        if before in GONE:
            self._changed_in_pause(instance, State.FAILED if instance.failed else State.UP, None)
        elif before is State.FAILED and not instance.failed:
            self._changed_in_pause(instance, State.UP if _was_told(instance) else None, None)

    def _still_failed(self, instance: Instance, now_ms: int) -> None:
        """It beats, but none of its runs has succeeded since one failed: after a loss it is FAILED as before."""
        if instance.state is not State.FAILED:
            self.timers.drop(self.timers.cache, instance.id)
            self.book.move(instance, State.FAILED, reasons.still_failed(instance), Level.IMPORTANT, now_ms)
            self.came(instance, now_ms)

    @staticmethod
    def _up_again(instance: Instance, gap_ms: int, now_ms: int) -> int:
        """Returns how long it was down."""
        since_ms, instance.down_since_ms = instance.down_since_ms, None
        return gap_ms if since_ms is None else max(now_ms - since_ms, 0)

    def _return(self, instance: Instance) -> None:
        """Handles the first beat since the monitor started."""
        if instance.restored_ms:
            self.hold.outages.returned()
        elif self.asking is not None:
            self.asking.returned(instance.id)
        instance.restored_ms = None
        if instance.reconnect_ms:
            instance.reconnect_ms = 0
            instance.lease = self.timers.set(self.timers.lease, instance.id, instance.terms.look_ms)


def _was_told(instance: Instance) -> bool:
    """Returns whether people were told, before the pause, of the outage that a paused instance is in."""
    return (instance.down_since_ms or 0) <= instance.since_ms
