# SPDX-License-Identifier: MIT
"""Parts of an instance that this monitor owns: what is known of it, and what waits."""

from __future__ import annotations

import time
from collections import deque

from heartfelt.monitor.model import Change, InstanceRow, State
from heartfelt.monitor.store.redis.keys import Entry

__all__ = ["LEAST_FLUSH_S", "MOST_FLUSH_S", "NO_TIMEOUT", "News", "Own"]

NO_TIMEOUT = frozenset((State.LOST, State.LEFT, State.PAUSED, State.REMOVED))
"""States in which no timeout runs."""
LEAST_FLUSH_S = 0.25
MOST_FLUSH_S = 15.0


class Own:
    """An instance that this monitor owns."""

    __slots__ = ("entry", "has_row", "joined", "lease_ms", "name", "shard", "times_ms")

    def __init__(self, name: bytes, entry: Entry, shard: int, *, has_row: bool) -> None:
        self.name = name
        self.shard = shard
        self.entry = entry
        self.has_row = has_row
        self.lease_ms = 0
        """Its timeout; 0: none runs."""
        self.joined: tuple[int, ...] = ()
        """The seqs of its changes that are in no list: that it joined, and came up."""
        self.times_ms: tuple[int, ...] = ()
        """When such changes happened, if their seqs are not known here."""


class News:
    """Everything that was put of an instance and not written yet."""

    __slots__ = ("changes", "put_s", "removed", "row")

    def __init__(self) -> None:
        self.row: InstanceRow | None = None
        self.removed = False
        self.changes: deque[Change] = deque()
        self.put_s = time.monotonic()
