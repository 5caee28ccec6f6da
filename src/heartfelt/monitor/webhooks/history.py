# SPDX-License-Identifier: MIT
"""Replays the last changes after a start, so that changes not yet in the outbox when the monitor ended are still sent.

A document in the store says up to which change everything is in the outbox. Later changes are offered again, after
those of the minutes before it, which show the dampers which instances flap and are not sent again.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from heartfelt.monitor.model import Change
from heartfelt.monitor.store import Store, StoreError

__all__ = ["Position", "load_position", "recent_changes", "save_position"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_KIND, _NAME = "webhooks", "position"
_PAGE = 1000
_MOST = 100_000


class Position(msgspec.Struct, kw_only=True, frozen=True):
    seq: int
    """Everything up to this change is in the outbox."""
    flushed: bool = False
    """The monitor stopped cleanly, with everything in the outbox."""


async def load_position(store: Store) -> Position | None:
    """Reads the position. None: the webhooks start for the first time."""
    found: Any = await store.get_document(_KIND, _NAME)
    try:
        return None if found is None else msgspec.convert(found, Position)
    except msgspec.ValidationError as error:
        _log.error("the position of the webhooks in the store cannot be read and is ignored: %s", error)
        return None


async def save_position(store: Store, position: Position) -> None:
    await store.put_document(_KIND, _NAME, msgspec.to_builtins(position))


async def first_position(store: Store) -> Position:
    """Returns the position of now, and saves it. The monitor watches also while nothing can be read or stored, so that
    is logged only; the store's health says so, too."""
    seq = -1
    try:
        newest = await store.changes(id=None, service=None, before=None, limit=1)
        seq = newest[0].seq if newest else -1
        await save_position(store, Position(seq=seq, flushed=True))
    except StoreError as error:
        _log.error("the webhooks begin with the changes from now on, but that is not stored: %s", error)
    return Position(seq=seq, flushed=True)


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
