# SPDX-License-Identifier: MIT
"""What this monitor owns in Redis: pages of deadlines, entries, rows. monitor/cluster/README.md has the design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from heartfelt.monitor.model import Change, InstanceRow
from heartfelt.monitor.store.redis.keys import Entry


class Owned(NamedTuple):
    """The name belongs to another monitor."""

    entry: Entry
    owner: str
    """Its monitor id."""
    lives: bool
    """It has a lease."""


class Adopted(NamedTuple):
    """An instance that came from another monitor, by MOVE or ADOPT."""

    entry: Entry
    row: InstanceRow
    deadline_ms: int
    """By the primary's clock; 0: no timeout runs."""


class Write(NamedTuple):
    """One CHANGE: everything that happened to an instance since its last one."""

    name: bytes
    entry: Entry
    row: InstanceRow | None
    """None: it was removed."""
    changes: Sequence[Change]
    """Their `seq` is not set yet."""
    loss_deadline_ms: int | None = None
    """For a loss: the deadline that must be in the slot, and have passed."""


class Accepted(NamedTuple):
    seqs: Sequence[int]


class Refused(NamedTuple):
    """It belongs to another monitor, or, `early`: its deadline is not what was said, or has not passed."""

    early: bool = False


class Renewal(NamedTuple):
    moved: Sequence[tuple[bytes, Entry]]
    """Instances that were moved to other monitors since the last call."""
    gone: Sequence[int]
    """Shards in which the lease had ended: which pages are still there has been read again."""
    dropped: Sequence[tuple[bytes, Entry]]
    """Instances in pages that others have adopted."""


class Leases:
    """Belongs to the writer's thread, but for `set_deadline`. Every method blocks. A method raises Unreachable only if
    no shard could be reached; otherwise the items of a shard that could not are `Unreachable` in the answer.

        start() -> list[Adopted]                   registers, and adopts what dead monitors owned
        renew() -> Renewal                         four times in cluster.lease
        reserve(names) -> list[Entry | Owned | Unreachable]      Entry: it is ours now, and has no row yet
        move([(name, owned, consent)]) -> list[Adopted | Refused | Unreachable]
        change([Write]) -> list[Accepted | Refused | Unreachable]
        set_deadline(entry, ms)                    O(1), any thread: into the page's buffer, which is dirty then
        flush() -> list[tuple[bytes, Entry]]       writes dirty pages; returns the instances of pages that are gone
        orphans() -> list[Orphan]                  pages of monitors without a lease that are ours to adopt
        adopt(orphans) -> list[Adopted]
        stop()                                     gives up its leases at once, so that others adopt
    """
