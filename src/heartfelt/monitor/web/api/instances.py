# SPDX-License-Identifier: MIT
"""Instances and services: lists, and an instance with its history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from heartfelt.monitor.model import State
from heartfelt.monitor.problems import no_such
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.listing import InstanceFilter, InstancePage, page
from heartfelt.monitor.web.api.order import InstanceOrder, order
from heartfelt.monitor.web.api.view import ChangeView, InstanceDetail, RunView, change_view, detail, run_view

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.counts import ServiceCounts
    from heartfelt.monitor.fleet.instance import Instance

HISTORY = 50


class InstanceHistory(msgspec.Struct, kw_only=True, frozen=True):
    instance: InstanceDetail
    changes: list[ChangeView]
    """The newest 50."""


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


async def list_instances(call: Call) -> InstancePage:
    return await page(
        chosen(call),
        which(call),
        sort=call["sort"],
        limit=call["limit"],
        cursor=call["cursor"],
        stream_id=call.parts.stream.last_id,
        ext=call["ext"] == "true",
    )


async def order_instances(call: Call) -> InstanceOrder:
    stream_id = call.parts.stream.last_id
    return await order(call.parts.registry.instances(), which(call), sort=call["sort"], stream_id=stream_id)


def instance_of(call: Call) -> Instance:
    id_ = call.path["id"]
    instance = call.parts.registry.get(id_) if id_ < 1 << 63 else None
    if instance is None:
        raise no_such("instance", id_, "take an `id` of GET /api/v1/instances; it may have been removed")
    return instance


async def get_instance(call: Call) -> InstanceHistory:
    instance = instance_of(call)
    changes = await call.parts.store.changes(id=instance.id, service=None, before=None, limit=HISTORY)
    return InstanceHistory(instance=detail(instance), changes=list(map(change_view, changes)))


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


async def instance_runs(call: Call) -> RunPage:
    limit = call["limit"]
    found = await call.parts.store.runs(instance_of(call).id, before=call["before"], limit=limit)
    return RunPage(runs=list(map(run_view, found)), before=found[-1].number if len(found) == limit else None)


async def list_services(call: Call) -> Services:
    registry = call.parts.registry
    return Services(
        all=counted(registry.totals()),
        applications=len(registry.applications()),
        services={name: counted(one) for name, one in registry.services().items()},
    )
