# SPDX-License-Identifier: MIT
"""The order of all instances that fit a filter, by their ids alone: for a viewer that scrolls anywhere in it, and reads
the rows that it shows by their ids. The order stays as it was told; the rows are always of now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from heartfelt.monitor.web.api.listing import SORTS, Filter, Place, in_slices

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance


class InstanceOrder(msgspec.Struct, kw_only=True, frozen=True):
    ids: list[int]
    """All that fit the filter, in order."""
    total: int
    """How many instances there are."""
    stream_id: str
    """The number of the stream's newest message when this was begun: to follow from there."""


async def order(instances: Iterable[Instance], which: Filter, *, sort: str, stream_id: str) -> InstanceOrder:
    """Sorts in runs that are merged pair by pair, so that the loop does its other work in between."""
    descending, value = sort.startswith("-"), SORTS[sort.removeprefix("-")]
    test = which.test()
    total = 0
    runs: list[list[Place]] = []
    async for some in in_slices(instances):
        total += len(some)
        fits = some if test is None else [one for one in some if test(one)]
        if fits:
            runs.append(sorted(((value(one), one.id) for one in fits), reverse=descending))
    while len(runs) > 1:
        merged = []
        for n in range(0, len(runs), 2):
            # Of two sorted runs sort() makes one in linear time.
            merged.append(sorted(runs[n] + runs[n + 1], reverse=descending) if n + 1 < len(runs) else runs[n])
            await asyncio.sleep(0)
        runs = merged
    return InstanceOrder(ids=[id_ for _, id_ in runs[0]] if runs else [], total=total, stream_id=stream_id)
