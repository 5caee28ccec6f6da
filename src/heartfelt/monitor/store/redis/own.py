# SPDX-License-Identifier: MIT
"""Parts of an instance that this monitor owns: what is known of it, and what waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from heartfelt.monitor.model import Change, InstanceRow, State
from heartfelt.monitor.store.redis.keys import Entry

__all__ = ["LEAST_FLUSH_S", "MOST_FLUSH_S", "NO_TIMEOUT", "News", "Own", "PutOrder"]

NO_TIMEOUT = frozenset((State.LOST, State.LEFT, State.PAUSED, State.REMOVED))
"""States in which no timeout runs."""
LEAST_FLUSH_S = 0.25
MOST_FLUSH_S = 15.0
_MOST_WRITTEN = 500


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


class PutOrder:
    """Remembers in which order the changes that wait were put, by the ids of their instances."""

    def __init__(self) -> None:
        self._ids: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: int) -> None:
        self._ids.append(id)

    def pop_oldest(self) -> int:
        return self._ids.popleft()

    def tidy(self, news: Mapping[int, News], n_changes: int) -> None:
        """Forgets changes that wait no more, so that it stays small while some wait for a server that is away."""
        if n_changes and len(self._ids) <= 2 * n_changes + _MOST_WRITTEN:
            return
        left = {id: len(one.changes) for id, one in news.items() if one.changes}
        kept: deque[int] = deque()
        for id in reversed(self._ids if left else ()):
            if left.get(id):
                left[id] -= 1
                kept.appendleft(id)
        self._ids = kept
