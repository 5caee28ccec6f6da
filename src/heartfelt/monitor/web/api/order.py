# SPDX-License-Identifier: MIT
"""The sorted ids of all instances that match a filter: for a viewer that scrolls anywhere in the list, and fetches the
rows it shows by their ids. The order stays as it was when it was asked for; the rows are current.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from heartfelt.monitor.web.api.listing import SORTS, InstanceFilter, Place, in_slices

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance


class InstanceOrder(msgspec.Struct, kw_only=True, frozen=True):
    ids: list[int]
    """Ids of the instances that match the filter, sorted."""
    total: int
    """Number of all instances."""
    stream_id: str
    """The newest message of the stream when this answer was begun: follow the stream from there."""


class Places(msgspec.Struct, array_like=True, gc=False):
    """One monitor's part of an order."""

    places: list[tuple[str | int, int]]
    total: int


async def places(instances: Iterable[Instance], which: InstanceFilter, *, sort: str) -> Places:
    """Sorts in runs and merges them pair by pair, so that the event loop does other work in between."""
    descending, value = sort.startswith("-"), SORTS[sort.removeprefix("-")]
    test = which.test()
    total = 0
    runs: list[list[Place]] = []
    async for some in in_slices(instances):
        total += len(some)
        fits = some if test is None else [one for one in some if test(one)]
        if fits:
            runs.append(sorted(((value(one), one.id) for one in fits), reverse=descending))
    return Places(await _merged(runs, descending), total)


async def as_order(parts: Sequence[Places], *, sort: str, stream_id: str) -> InstanceOrder:
    merged = await _merged([part.places for part in parts], sort.startswith("-"))
    return InstanceOrder(ids=[id_ for _, id_ in merged], total=sum(part.total for part in parts), stream_id=stream_id)


async def _merged(runs: list[list[Place]], descending: bool) -> list[Place]:
    while len(runs) > 1:
        merged = []
        for n in range(0, len(runs), 2):
            # sorted() merges two sorted runs in linear time.
            merged.append(sorted(runs[n] + runs[n + 1], reverse=descending) if n + 1 < len(runs) else runs[n])
            await asyncio.sleep(0)
        runs = merged
    return runs[0] if runs else []


async def order(instances: Iterable[Instance], which: InstanceFilter, *, sort: str, stream_id: str) -> InstanceOrder:
    return await as_order([await places(instances, which, sort=sort)], sort=sort, stream_id=stream_id)
