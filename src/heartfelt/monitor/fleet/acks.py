# SPDX-License-Identifier: MIT
"""Acknowledgements: somebody knows of a loss or a failure, so nobody is notified about it again.

An acknowledgement ends when the instance recovers, leaves or is removed (roster.py), when it is withdrawn, or at its
time, at which what is still down is notified again. In a pause that time does not count until the pause ends.
"""

from __future__ import annotations

from collections.abc import Callable

from heartfelt.monitor.fleet import own_events, reasons
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.roster import ACKABLE, Book
from heartfelt.monitor.fleet.timers import Timers, ack_key
from heartfelt.monitor.model import Ack, Level, State
from heartfelt.monitor.reasons import Reason


class Acks:
    """Belongs to the loop's thread."""

    def __init__(self, book: Book, timers: Timers, wall_ms: Callable[[], int]) -> None:
        self.book = book
        self.timers = timers
        self.wall_ms = wall_ms

    def ack(self, instance: Instance, ack: Ack) -> bool:
        """Takes an acknowledgement, in place of an earlier one. False: the instance is neither LOST nor FAILED."""
        if instance.state not in ACKABLE:
            return False
        instance.ack = ack
        self.watch(instance)
        self._publish(instance, "INSTANCE_ACKED", reasons.acked(ack))
        return True

    def withdraw(self, instance: Instance, by: str, why: str) -> bool:
        """Ends an acknowledgement; nobody is notified because of that. False: there is none."""
        if instance.ack is None:
            return False
        instance.ack = None
        self.rest(instance)
        self._publish(instance, "INSTANCE_ACK_WITHDRAWN", reasons.ack_withdrawn(by, why))
        return True

    def watch(self, instance: Instance) -> None:
        """Sets the timer of its end, if it has one."""
        ack = instance.ack
        if ack is None or ack.until_ms is None:
            self.rest(instance)
        else:
            self.timers.set(self.timers.cache, ack_key(instance.id), max(ack.until_ms - self.wall_ms(), 1))

    def rest(self, instance: Instance) -> None:
        """Drops the timer of its end, as for a pause."""
        self.timers.drop(self.timers.cache, ack_key(instance.id))

    def end_in_pause(self, instance: Instance) -> Ack | None:
        """Ends an acknowledgement whose time has passed in a pause, and returns it."""
        ack = instance.ack
        if ack is None or ack.until_ms is None or ack.until_ms > self.wall_ms():
            return None
        self.book.end_ack(instance)
        return ack

    def over(self, instance: Instance) -> None:
        """Handles the end of its time: notifies again about what is still down."""
        ack = instance.ack
        if instance.state not in ACKABLE or ack is None or ack.until_ms is None:
            return
        now_ms = self.wall_ms()
        is_lost = instance.state is State.LOST
        still = reasons.lost(instance, now_ms, again=True) if is_lost else reasons.bare(instance.reason)
        self.book.end_ack(instance)
        self.book.tell_again(instance, reasons.ack_ended(ack)(still), Level.EMERGENCY, now_ms)

    def _publish(self, instance: Instance, name: str, reason: Reason) -> None:
        self.book.publish_row(instance)
        self.book.publish(self.book.on_event, own_events.of_instance(self.wall_ms(), instance, name, reason))
        self.book.publish(self.book.on_ack, instance)
