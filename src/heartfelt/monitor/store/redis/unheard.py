# SPDX-License-Identifier: MIT
"""Instances of which Redis has something that the loop has not heard of yet: a loss that it has accepted, or the row
with which they came from another monitor.

What the loop puts of one before it has heard follows from a state that is not the one in Redis: written, it would be a
change from a state in which nobody has seen the instance. So it is dropped. The loop says when it has heard, in the
order of what it puts, and goes on from the state in Redis.
"""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.gathering import Gathered


class Unheard:
    """Belongs to the writer's thread."""

    def __init__(self) -> None:
        self._ids: dict[int, bool] = {}
        """Whether it is a loss."""

    def __contains__(self, id: int) -> bool:
        return id in self._ids

    def add(self, id: int, *, is_loss: bool) -> None:
        self._ids[id] = is_loss

    def drop(self, id: int) -> None:
        self._ids.pop(id, None)

    def filter(self, batch: Gathered) -> int:
        """Drops what was put too early. Returns how many changes. An instance that was removed before its loss was
        heard of is removed: from LOST."""
        ids = self._ids
        for id in batch.heard:
            ids.pop(id, None)
        if not ids:
            return 0
        removed = {id for id in batch.removed if ids.get(id)}
        for id in ids:
            batch.instances.pop(id, None)
            if id not in removed:
                batch.removed.pop(id, None)
        kept = deque(
            replace(change, old=State.LOST) if change.id in removed else change
            for change in batch.changes
            if change.id not in ids or (change.id in removed and change.new is State.REMOVED)
        )
        n_dropped = len(batch.changes) - len(kept)
        batch.changes = kept
        for id in removed:
            del ids[id]
        return n_dropped
