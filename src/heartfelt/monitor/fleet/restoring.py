# SPDX-License-Identifier: MIT
"""Restores many instances from the store at once.

Most instances of a fleet have the same terms, so the terms of each kind are decided once; counts and uptime are added
up first. Instances of which more must be decided (paused, gone, failed, acknowledged, jobs) are restored one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.leases import GONE
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.model import InstanceRow, State

_MOST_LOGGED = 20
_AT_ONCE = 4096  # instances, which the processor's cache still has when they are counted
_log = logging.getLogger("heartfelt.monitor")
_RECONNECTS = "sermant"
"""`via` of agents that keep a connection."""
_PLAIN = frozenset((State.NEW, State.UP, State.LATE, State.STUCK))
"""States of an instance whose timeout runs, and of which nobody was told."""


class Restorer:
    """Belongs to the loop's thread; for one call of `restore`. `since_ms`: `restored_ms` of the instances."""

    def __init__(self, life: Life, now_ms: int, since_ms: int) -> None:
        self._life = life
        self._book = life.book
        self._now_ms = now_ms
        self._since_ms = since_ms
        self._kinds: dict[tuple[Any, ...], tuple[Instance, list[Instance]]] = {}
        """An instance of each kind, whose terms were decided, and the others that have the same ones."""
        self._n_placed = 0
        """How many others there are."""
        self.dropped = 0
        """Rows that are no instances."""

    def restore(self, rows: Iterable[InstanceRow]) -> None:
        by_key = self._book.by_key
        next_id = self._book.next_id
        for row in rows:
            if row.state is not State.REMOVED and (row.service, row.instance_id) not in by_key:
                self._restore(row)
                if row.id >= next_id:
                    next_id = row.id + 1
                if self._n_placed >= _AT_ONCE:
                    self._finish()
        self._book.next_id = next_id
        self._finish()

    def _finish(self) -> None:
        """Sets the timers of those that are in their places, and counts them."""
        for like, others in self._kinds.values():
            if others:
                self._life.leases.restored(like, others)
                self._book.restored(like, others)
                others.clear()
        self._n_placed = 0

    def _restore(self, row: InstanceRow) -> None:
        try:
            instance = Instance(row)
        except (TypeError, ValueError, OverflowError) as error:
            self.dropped += 1
            if self.dropped <= _MOST_LOGGED:
                _log.error("instance %r is left out, its stored row cannot be used: %s", row.id, error)
            return
        if row.state not in _PLAIN or row.is_job or row.ack is not None or row.before_pause is not None:
            self._restore_one(instance)
            return
        kind = (
            row.service, row.interval_ms, row.timeout_ms, row.every_ms, row.grace_ms, row.period_ms,
            instance.period_unknown, row.expected_by, row.expected, row.via,
        )  # fmt: skip
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = instance, []
            self._restore_one(instance)
            return
        like, others = known
        instance.beats = 1
        instance.restored_ms = self._since_ms
        instance.service = like.service
        instance.expected = like.expected
        instance.terms, instance.lease_ms, instance.late_ms = like.terms, like.lease_ms, like.late_ms
        instance.lag_to_tell_ms = like.lag_to_tell_ms
        instance.reconnect_ms = like.reconnect_ms
        self._book.place(instance)
        others.append(instance)
        self._n_placed += 1

    def _restore_one(self, instance: Instance) -> None:
        """Sets the timers of an instance. An agent that keeps a connection waits before it connects again: it has more
        time."""
        life, now_ms = self._life, self._now_ms
        instance.beats = 1
        instance.restored_ms = self._since_ms
        life.set_terms(instance)
        state = instance.state
        if (instance.before_pause if state is State.PAUSED else state) in GONE:
            life.rest(instance)
        elif instance.via == _RECONNECTS:
            instance.reconnect_ms = life.hold.policy.reconnect_ms + (instance.interval_ms or 0)
            life.timers.set(life.timers.lease, instance.id, instance.terms.look_ms + instance.reconnect_ms)
        if state is State.PAUSED:
            if instance.paused_until_ms is not None:
                life.forget_in(instance, max(instance.paused_until_ms - now_ms, 1))
        else:
            if state is State.LEFT or (state is State.LOST and not instance.expected):
                most_ms = life.policy.cached_ms(instance.service)
                left_ms = most_ms - (now_ms - instance.last_beat_ms)
                life.forget_in(instance, min(max(left_ms, instance.lease_ms, 1), most_ms))
            if instance.ack is not None:
                life.acks.watch(instance)
        self._book.add(instance)
