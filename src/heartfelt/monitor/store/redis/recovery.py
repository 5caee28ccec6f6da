# SPDX-License-Identifier: MIT
"""Compares what this monitor believes to hold with what Redis has, after a lease has ended or an answer got lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heartfelt.monitor.store.redis.holdings import Holdings, Shard
from heartfelt.monitor.store.redis.joining import UNREADABLE
from heartfelt.monitor.store.redis.keys import Entry, field_of
from heartfelt.monitor.store.redis.link import Command, Unreachable
from heartfelt.monitor.store.redis.pages import Page
from heartfelt.monitor.store.redis.values import pairs_of

PAGES_AT_ONCE = 64


class Audit:
    """One comparison of some shards."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._lost: list[tuple[Shard, Page, int]] = []
        """Slots whose instances are elsewhere."""
        self._found: dict[bytes, tuple[Page, Entry]] = {}
        """Names that Redis had given us without our knowing."""

    def run(self, shards: Sequence[Shard]) -> list[tuple[bytes, Entry]]:
        """Drops pages that others have, and frees slots of instances that were moved away, which it returns. Finds out
        which reservations and moves were executed. A shard that cannot be read is in doubt."""
        kept: list[tuple[Shard, Page]] = []
        reads = [Command(shard.number, ("HGETALL", shard.own)) for shard in shards]
        for shard, reply in zip(shards, self._holdings.ask(reads), strict=True):
            if isinstance(reply, Unreachable):
                self._holdings.in_doubt(shard)
                continue
            owned = {int(page): mark for page, mark in pairs_of(reply)}
            shard.audit = False
            for page in list(shard.pages.all.values()):
                if owned.get(page.number) == page.mark:
                    kept.append((shard, page))
                    self._holdings.mark_dirty(page)  # a failover may have lost what was flushed
                else:
                    self._holdings.drop_page(shard, page)
        for start in range(0, len(kept), PAGES_AT_ONCE):
            self._read(kept[start : start + PAGES_AT_ONCE])
        return self._moved()

    def _read(self, pages: Sequence[tuple[Shard, Page]]) -> None:
        commands: list[Command] = []
        unsure: list[list[int]] = []
        for shard, page in pages:
            at = [n for n, name in enumerate(page.names) if name not in (None, UNREADABLE) and not page.has_row[n]]
            unsure.append(at)
            commands.append(Command(shard.number, ("HKEYS", page.rows_key)))
            if at:
                commands.append(
                    Command(shard.number, ("HMGET", shard.slot, *[field_of(page.names[n] or b"") for n in at]))
                )
                commands.append(Command(shard.number, ("GET", page.key)))
        replies = iter(self._holdings.ask(commands))
        for (shard, page), at in zip(pages, unsure, strict=True):
            rows, slots, stored = next(replies), next(replies) if at else [], next(replies) if at else b""
            if any(isinstance(reply, Unreachable) for reply in (rows, slots, stored)):
                self._holdings.in_doubt(shard)
                continue
            has_row = {int(field) for field in rows}
            for index, packed in zip(at, slots, strict=True):
                self._decide(shard, page, index, packed, index in has_row, stored or b"")
            for index in range(len(page.entries)):
                if page.has_row[index] and index not in has_row:
                    self._lost.append((shard, page, index))

    def _decide(self, shard: Shard, page: Page, index: int, packed: Any, has_row: bool, stored: bytes) -> None:
        """Decides on a slot that was reserved, or whose command was not answered."""
        name, known = page.names[index], page.entries[index]
        assert name is not None
        entry = None if packed is None else Entry.unpack(packed)
        if entry is None or (entry.page, entry.index) != (page.number, index) or known not in (None, entry):
            self._lost.append((shard, page, index))
        elif known is None:
            deadline = stored[index * 8 : index * 8 + 8]
            is_whole = has_row and len(deadline) == 8
            self._holdings.put(page, name, entry, row=has_row, deadline=deadline if is_whole else None)
            self._found[name] = page, entry
        else:
            page.has_row[index] = has_row

    def _moved(self) -> list[tuple[bytes, Entry]]:
        moved: list[tuple[bytes, Entry]] = []
        for shard, page, index in self._lost:
            name, entry = page.names[index], page.entries[index]
            to, new = self._found.get(name or b"", (page, None))
            if entry is not None and new is not None and new.id == entry.id:
                self._holdings.relocate(page, entry, to, new)  # we had moved it ourselves
                continue
            self._holdings.free(shard, page, index)
            if name is not None and entry is not None and self._holdings.is_news(shard, entry):
                moved.append((name, entry))
        return moved
