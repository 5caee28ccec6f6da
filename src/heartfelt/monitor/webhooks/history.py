# SPDX-License-Identifier: MIT
"""Replays the last changes after a start, so that changes not yet in the outbox when the monitor ended are still sent.

A document in the store says up to which change everything is in the outbox. Later changes are offered again, after
those of the minutes before it, which show the dampers which instances flap and are not sent again.

Of several monitors with one store, one leads and has the webhooks. It keeps the position with a fence, by which the
store refuses what an earlier leader still puts; monitor/cluster/README.md says how.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from heartfelt.monitor.model import Change
from heartfelt.monitor.store import Store, StoreError, Superseded
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.tasks import within

__all__ = ["Position", "Positions", "Saver", "StoredPositions", "first_position", "recent_changes", "replay"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_KIND, _NAME = "webhooks", "position"
_PAGE = 1000
_MOST = 100_000
_MOST_SETTLED = 100
SAVE_MS = 1_000


class Position(msgspec.Struct, kw_only=True, frozen=True):
    seq: int
    """Everything up to this change is in the outbox."""
    flushed: bool = False
    """The monitor stopped cleanly, with everything in the outbox."""
    settled: tuple[int, ...] = ()
    """After which changes a monitor has stopped cleanly, or was about to, as far as they may be replayed."""


class Positions(Protocol):
    """Keeps the position. Both methods raise what the store raises, and Superseded if another monitor leads now."""

    async def load(self) -> Position | None:
        """Reads it; None: the webhooks start for the first time. Whoever led before can put nothing from then on."""

    async def save(self, position: Position) -> None:
        """Stores it, after everything that was put before the call."""


class StoredPositions:
    """Keeps the position of a monitor that has its store for itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> Position | None:
        found: Any = await self._store.get_document(_KIND, _NAME)
        try:
            return None if found is None else msgspec.convert(found, Position)
        except msgspec.ValidationError as error:
            _log.error("the position of the webhooks in the store cannot be read and is ignored: %s", error)
            return None

    async def save(self, position: Position) -> None:
        await self._store.put_document(_KIND, _NAME, msgspec.to_builtins(position))


class Saver:
    """Saves the position, at most once in SAVE_MS as that is O(muted). on_superseded: called if another one leads."""

    def __init__(self, positions: Positions, wall_ms: Callable[[], int], on_superseded: Callable[[], None]) -> None:
        self._positions = positions
        self._wall_ms = wall_ms
        self._on_superseded = on_superseded
        self._log = OutageLog(_log, "the position of the webhooks is stored again")
        self._saved_ms: int | None = None
        self.unsaved = True

    def is_due(self, now_ms: int) -> bool:
        return self.unsaved and (self._saved_ms is None or not 0 <= now_ms - self._saved_ms < SAVE_MS)

    def due_ms(self, now_ms: int) -> int:
        return (self._saved_ms or now_ms) + SAVE_MS

    async def save(self, position: Position) -> bool:
        """Returns False if the store failed, which is logged."""
        self._saved_ms = self._wall_ms()
        self.unsaved = False
        try:
            await self._positions.save(position)
            self._log.worked()
        except Superseded as error:
            _log.warning("the webhooks of this monitor end: %s", error)
            self._on_superseded()
        except Exception as error:
            self.unsaved = True
            self._log.failed(f"the position of the webhooks cannot be stored: {error}")
            return False
        return True

    async def save_within(self, seconds: float, position: Position) -> bool:
        try:
            return await within(seconds, self.save(position))
        except asyncio.TimeoutError:
            _log.error("the store did not take the webhooks' position within %g s", seconds)
            return False


async def first_position(store: Store, positions: Positions) -> Position:
    """Returns the position of now, and saves it. The monitor watches also while nothing can be read or stored, so that
    is logged only; the store's health says so, too."""
    seq = -1
    try:
        newest = await store.changes(id=None, service=None, before=None, limit=1)
        seq = newest[0].seq if newest else -1
        await positions.save(Position(seq=seq, flushed=True))
    except Superseded:
        raise
    except StoreError as error:
        _log.error("the webhooks begin with the changes from now on, but that is not stored: %s", error)
    return Position(seq=seq, flushed=True)


class Replayed(NamedTuple):
    new: int
    """How many changes are not in the outbox yet."""
    settled: tuple[int, ...]
    """After which changes dampers were settled: as `Position.settled` from now on."""


async def replay(
    store: Store, position: Position, memory_ms: int, take: Callable[[Change], None], settle: Callable[[], None]
) -> Replayed:
    """Calls `take` for each change of `recent_changes`, and `settle` after each one at which a monitor has stopped: it
    put all that it had gathered, and the dampers of the next one began anew, so those of each later one do there."""
    changes = await recent_changes(store, after=position.seq, memory_ms=memory_ms)
    known = sorted({*position.settled, position.seq} if position.flushed else position.settled)
    settled = tuple(seq for seq in known if not changes or seq >= changes[0].seq)[-_MOST_SETTLED:]
    waiting, new = deque(settled), 0
    for number, change in enumerate(changes):
        while waiting and change.seq > waiting[0]:
            settle()
            waiting.popleft()
        take(change)
        new += change.seq > position.seq
        if number % 500 == 499:
            await asyncio.sleep(0)
    if waiting:
        settle()
    return Replayed(new, settled)


async def recent_changes(store: Store, *, after: int, memory_ms: int) -> list[Change]:
    """Returns all changes after `after`, and those of `memory_ms` before it, oldest first; at most 100,000."""
    found: list[Change] = []
    before: int | None = None
    border_ms: int | None = None
    while len(found) < _MOST:
        try:
            page = await store.changes(id=None, service=None, before=before, limit=_PAGE)
        except StoreError as error:
            _log.error("changes before the start cannot be read, so the webhooks do not report them: %s", error)
            break
        for change in page:
            if change.seq <= after:
                border_ms = change.time_ms - memory_ms if border_ms is None else border_ms
                if change.time_ms < border_ms:
                    return found[::-1]
            found.append(change)
        if len(page) < _PAGE:
            break
        before = page[-1].seq
    return found[::-1]
