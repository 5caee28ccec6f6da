# SPDX-License-Identifier: MIT
"""All instances by id and by name, with counts; numbers their changes of state and publishes them to listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from heartfelt._known import untrack
from heartfelt.monitor.fleet import own_events
from heartfelt.monitor.fleet.counts import Counts
from heartfelt.monitor.fleet.instance import Instance, app_name
from heartfelt.monitor.fleet.numbered import Numbered
from heartfelt.monitor.fleet.uptime import DayTimes, UptimeMeter
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level, Run, State
from heartfelt.monitor.reasons import Reason
from heartfelt.monitor.store.shared_meta import Packed, SharedMeta

ACKABLE = frozenset((State.LOST, State.FAILED))
"""States that somebody may acknowledge."""
_Value = TypeVar("_Value")
_log = logging.getLogger("heartfelt.monitor")


class Book:
    """Belongs to the loop's thread. A listener that raises is logged and counted; the others are still called."""

    uptime: UptimeMeter
    """Set by the registry."""

    def __init__(self) -> None:
        self.by_id: dict[int, Instance] = {}
        self.by_key: dict[tuple[str, str], Instance] = {}
        self.counts = Counts()
        self.numbered = Numbered()
        self._shared = SharedMeta()
        self.dirty: dict[int, int] = {}
        """Last beats that have not been collected yet, by id."""
        self.next_id = 1
        self.next_seq = 1
        self.on_change: list[Callable[[Change], None]] = []
        self.on_removed: list[Callable[[Instance], None]] = []
        self.on_detected: list[Callable[[Instance], None]] = []
        self.on_hold: list[Callable[[Hold], None]] = []
        self.on_held: list[Callable[[Instance], None]] = []
        self.on_ack: list[Callable[[Instance], None]] = []
        self.on_row: list[Callable[[InstanceRow], None]] = []
        self.on_event: list[Callable[[AgentEvent], None]] = []
        self.on_run: list[Callable[[Run], None]] = []
        self.on_uptime: list[Callable[[DayTimes], None]] = []
        self.changes = 0
        self.listener_errors = 0

    def publish(self, listeners: list[Callable[[_Value], None]], value: _Value) -> None:
        for listener in listeners:
            try:
                listener(value)
            except Exception:
                self.listener_errors += 1
                if self.listener_errors <= 10 or self.listener_errors % 1000 == 0:
                    _log.exception("a registry listener failed (%d failures so far)", self.listener_errors)

    def publish_uptime(self, times: DayTimes) -> None:
        self.publish(self.on_uptime, times)

    def publish_row(self, instance: Instance) -> None:
        if self.on_row:
            self.publish(self.on_row, instance.row())

    def publish_hold(self, before: Hold, hold: Hold, now_ms: int, *, of_fleet: bool = False) -> None:
        """Publishes the hold and, if it began, changed its scope or state, or ended, an event about that."""
        event = own_events.hold_changed(now_ms, before, hold, of_fleet=of_fleet)
        if event is not None:
            self.publish(self.on_event, event)
        self.publish(self.on_hold, hold)

    def add(self, instance: Instance) -> None:
        self.counts.join(instance)  # first, since it gives the instance the service's name that all have
        self.place(instance)
        self.numbered.join(instance)
        self.uptime.move(instance.service, State.REMOVED, instance.state)

    def restored(self, like: Instance, others: list[Instance]) -> None:
        """Counts instances that are in their places, and have the service and the terms of `like`."""
        for state, n in self.counts.join_alike(like, others):
            self.uptime.move(like.service, State.REMOVED, state, n)
        self.numbered.join_alike(others)

    def place(self, instance: Instance) -> None:
        """Makes an instance known that is counted, or will be."""
        if isinstance(instance.packed, dict):
            instance.packed = self._packed(instance.packed)
        untrack(instance)  # nothing that it refers to refers to it
        self.by_id[instance.id] = self.by_key[(instance.service, instance.instance_id)] = instance
        for table in (self.by_id, self.by_key):
            untrack(table)  # an entry made the collector visit it, with all its entries

    def join(self, instance: Instance, now_ms: int) -> None:
        self.add(instance)
        self._publish_change(instance, None, instance.state, instance.reason, Level.NORMAL, now_ms, None)
        self.publish_row(instance)

    def move(
        self,
        instance: Instance,
        new: State,
        reason: Reason,
        level: Level,
        now_ms: int,
        outage_ms: int | None = None,
        *,
        seq: int | None = None,
    ) -> None:
        """Moves an instance to a state. For the same state with another reason only the row is published. `seq`: the
        number of the change, if it has one already.

        A loss or a failure that is acknowledged is NORMAL; a state that is neither ends the acknowledgement.
        """
        old = instance.state
        instance.reason = reason
        if new is not old:
            if instance.ack is not None:
                if new in ACKABLE:
                    level = Level.NORMAL
                elif new is not State.PAUSED and not instance.held:
                    self.end_ack(instance)
            self.counts.move(instance, new)
            self.uptime.move(instance.service, old, new)
            instance.state = new
            instance.since_ms = now_ms
            instance.plain = new is State.UP and not instance.in_run
            self._publish_change(instance, old, new, reason, level, now_ms, outage_ms, seq)
        self.publish_row(instance)

    def tell_again(self, instance: Instance, reason: Reason, level: Level, now_ms: int) -> None:
        """Publishes a change from its state to the same one, so that people are notified again."""
        instance.reason = reason
        self._publish_change(instance, instance.state, instance.state, reason, level, now_ms, None)
        self.publish_row(instance)

    def end_ack(self, instance: Instance) -> None:
        """Ends its acknowledgement. The caller publishes the row."""
        if instance.ack is not None:
            instance.ack = None
            self.publish(self.on_ack, instance)

    def remove(self, instance: Instance, reason: Reason, now_ms: int) -> None:
        old = instance.state
        instance.reason = reason
        self._leave(instance)
        self._publish_change(instance, old, State.REMOVED, reason, Level.NORMAL, now_ms, None)
        self.publish(self.on_removed, instance)

    def drop(self, instance: Instance) -> None:
        """Removes an instance without a change."""
        self._leave(instance)
        self.publish(self.on_removed, instance)

    def _leave(self, instance: Instance) -> None:
        del self.by_id[instance.id], self.by_key[(instance.service, instance.instance_id)]
        self.counts.leave(instance)
        self.numbered.leave(instance)
        self.uptime.move(instance.service, instance.state, State.REMOVED)
        if instance.service not in self.counts.services:
            self.uptime.forget(instance.service)
        self.dirty.pop(instance.id, None)
        instance.state = State.REMOVED

    def set_meta(self, instance: Instance, meta: dict[str, Any]) -> None:
        instance.packed = self._packed(meta)
        app = app_name(meta, instance.service)
        if app != instance.app:
            self.counts.set_app(instance, app)

    def _packed(self, meta: dict[str, Any]) -> Packed | dict[str, Any]:
        try:
            return self._shared.pack(meta)
        except (OverflowError, TypeError, ValueError, RecursionError):  # JSON could not say the same
            return meta

    def set_peer(self, instance: Instance, peer: str) -> None:
        self.counts.rename(self.counts.clients, instance.peer, peer)
        instance.peer = peer

    def _publish_change(
        self,
        instance: Instance,
        old: State | None,
        new: State,
        reason: Reason,
        level: Level,
        now_ms: int,
        outage_ms: int | None,
        seq: int | None = None,
    ) -> None:
        if seq is None:
            seq, self.next_seq = self.next_seq, self.next_seq + 1
        self.changes += 1
        if self.on_change:
            self.publish(self.on_change, _change(instance, old, new, reason, level, now_ms, outage_ms, seq))

    @staticmethod
    def change_of(instance: Instance, new: State, reason: Reason, level: Level, now_ms: int) -> Change:
        """Returns the change that a move to this state would be, without a number."""
        return _change(instance, instance.state, new, reason, level, now_ms, None, 0)


def _change(
    instance: Instance,
    old: State | None,
    new: State,
    reason: Reason,
    level: Level,
    now_ms: int,
    outage_ms: int | None,
    seq: int,
) -> Change:
    return Change(
        seq=seq,
        time_ms=now_ms,
        id=instance.id,
        service=instance.service,
        instance_id=instance.instance_id,
        old=old,
        new=new,
        level=level,
        reason=reason,
        outage_ms=outage_ms,
        ip=instance.ip(),
    )
