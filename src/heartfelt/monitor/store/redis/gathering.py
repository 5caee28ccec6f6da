# SPDX-License-Identifier: MIT
"""Records that were put, and that the writer has not taken yet."""

from __future__ import annotations

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.pending import Bounds, Dropped, Pending


class Gathered(Pending):
    """The same as for SQLite, but that losses and failures of days are counted when Redis has accepted them."""

    __slots__ = ()

    def __init__(self, bounds: Bounds, dropped: Dropped) -> None:
        super().__init__(bounds, dropped, 0, 0)

    def _count(self, change: Change) -> None:
        pass
