# SPDX-License-Identifier: MIT
"""Actions of administrators: pause, resume, remove or acknowledge one instance, or all that match a filter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from heartfelt.monitor.model import State
from heartfelt.monitor.problems import Problem, bad, no_such
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.federated import Federated
from heartfelt.monitor.web.api.instances import chosen, instance_here, known, which
from heartfelt.monitor.web.api.listing import in_slices
from heartfelt.monitor.web.api.view import InstanceDetail, detail

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance

LONGEST_S = 366 * 86400
FEW = 10
"""Instances that are changed before the event loop does other work: as much work as a slice of a list."""
_Seconds = Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": LONGEST_S})]
Act: TypeAlias = "Callable[[Instance], bool]"


class Asked(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    by: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """The person or program that asks for it, for the record."""
    why: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    """The reason, for the record."""


class Pause(Asked, kw_only=True, frozen=True):
    for_s: _Seconds | None = None
    """Seconds; null: until it is resumed."""


class Acknowledge(Asked, kw_only=True, frozen=True):
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "api"
    """The person or program that knows of it."""
    for_s: _Seconds | None = None
    """Seconds, after which people are notified again if it is still down; null: until it recovers."""
    until_ms: int | None = None
    """The same as a moment, in ms since the epoch, instead of `for_s`."""


class Acted(msgspec.Struct, kw_only=True, frozen=True):
    matched: int
    """Number of instances that match the filter."""
    changed: int
    """Number of those that the action changed: a resume changes only PAUSED ones, an acknowledgement only LOST and
    FAILED ones."""


# -- the actions, each made from its body


async def _pause(call: Call) -> Act:
    wanted = await call.body(Pause)
    until_ms = _end_ms(call, wanted.for_s)
    return lambda one: call.parts.registry.pause(one.id, until_ms, by=wanted.by, why=wanted.why)


async def _resume(call: Call) -> Act:
    wanted = await call.body(Asked)
    return lambda one: call.parts.registry.resume(one.id, by=wanted.by, why=wanted.why)


async def _remove(call: Call) -> Act:
    wanted = await call.body(Asked)
    return lambda one: call.parts.registry.remove(one.id, wanted.why, by=wanted.by)


async def _ack(call: Call) -> Act:
    wanted = await call.body(Acknowledge)
    until_ms = _end_ms(call, wanted.for_s)
    if wanted.until_ms is not None:
        if until_ms is not None:
            raise bad("until_ms", wanted.until_ms, "cannot be given together with for_s; leave one of them out")
        now_ms = call.parts.wall_ms()
        if not now_ms < wanted.until_ms <= now_ms + LONGEST_S * 1000:
            remedy = f"must be a moment in the future, in ms since the epoch, within {LONGEST_S} seconds"
            raise bad("until_ms", wanted.until_ms, remedy)
        until_ms = wanted.until_ms
    return lambda one: call.parts.registry.ack(one.id, by=wanted.by, why=wanted.why, until_ms=until_ms)


def _end_ms(call: Call, for_s: float | None) -> int | None:
    if for_s is None:
        return None
    if not 0 < for_s <= LONGEST_S:
        raise bad("for_s", for_s, f"must be more than 0 and at most {LONGEST_S} seconds")
    return call.parts.wall_ms() + int(for_s * 1000)


# -- on one instance


async def _paused(call: Call) -> InstanceDetail | None:
    return await _on_one(call, _pause)


async def _resumed(call: Call) -> InstanceDetail | None:
    return await _on_one(call, _resume)


async def _on_one(call: Call, make: Callable[[Call], Awaitable[Act]]) -> InstanceDetail | None:
    act, instance = await make(call), instance_here(call)
    if instance is None:
        return None
    act(instance)
    return detail(instance)


async def _removed(call: Call) -> bool | None:
    instance = instance_here(call)
    return None if instance is None else call.parts.registry.remove(instance.id, call["reason"] or "", by=call["by"])


async def _acked(call: Call) -> InstanceDetail | None:
    act, instance = await _ack(call), instance_here(call)
    if instance is None:
        return None
    if not act(instance):
        remedy = "resume it first" if instance.state is State.PAUSED else "only LOST and FAILED ones can be"
        text = f"instance {instance.id} is {instance.state.value} and cannot be acknowledged; {remedy}"
        raise Problem(409, "not_down", text)
    return detail(instance)


async def _withdrawn(call: Call) -> bool | None:
    instance = instance_here(call)
    if instance is None:
        return None
    if not call.parts.registry.withdraw_ack(instance.id, by=call["by"], why=call["why"]):
        raise no_such("acknowledgement of instance", instance.id, "it has ended, or there was none")
    return True


async def _one(call: Call, parts: Sequence[InstanceDetail | None]) -> InstanceDetail:
    found: InstanceDetail = known(call, parts)
    return found


async def _done(call: Call, parts: Sequence[bool | None]) -> None:
    known(call, parts)


PAUSE = Federated(_paused, InstanceDetail | None, _one)
RESUME = Federated(_resumed, InstanceDetail | None, _one)
ACK = Federated(_acked, InstanceDetail | None, _one)
WITHDRAW_ACK = Federated(_withdrawn, bool | None, _done)
REMOVE = Federated(_removed, bool | None, _done)


# -- on all that match


async def _pause_all(call: Call) -> Acted:
    return await _act(call, _pause)


async def _resume_all(call: Call) -> Acted:
    return await _act(call, _resume)


async def _remove_all(call: Call) -> Acted:
    return await _act(call, _remove)


async def _ack_all(call: Call) -> Acted:
    return await _act(call, _ack)


async def _act(call: Call, make: Callable[[Call], Awaitable[Act]]) -> Acted:
    test = which(call).test()
    if test is None and not call["id"] and call["all"] != "true":
        text = "this would be done to every instance: give at least one filter, such as service or state, or all=true"
        raise Problem(400, "no_filter", text, field="all")
    act = await make(call)
    registry = call.parts.registry
    matched = changed = 0
    async for some in in_slices(chosen(call)):
        for one in some:
            # Tested at the last moment: it may have beaten, or be gone, since the slice was taken.
            if registry.get(one.id) is one and (test is None or test(one)):
                matched += 1
                changed += act(one)
                if matched % FEW == 0:
                    await asyncio.sleep(0)
    return Acted(matched=matched, changed=changed)


async def _summed(call: Call, parts: Sequence[Acted]) -> Acted:
    return Acted(matched=sum(part.matched for part in parts), changed=sum(part.changed for part in parts))


PAUSE_ALL = Federated(_pause_all, Acted, _summed, on_all=True)
RESUME_ALL = Federated(_resume_all, Acted, _summed, on_all=True)
ACK_ALL = Federated(_ack_all, Acted, _summed, on_all=True)
REMOVE_ALL = Federated(_remove_all, Acted, _summed, on_all=True)
