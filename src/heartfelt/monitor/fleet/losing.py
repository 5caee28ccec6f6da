# SPDX-License-Identifier: MIT
"""From a missed beat to LOST: what is noted, held, asked and decided. The part of `Life` for that."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.hold import HoldMachine
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.leases import InstanceLeases
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.fleet.shares import Timing
from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.model import Level, State
from heartfelt.monitor.reasons import Reason

BEATING = frozenset((State.NEW, State.UP, State.LATE, State.STUCK, State.FAILED))
"""States in which the timeout runs."""


class Questions(Protocol):
    """Asks about losses, where there are many monitors: asking.py."""

    @property
    def away(self) -> Container[int]:
        """Instances that were taken over from another monitor, as long as none of them has beaten here."""

    def ask(
        self, instance: Instance, led: reasons.Led | None = None, level: Level = ..., *, detected: bool = False
    ) -> None: ...
    def keeps(self, instance: Instance) -> bool: ...
    def forget(self, id: int) -> None: ...
    def returned(self, id: int) -> None: ...
    def due(self, now_ms: float, most: int) -> int: ...


class Losing:
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
        self.book = book
        self.timers = timers
        self.policy = policy
        self.hold = hold
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.leases = InstanceLeases(book, timers, policy, now_ms)
        self.asking: Questions | None = None
        """None: this is the only monitor, and a loss is decided at once."""
        self.losses = 0

    def late(self, instance: Instance) -> None:
        """Handles a missed interval."""
        if instance.state not in BEATING or instance.state in (State.LATE, State.FAILED) or instance.late_ms is None:
            return
        if not self._is_away(instance):
            left_ms = max(instance.lease_ms + instance.reconnect_ms - instance.late_ms, 0)
            due = int((self.now_ms() + left_ms) // 1000)
            instance.due = self.hold.windows.count(instance.service, instance.due, due)
            self.hold.outages.late(instance.id)
        now_ms = self.wall_ms()
        self.book.move(instance, State.LATE, reasons.late(instance, now_ms), Level.NORMAL, now_ms)

    def silent(self, instance: Instance, since_ms: float) -> bool:
        """Handles a timeout that expired `since_ms` ago: from now on the hold counts the instance as lost, if a
        beat was due from it. False: nothing to decide."""
        if self.leases.wait(instance, since_ms) or instance.state not in BEATING or instance.held:
            return False
        if instance.is_regular and not self._is_away(instance):
            now_s = int(self.now_ms() // 1000)
            instance.due = self.hold.windows.count(instance.service, instance.due, now_s)
        return True

    def decide(self, instance: Instance) -> None:
        """Decides whether it is lost, held, or alive after all, since it may have beaten after `silent`."""
        if instance.held or not self.is_silent(instance):
            return
        asking = self.asking
        if asking is not None:  # which lets the hold decide when it asks: others' numbers have come by then
            if not asking.keeps(instance):
                asking.ask(instance, detected=True)
        elif not self.is_held_now(instance):
            self.lose(instance)
            self.book.publish(self.book.on_detected, instance)

    def is_silent(self, instance: Instance) -> bool:
        """Returns whether its timeout has passed, and it has not beaten since."""
        if instance.state not in BEATING:
            return False
        if instance.id in self.timers.lease:
            if instance.state is not State.LATE:
                self.no_longer_due(instance)
            return False
        return True

    def _is_away(self, instance: Instance) -> bool:
        """Returns whether it was taken over from another monitor, and its silence says nothing about others yet."""
        return self.asking is not None and instance.id in self.asking.away

    def is_held_now(self, instance: Instance, led: reasons.Led | None = None) -> bool:
        """Lets the hold decide on its loss, and marks it if it is held. `led`: what else led to it."""
        timing = Timing(instance.lease_ms, instance.terms.interval_ms, instance.late_ms)
        if not self.hold.lost(self.now_ms(), instance.id, instance.service, timing):
            return False
        self.keep(instance, self.hold.reason, led)
        return True

    def keep(self, instance: Instance, why: Reason, led: reasons.Led | None = None) -> None:
        """Marks it as one whose loss is held."""
        self.book.counts.hold(instance, True)
        if instance.state is not State.FAILED:  # which stays: it is known to be down
            now_ms = self.wall_ms()
            reason = reasons.held(why, instance, now_ms)
            self.book.move(instance, State.LATE, reason if led is None else led(reason), Level.NORMAL, now_ms)
        self.book.publish(self.book.on_held, instance)

    def lose(
        self, instance: Instance, led: reasons.Led | None = None, level: Level = Level.EMERGENCY, *, again: bool = False
    ) -> None:
        """Moves it to LOST, now that nothing holds the loss, or asks first. `led`: what else led to it. `again`: it was
        LOST before a pause, and has not beaten since."""
        if self.asking is not None and not again:
            self.asking.ask(instance, led, level)
            return
        now_ms = self.wall_ms()
        reason = reasons.lost(instance, now_ms, again=again)
        self.losses -= again
        self.lost(instance, led(reason) if led is not None else reason, level, now_ms)

    def lost(self, instance: Instance, reason: Reason, level: Level, now_ms: int, seq: int | None = None) -> None:
        """Moves it to LOST, by a change with this number if there is one already."""
        self.losses += 1
        self.book.counts.hold(instance, False)
        if not instance.expected:
            self.forget_in(instance, self.policy.forget_ms(instance.service, instance.lease_ms))
        if instance.down_since_ms is None:
            instance.down_since_ms = instance.last_beat_ms
        self.book.move(instance, State.LOST, reason, level, now_ms, seq=seq)

    def rest(self, instance: Instance) -> None:
        """Ends the wait for its beats."""
        self.timers.drop(self.timers.lease, instance.id)
        self.timers.drop(self.timers.late, instance.id)

    def no_longer_due(self, instance: Instance) -> None:
        instance.due = self.hold.windows.count(instance.service, instance.due, 0)
        if instance.held:
            self.hold.forget(instance.id)
            self.book.counts.hold(instance, False)

    def forget_in(self, instance: Instance, ms: int) -> None:
        self.timers.set(self.timers.cache, instance.id, ms)
