# SPDX-License-Identifier: MIT
"""Records that were put, and that the writer has not taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.pending import Bounds, Dropped, Pending


class Gathered(Pending):
    """The same as for SQLite, but that losses and failures of days are counted when Redis has accepted them."""

    __slots__ = ("heard",)

    def __init__(self, bounds: Bounds, dropped: Dropped) -> None:
        super().__init__(bounds, dropped, 0, 0)
        self.heard: dict[int, None] = {}
        """Instances of which the loop has heard what Redis has: what it had put before is out of date."""

    def is_empty(self) -> bool:
        return super().is_empty() and not self.heard

    def hear(self, ids: Iterable[int]) -> None:
        """Notes that the loop has heard what Redis has of these instances, and drops what it had put before."""
        heard = dict.fromkeys(ids)
        self.heard.update(heard)
        for id in heard:
            self.instances.pop(id, None)
            self.removed.pop(id, None)
        if any(change.id in heard for change in self.changes):
            kept = deque(change for change in self.changes if change.id not in heard)
            self.dropped.changes += len(self.changes) - len(kept)
            self.changes = kept

    def _count(self, change: Change) -> None:
        pass
