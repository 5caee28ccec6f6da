# SPDX-License-Identifier: MIT
"""Puts the changes of all shards in one order, the same in each monitor: that of their seqs.

What webhooks make of changes depends on the order and the times of these. So a change is released when every shard has
been read beyond its moment, after which no earlier one can come, and with the time of its seq in place of its owner's.
A shard that cannot be read holds the others up for PATIENCE_MS. What comes from it after that is late: its seq is below
that of a change that was released before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS

__all__ = ["PATIENCE_MS", "InOrder", "at_its_moment", "first_seq", "moment_ms"]

PATIENCE_MS = 10_000


def moment_ms(seq: int) -> int:
    """Returns when a change was accepted, by the clock of its shard's primary."""
    return SEQ_EPOCH_MS + seq // MOST_SHARDS // SEQ_PER_MS


def first_seq(ms: int) -> int:
    """Returns the lowest seq that a change of this time or later has."""
    return (ms - SEQ_EPOCH_MS) * SEQ_PER_MS * MOST_SHARDS


def at_its_moment(change: Change) -> Change:
    """Returns the change with the time of its seq."""
    return msgspec.structs.replace(change, time_ms=moment_ms(change.seq))


class InOrder:
    """Belongs to one thread. Keeps what was read and is not released yet: at most what comes in PATIENCE_MS.

    heard_ms: until when all changes were released; the webhooks' dampers are never ahead of it. cursors: the seq of the
    last change of each shard that was released; 0: none. Both are stored with the position of the webhooks, so that the
    next leader knows which changes of a shard were late and not released.
    """

    def __init__(
        self, shards: int, cursors: dict[int, int] | None = None, heard_ms: int = 0, *, patience_ms: int = PATIENCE_MS
    ) -> None:
        self.cursors = dict.fromkeys(range(shards), 0) | (cursors or {})
        self.heard_ms = heard_ms
        self._read_ms = dict.fromkeys(range(shards), 0)
        self._patience_ms = patience_ms
        self._waiting: list[tuple[int, Change]] = []

    def read(
        self, shard: int, changes: Iterable[Change], until_ms: int, *, more: bool = False, last_seq: int = 0
    ) -> None:
        """Takes the changes of a shard that came after those that were taken before. until_ms: a time of its primary
        before the read; more: there are further ones already, so that only those up to `last_seq` are known."""
        last = last_seq
        for change in changes:
            last = max(last, change.seq)
            heapq.heappush(self._waiting, (change.seq, at_its_moment(change)))
        # One that is accepted in the same ms may come later.
        known_ms = min(until_ms, moment_ms(last)) if more else until_ms
        self._read_ms[shard] = max(self._read_ms[shard], known_ms - 1)

    @property
    def read_ms(self) -> int:
        """Until when every shard has been read."""
        return min(self._read_ms.values())

    def release(self) -> list[Change]:
        """Returns changes whose turn it is. O(log waiting) for each."""
        times = self._read_ms.values()
        self.heard_ms = max(self.heard_ms, min(times), max(times) - self._patience_ms)
        released = []
        while self._waiting and moment_ms(self._waiting[0][0]) <= self.heard_ms:
            seq, change = heapq.heappop(self._waiting)
            self.cursors[seq % MOST_SHARDS] = seq
            released.append(change)
        return released
