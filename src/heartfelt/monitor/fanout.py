# SPDX-License-Identifier: MIT
"""Passes on what happens in the registry: to the store, the stream and the webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.own_events import OWN_SCOPE
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, State
from heartfelt.monitor.reasons import described
from heartfelt.monitor.store import Store
from heartfelt.monitor.web.api.view import change_view, hold_view

COUNTS_S = 0.25


def event_of(change: Change) -> AgentEvent:
    """Makes the event that records a change of state."""
    info = described(f"INSTANCE_{change.new.value}", change.reason)
    info |= {"old": None if change.old is None else change.old.value, "new": change.new.value}
    info |= {"seq": change.seq, "id": change.id}
    if change.outage_ms is not None:
        info["outageMs"] = change.outage_ms
    return AgentEvent(
        time_ms=change.time_ms,
        received_ms=change.time_ms,
        service=change.service,
        instance_id=change.instance_id,
        ip=change.ip,
        scope=OWN_SCOPE,
        level=change.level,
        type="STATE",
        info=info,
    )


class Publisher(Protocol):
    """The stream, or what passes it on to other monitors' viewers, too."""

    def publish(self, topic: str, value: Any) -> None: ...


class ChangeSink(Protocol):
    """The webhooks, or the way to the monitor that runs them."""

    def offer(self, change: Change) -> None: ...
    def offer_event(self, event: AgentEvent) -> None: ...


class Fanout:
    """Listens to the registry from `connect` on. No method waits or does I/O: the store and the webhooks queue.

    observe_late_ms: called for each loss that is found when its timeout ends, with how late it was found. accepts: the
    store says which changes it has accepted, by `accepted`, and only those are published; otherwise all are, at once.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: Store,
        stream: Publisher,
        webhooks: ChangeSink,
        observe_late_ms: Callable[[int], None],
        accepts: bool = False,
    ) -> None:
        self._registry = registry
        self._store = store
        self._stream = stream
        self._webhooks = webhooks
        self._observe_late_ms = observe_late_ms
        self._accepts = accepts
        self._dirty: set[str] = set()
        self._held: list[int] = []
        self._acked: dict[int, Instance] = {}
        self._timer: asyncio.TimerHandle | None = None

    def connect(self) -> None:
        registry = self._registry
        registry.on_change.append(self.change)
        registry.on_detected.append(self.detected)
        registry.on_hold.append(self.hold)
        registry.on_held.append(self.held)
        registry.on_ack.append(self.acked)
        registry.on_row.append(self.row)
        registry.on_event.append(self.event)
        registry.on_run.append(self._store.put_run)
        registry.on_uptime.append(self._store.put_uptime)

    def change(self, change: Change) -> None:
        self._store.put_change(change)
        if change.new is State.REMOVED:
            self._store.remove_instance(change.id)
        if not self._accepts:
            self.accepted((change,))
        self._count(change.service)

    def accepted(self, changes: Sequence[Change]) -> None:
        """Publishes changes that count."""
        for change in changes:
            self._store.put_event(event_of(change))
            self._stream.publish("change", change_view(change))
            self._webhooks.offer(change)

    def detected(self, instance: Instance) -> None:
        """Measures how late the loss was found. A restored instance is left out: its deadline is not known."""
        if instance.restored_ms is None:
            self._observe_late_ms(max(0, instance.since_ms - instance.last_beat_ms - instance.lease_ms))

    def row(self, row: InstanceRow) -> None:
        self._store.put_instance(row)

    def hold(self, hold: Hold) -> None:
        self._store.put_hold(hold)
        self._stream.publish("hold", hold_view(hold))

    def held(self, instance: Instance) -> None:
        """Publishes an instance whose loss is held. It usually was LATE before and stays so: there is no change."""
        self._held.append(instance.id)
        self._count(instance.service)

    def acked(self, instance: Instance) -> None:
        """Publishes an instance that is acknowledged from now on, or no longer. It usually stays in its state."""
        self._acked[instance.id] = instance
        self._wake()

    def event(self, event: AgentEvent) -> None:
        self.record(event)
        self._webhooks.offer_event(event)

    def record(self, event: AgentEvent) -> None:
        """Passes on an event that the webhooks report about themselves, which is sent to no target."""
        self._store.put_event(event)
        self._stream.publish("event", event)

    def _count(self, service: str) -> None:
        self._dirty.add(service)
        self._wake()

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COUNTS_S, self._publish_gathered)

    def _publish_gathered(self) -> None:
        self._timer = None
        self._publish_counts()
        held, self._held = self._held, []
        still = [id for id in held if (one := self._registry.get(id)) is not None and one.held]
        if still:
            self._stream.publish("held", still)
        acked, self._acked = self._acked, {}
        if acked:
            self._stream.publish("acks", [{"id": id, "ack": one.ack} for id, one in acked.items()])

    def _publish_counts(self) -> None:
        dirty, self._dirty = self._dirty, set()
        if not dirty:
            return
        registry = self._registry
        known = registry.services()
        services = {name: known.get(name) for name in dirty}
        self._stream.publish(
            "counts",
            {
                "all": _plain(registry.totals()),
                "applications": len(registry.applications()),
                "services": {name: None if one is None else _plain(one) for name, one in services.items()},
            },
        )

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _plain(counts: ServiceCounts) -> dict[str, Any]:
    return {"total": counts.total, "up": counts.up, "held": counts.held, "states": counts.states}
