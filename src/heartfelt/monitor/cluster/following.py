# SPDX-License-Identifier: MIT
"""Follows the changes that Redis has accepted from all monitors, shard by shard, in the order of each shard.

One read asks every shard for what came after the last change that was seen there, at most MOST of each. So nothing is
missed and nothing comes twice, whoever wrote it, as long as the streams keep what was not read yet.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.redis.history import stream_key
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, Keys
from heartfelt.monitor.store.redis.link import Command, Link
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_change
from heartfelt.monitor.store.redis.values import checked, seq_of, stream_id

MOST = 1000
_logger = logging.getLogger("heartfelt.monitor.cluster")


class Followed(NamedTuple):
    changes: list[Change]
    """In the order of their seqs."""
    heard_ms: int
    """All changes until then have been read, by the clocks of the primaries."""
    more: bool
    """There are more already."""


class Follower:
    """Blocks: any thread, one at a time. seen: the seq of the last change that was seen, by shard."""

    def __init__(self, link: Link, keys: Keys, seen: Mapping[int, int]) -> None:
        self._link = link
        self._keys = keys
        self._seen = dict(seen)
        self.unreadable = 0

    def read(self) -> Followed:
        """Raises StoreError; then nothing of it was seen."""
        shards = range(self._keys.shards)
        heard_ms = min(map(self._link.now_ms, shards))
        commands = [
            Command(
                shard, ("XRANGE", stream_key(self._keys, shard), f"({stream_id(self._seen[shard])}", "+", "COUNT", MOST)
            )
            for shard in shards
        ]
        changes: list[Change] = []
        seen = dict(self._seen)
        more = False
        for shard, entries in zip(shards, checked(self._link.execute(commands)), strict=True):
            more = more or len(entries) == MOST
            for entry_id, fields in entries:
                seq = seen[shard] = seq_of(entry_id, shard)
                if (change := self._read(seq, fields)) is not None:
                    changes.append(change)
        self._seen = seen
        changes.sort(key=lambda change: change.seq)
        return Followed(changes, heard_ms, more)

    def _read(self, seq: int, fields: list[bytes]) -> Change | None:
        try:
            return unpack_change(seq, fields[1])
        except Unreadable as error:
            self.unreadable += 1
            _logger.error("the change %d cannot be read, and webhooks do not get it: %s", seq, error)
            return None


def shard_of_seq(seq: int) -> int:
    return seq % MOST_SHARDS
