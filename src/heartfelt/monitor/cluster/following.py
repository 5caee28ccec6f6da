# SPDX-License-Identifier: MIT
"""Follows the changes that Redis has accepted from all monitors, shard by shard, in the order of each shard.

One read asks every shard for what came after the last change that was read there, at most MOST of each. So nothing is
missed and nothing comes twice, whoever wrote it, as long as the streams keep what was not read yet. in_order.py puts
the shards together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.redis.history import stream_key
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Command, Link
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_change
from heartfelt.monitor.store.redis.values import checked, seq_of, stream_id

MOST = 1000
_logger = logging.getLogger("heartfelt.monitor.cluster")


class ShardRead(NamedTuple):
    """Changes that were read of a shard."""

    shard: int
    changes: list[Change]
    """In the order of their seqs."""
    last_seq: int
    """The seq of the last entry, also if that cannot be read; of the one before these, if there is none."""
    until_ms: int
    """All that it accepted before this time is among them, by the clock of its primary, unless there is `more`."""
    more: bool


class Follower:
    """seen: the seq of the last change that was seen, by shard. `read` blocks and changes nothing, so that a read that
    takes too long may be left; `took` says that what it returned was seen."""

    def __init__(self, link: Link, keys: Keys, seen: Mapping[int, int]) -> None:
        self._link = link
        self._keys = keys
        self._seen = dict(seen)
        self.unreadable = 0

    def read(self) -> list[ShardRead]:
        """Leaves shards out that cannot be read. Raises StoreError if none can."""
        shards = range(self._keys.shards)
        commands: list[Command] = []
        for shard in shards:
            first = f"({stream_id(self._seen[shard])}"
            commands.append(Command(shard, ("TIME",)))
            commands.append(Command(shard, ("XRANGE", stream_key(self._keys, shard), first, "+", "COUNT", MOST)))
        replies = self._link.execute(commands)
        found = []
        for shard, time, entries in zip(shards, replies[::2], replies[1::2], strict=True):
            if isinstance(time, Exception) or isinstance(entries, Exception):
                continue
            last_seq, changes = self._seen[shard], []
            for entry_id, fields in entries:
                last_seq = seq_of(entry_id, shard)
                if (change := self._change(last_seq, fields)) is not None:
                    changes.append(change)
            found.append(ShardRead(shard, changes, last_seq, _ms(time), len(entries) == MOST))
        if not found:
            checked(replies)
        return found

    def took(self, found: list[ShardRead]) -> None:
        for one in found:
            self._seen[one.shard] = one.last_seq

    def _change(self, seq: int, fields: list[bytes]) -> Change | None:
        try:
            return unpack_change(seq, fields[1])
        except Unreadable as error:
            self.unreadable += 1
            _logger.error("the change %d cannot be read, and webhooks do not get it: %s", seq, error)
            return None


def accepted_until_ms(link: Link, keys: Keys) -> int:
    """Returns a time until when all changes of all shards have been accepted. Blocks. Raises StoreError."""
    times = checked(link.execute(Command(shard, ("TIME",)) for shard in range(keys.shards)))
    return min(map(_ms, times)) - 1


def _ms(time: list[bytes]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000
