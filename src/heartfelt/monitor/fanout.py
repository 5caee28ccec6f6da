# SPDX-License-Identifier: MIT
"""Who is told of what happens in the registry: the store, the stream, the webhooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from heartfelt.monitor.fleet.own_events import described
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, State
from heartfelt.monitor.web.api.view import change_view, hold_view

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance
    from heartfelt.monitor.monitor import Monitor

COUNTS_S = 0.25
STATE_SCOPE = "monitor"


def event_of(change: Change) -> AgentEvent:
    """A change of state, as it stands among the events."""
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
        scope=STATE_SCOPE,
        level=change.level,
        type="STATE",
        info=info,
    )


class Telling:
    """Listens to the registry. Nothing here waits, and nothing is asked of the disk or the network."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._dirty: set[str] = set()
        self._held: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def connect(self) -> None:
        registry = self._monitor.registry
        registry.on_change.append(self.change)
        registry.on_detected.append(self.detected)
        registry.on_hold.append(self.hold)
        registry.on_held.append(self.held)
        registry.on_row.append(self.row)
        registry.on_event.append(self.event)

    def change(self, change: Change) -> None:
        monitor = self._monitor
        monitor.store.put_change(change)
        if change.new is State.REMOVED:
            monitor.store.remove_instance(change.id)
        monitor.store.put_event(event_of(change))
        monitor.stream.publish("change", change_view(change))
        monitor.webhooks.offer(change)
        self._count(change.service)

    def detected(self, instance: Instance) -> None:
        """How late its loss was found. One from before the monitor's start has no deadline to compare with."""
        if instance.restored_ms is None:
            late_ms = max(0, instance.since_ms - instance.last_beat_ms - instance.lease_ms)
            self._monitor.metrics.lateness.observe(late_ms / 1000)
            self._monitor.lateness.observe(late_ms)

    def row(self, row: InstanceRow) -> None:
        self._monitor.store.put_instance(row)

    def hold(self, hold: Hold) -> None:
        self._monitor.store.put_hold(hold)
        self._monitor.stream.publish("hold", hold_view(hold))

    def held(self, instance: Instance) -> None:
        """Mostly it was LATE before, and still is: no change of state tells of it."""
        self._held.append(instance.id)
        self._count(instance.service)

    def event(self, event: AgentEvent) -> None:
        self._monitor.store.put_event(event)
        self._monitor.stream.publish("event", event)
        self._monitor.webhooks.offer_event(event)

    def _count(self, service: str) -> None:
        self._dirty.add(service)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COUNTS_S, self._publish_counts)

    def _publish_counts(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, set()
        registry = self._monitor.registry
        known = registry.services()
        services = {name: known.get(name) for name in dirty}
        self._monitor.stream.publish(
            "counts",
            {
                "all": _plain(registry.totals()),
                "applications": len(registry.applications()),
                "services": {name: None if one is None else _plain(one) for name, one in services.items()},
            },
        )
        held, self._held = self._held, []
        still = [id for id in held if (one := registry.get(id)) is not None and one.held]
        if still:
            self._monitor.stream.publish("held", still)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _plain(counts: Any) -> dict[str, Any]:
    return {"total": counts.total, "up": counts.up, "held": counts.held, "states": counts.states}
