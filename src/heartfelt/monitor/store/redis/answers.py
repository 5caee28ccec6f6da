# SPDX-License-Identifier: MIT
"""Questions to `Leases`, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from heartfelt.monitor.model import Change, InstanceRow
from heartfelt.monitor.store.redis.keys import Entry


class Owned(NamedTuple):
    """The name belongs to another monitor; or to this one, which does not know it because an answer got lost: `lives`
    is False then, and MOVE returns it."""

    entry: Entry
    owner: str
    """Its monitor id."""
    lives: bool
    """It has a lease."""
    fence: int = 0
    """That of the page when the entry was read."""


class Adopted(NamedTuple):
    """An instance that came from another monitor, by MOVE or ADOPT. If the caller has one of this name, it is what was
    there before it was moved away: this one takes its place."""

    entry: Entry
    row: InstanceRow
    deadline_ms: int
    """By the primary's clock; 0: no timeout runs, or the page was lost."""
    is_kept: bool = False
    """It was this monitor's before, and nobody else's since."""


class Write(NamedTuple):
    """One CHANGE: everything that happened to an instance since its last one."""

    name: bytes
    entry: Entry
    row: InstanceRow | None
    """None: it was removed."""
    changes: Sequence[Change]
    """Their `seq` is not set yet."""
    loss_deadline_ms: int | None = None
    """For a loss: the deadline that must have been set last, and have passed by the primary's clock."""
    token: int = 0
    """The caller's number of this write. A write that was answered by Unreachable, and not `refused`, must be repeated
    with its number and contents before anything newer of the instance: then it is done once."""


class Accepted(NamedTuple):
    seqs: Sequence[int]


class Refused(NamedTuple):
    """It belongs to another monitor, or, `early`: its deadline is not what was said, or has not passed."""

    early: bool = False


class Renewal(NamedTuple):
    """Instances that went away since the last call. Their ids say which are meant: a name may have come back."""

    moved: Sequence[tuple[bytes, Entry]] = ()
    """Instances that were moved to other monitors since the last call."""
    gone: Sequence[int] = ()
    """Shards in which the lease had ended: which pages are still there has been read again."""
    dropped: Sequence[tuple[bytes, Entry]] = ()
    """Instances in pages that others have adopted."""
    unreachable: Sequence[int] = ()
    """Shards that could not be reached, or that refuse to write."""
    asked_s: float = 0.0
    """When the leases were asked to last again, by the monotonic clock."""
    emptied: int = 0
    """Instances that Redis was found to have lost: they are to be restored."""
    renewed: Sequence[int] = ()
    """Shards in which the lease was renewed."""


class Orphan(NamedTuple):
    """A page whose owner has no lease; or one of this monitor, of which it does not know because an answer got lost."""

    shard: int
    page: int
    mark: str
    """`monitor id:fence`, as in `own`."""


class LeaseCounts(msgspec.Struct):
    """Counts what went wrong since the start."""

    unreadable: int = 0
    """Rows that could not be read, and were left out."""
    lost_pages: int = 0
    """Adopted pages whose deadlines were gone."""
    doubts: int = 0
    """Commands of which it was not known for a time whether they had been executed."""
    ended: int = 0
    """Leases that had ended when they were renewed, by shards."""
    dropped: int = 0
    """Instances whose pages others had adopted."""
    dropped_pages: int = 0
    """Pages that this monitor does not hold any more."""
    emptied: int = 0
    """Instances that Redis has lost, since it was emptied or a replica without the last writes took over."""
    restored: int = 0
    """Such instances that were written again."""
    swept: int = 0
    """Entries that monitors had reserved and died before they wrote a row."""
