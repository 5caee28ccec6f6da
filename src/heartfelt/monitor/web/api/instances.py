# SPDX-License-Identifier: MIT
"""Instances and services: lists, and an instance with its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.model import State
from heartfelt.monitor.problems import Problem, no_such
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.federated import Federated, first
from heartfelt.monitor.web.api.listing import FoundInstances, InstanceFilter, InstancePage, as_page, find
from heartfelt.monitor.web.api.order import InstanceOrder, Places, as_order, places
from heartfelt.monitor.web.api.view import ChangeView, InstanceDetail, RunView, change_view, detail, run_view

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.counts import ServiceCounts
    from heartfelt.monitor.fleet.instance import Instance

HISTORY = 50


class InstanceHistory(msgspec.Struct, kw_only=True, frozen=True):
    instance: InstanceDetail
    changes: list[ChangeView] | None
    """The newest 50; null: the store cannot be read now, while Redis does not answer or the disk fails."""


class Changes(msgspec.Struct, kw_only=True, frozen=True):
    changes: list[ChangeView]
    """Newest first."""
    before: int | None
    """For the next page; null: this is the last one."""


class RunPage(msgspec.Struct, kw_only=True, frozen=True):
    runs: list[RunView]
    """Newest first. The newest 100 of an instance are kept."""
    before: int | None
    """For the next page; null: this is the last one."""


class Counted(msgspec.Struct, kw_only=True, frozen=True):
    """Number of instances, by state. One whose loss is held counts as LOST."""

    total: int
    up: int
    """All except LOST, FAILED, STUCK, LEFT and PAUSED."""
    held: int
    """How many of the LOST ones have a loss that is held, so that nobody was notified."""
    states: dict[State, int]


class Services(msgspec.Struct, kw_only=True, frozen=True):
    all: Counted
    applications: int
    services: dict[str, Counted]


def counted(counts: ServiceCounts) -> Counted:
    return Counted(total=counts.total, up=counts.up, held=counts.held, states=dict(counts.states))


def which(call: Call) -> InstanceFilter:
    return InstanceFilter(
        services=call["service"],
        instance_ids=call["instance"],
        states=call["state"],
        versions=call["version"],
        ips=call["ip"],
        plugins=call["plugin"],
        apps=call["app"],
        held=call["held"] == "true",
        or_held=call["held"] == "also",
        text=call["text"],
    )


def chosen(call: Call) -> Iterable[Instance]:
    """Returns the instances with the wanted ids; all of them if none are given."""
    registry = call.parts.registry
    ids = dict.fromkeys(call["id"])
    return [one for one in map(registry.get, ids) if one is not None] if ids else registry.instances()


async def _find(call: Call) -> FoundInstances:
    return await find(
        chosen(call),
        which(call),
        sort=call["sort"],
        limit=call["limit"],
        cursor=call["cursor"],
        ext=call["ext"] == "true",
    )


async def _page(call: Call, parts: Sequence[FoundInstances]) -> InstancePage:
    return as_page(parts, sort=call["sort"], limit=call["limit"], stream_id=call.stream_id)


async def _places(call: Call) -> Places:
    return await places(call.parts.registry.instances(), which(call), sort=call["sort"])


async def _order(call: Call, parts: Sequence[Places]) -> InstanceOrder:
    return await as_order(parts, sort=call["sort"], stream_id=call.stream_id)


def instance_here(call: Call) -> Instance | None:
    """Returns the instance that the path names, if this monitor has it."""
    id_ = call.path["id"]
    return call.parts.registry.get(id_) if id_ < 1 << 63 else None


def no_such_instance(call: Call) -> Problem:
    return no_such("instance", call.path["id"], "take an `id` of GET /api/v1/instances; it may have been removed")


def known(call: Call, parts: Sequence[Any]) -> Any:
    """Returns the part of the monitor that has the instance. Raises Problem if none has it, or may have it."""
    found = first(parts)
    if found is None and call.missing:
        names = ", ".join(call.missing)
        text = f"no monitor that has answered has the instance {call.path['id']}; {names} did not answer; try again"
        raise Problem(503, "monitors_missing", text, {"Retry-After": "5"})
    if found is None:
        raise no_such_instance(call)
    return found


async def _detail(call: Call) -> InstanceDetail | None:
    instance = instance_here(call)
    return None if instance is None else detail(instance)


async def _history(call: Call, parts: Sequence[InstanceDetail | None]) -> InstanceHistory:
    instance = known(call, parts)
    try:
        found = await call.parts.store.changes(id=instance.id, service=None, before=None, limit=HISTORY)
    except StoreError:
        return InstanceHistory(instance=instance, changes=None)
    return InstanceHistory(instance=instance, changes=list(map(change_view, found)))


async def instance_changes(call: Call) -> Changes:
    """Works for a removed instance, too."""
    return await _changes(call, call.path["id"], None)


async def list_changes(call: Call) -> Changes:
    return await _changes(call, None, call["service"])


async def _changes(call: Call, id: int | None, service: str | None) -> Changes:
    if id is not None and id >= 1 << 63:
        raise no_such("instance", id, "take an `id` of GET /api/v1/instances")
    limit = call["limit"]
    found = await call.parts.store.changes(id=id, service=service, before=call["before"], limit=limit)
    return Changes(changes=list(map(change_view, found)), before=found[-1].seq if len(found) == limit else None)


async def _is_known(call: Call) -> bool | None:
    return True if instance_here(call) is not None else None


async def _runs(call: Call, parts: Sequence[bool | None]) -> RunPage:
    known(call, parts)
    limit = call["limit"]
    found = await call.parts.store.runs(call.path["id"], before=call["before"], limit=limit)
    return RunPage(runs=list(map(run_view, found)), before=found[-1].number if len(found) == limit else None)


class CountedServices(msgspec.Struct, array_like=True):
    """One monitor's part of the counts. applications: their names, since the same one may be known to many."""

    all: Counted
    applications: list[str]
    services: dict[str, Counted]


async def _counts(call: Call) -> CountedServices:
    registry = call.parts.registry
    services = {name: counted(one) for name, one in registry.services().items()}
    return CountedServices(counted(registry.totals()), list(registry.applications()), services)


async def _services(call: Call, parts: Sequence[CountedServices]) -> Services:
    """O(services of all parts)."""
    if len(parts) == 1:
        return Services(all=parts[0].all, applications=len(parts[0].applications), services=parts[0].services)
    by_name: dict[str, list[Counted]] = {}
    for part in parts:
        for name, one in part.services.items():
            by_name.setdefault(name, []).append(one)
    return Services(
        all=summed([part.all for part in parts]),
        applications=len({name for part in parts for name in part.applications}),
        services={name: summed(some) for name, some in by_name.items()},
    )


def summed(parts: Sequence[Counted]) -> Counted:
    states: Counter[State] = Counter()
    for part in parts:
        states.update(part.states)
    return Counted(
        total=sum(part.total for part in parts),
        up=sum(part.up for part in parts),
        held=sum(part.held for part in parts),
        states=dict(states),
    )


LIST = Federated(_find, FoundInstances, _page)
ORDER = Federated(_places, Places, _order)
DETAIL = Federated(_detail, InstanceDetail | None, _history)
RUNS = Federated(_is_known, bool | None, _runs)
SERVICES = Federated(_counts, CountedServices, _services)
