# SPDX-License-Identifier: MIT
"""Events that the monitor reports about itself, among those of the agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.model import (
    ADDRESSES_TYPE,
    HOLD_TYPE,
    MONITOR_SERVICE,
    AgentEvent,
    Hold,
    HoldState,
    Level,
)
from heartfelt.monitor.reasons import Reason, described

OWN_SCOPE = "monitor"
"""The scope of these events, and of changes of state."""


def stalled(now_ms: int, stall_ms: float) -> AgentEvent:
    info = described("MONITOR_STALLED", reasons.stalled(stall_ms)) | {"stallMs": round(stall_ms)}
    return _event(now_ms, Level.IMPORTANT, MONITOR_SERVICE, "OPERATION", info)


def of_instance(now_ms: int, instance: Instance, name: str, reason: Reason) -> AgentEvent:
    """Makes the event of something that happened to an instance and changed no state."""
    info = described(name, reason) | {"id": instance.id, "state": instance.state.value}
    event = _event(now_ms, Level.NORMAL, instance.service, "OPERATION", info)
    return msgspec.structs.replace(event, instance_id=instance.instance_id, ip=instance.ip())


def hold_changed(now_ms: int, before: Hold, hold: Hold, *, of_fleet: bool = False) -> AgentEvent | None:
    """Returns None if neither state nor scope changed. A hold is an emergency, since its losses are not notified.
    of_fleet: other monitors hold for the same reason."""
    if (hold.state, hold.scope) == (before.state, before.scope):
        return None
    level = Level.IMPORTANT
    if hold.state is HoldState.NONE:
        level, name, reason = Level.NORMAL, "HOLD_ENDED", reasons.HOLD_ENDED
    elif hold.state is HoldState.RELEASING:
        name, reason = "HOLD_RELEASING", hold.reason
    else:
        level = Level.EMERGENCY
        name = "HOLD_WIDENED" if before.state is HoldState.HOLDING else "HOLD_BEGAN"
        reason = reasons.hold_began(hold)
    info = described(name, reason) | {"held": hold.held}
    if hold.until_ms is not None:
        info["untilMs"] = hold.until_ms
    if of_fleet:
        info["fleet"] = True
    scope = before.scope if hold.state is HoldState.NONE else hold.scope
    return _event(now_ms, level, scope or MONITOR_SERVICE, HOLD_TYPE, info)


def addresses(instance: Instance, now_ms: int, *, is_many: bool) -> AgentEvent:
    """`is_many`: there are more than the instance has in `addresses`."""
    reason = reasons.addresses(instance.addresses, is_many=is_many)
    return _of_instance(instance, now_ms, "ADDRESSES_ALTERNATE", reason)


def address_stopped(
    instance: Instance, now_ms: int, address: str, silent_ms: float, others: Sequence[str]
) -> AgentEvent:
    return _of_instance(instance, now_ms, "ADDRESS_STOPPED", reasons.address_stopped(address, silent_ms, others))


def _of_instance(instance: Instance, now_ms: int, name: str, reason: Reason) -> AgentEvent:
    info = described(name, reason) | {"id": instance.id}
    event = _event(now_ms, Level.IMPORTANT, instance.service, ADDRESSES_TYPE, info)
    return msgspec.structs.replace(event, instance_id=instance.instance_id, ip=instance.ip())


def _event(now_ms: int, level: Level, service: str, type_: str, info: dict[str, Any]) -> AgentEvent:
    return AgentEvent(
        time_ms=now_ms,
        received_ms=now_ms,
        service=service,
        instance_id="",
        ip="",
        scope=OWN_SCOPE,
        level=level,
        type=type_,
        info=info,
    )
