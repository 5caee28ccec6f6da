# SPDX-License-Identifier: MIT
"""Remembers the pages that this monitor owns: deadlines, who is in which slot, and which slots are free."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from typing import NamedTuple

from heartfelt.monitor.store.redis.keys import PAGE_BYTES, SLOT_BYTES, SLOTS, Entry, Keys

EMPTY = b"\0" * SLOT_BYTES


_DEADLINE = struct.Struct(">Q")
_MOST_MS = (1 << 53) - 1


def deadline_bytes(ms: int) -> bytes:
    """Returns a deadline as it is in its slot. Those that no clock will reach are as one."""
    return _DEADLINE.pack(max(0, min(ms, _MOST_MS)))


class Place(NamedTuple):
    """A slot that was taken for a name."""

    page: Page
    index: int  # type: ignore[assignment]


class Page:
    """512 slots. A slot is free, pending (its name is known, Redis has not answered yet), or has an entry, with or
    without a row."""

    def __init__(self, keys: Keys, shard: int, number: int, mark: str, data: bytes = b"") -> None:
        self.shard, self.number, self.mark = shard, number, mark.encode()
        self.key, self.rows_key = page_key(keys, shard, number, mark), keys.shard(shard, "rows", number)
        self.buffer = bytearray(data or bytes(PAGE_BYTES))
        self.dirty = False
        self.entries: list[Entry | None] = [None] * SLOTS
        self.names: list[bytes | None] = [None] * SLOTS
        self.has_row = bytearray(SLOTS)
        self.free = list(range(SLOTS - 1, -1, -1))

    @property
    def used(self) -> int:
        return SLOTS - len(self.free)

    def slot(self, index: int) -> bytes:
        return bytes(self.buffer[index * SLOT_BYTES : (index + 1) * SLOT_BYTES])

    def write(self, index: int, deadline: bytes) -> None:
        self.buffer[index * SLOT_BYTES : (index + 1) * SLOT_BYTES] = deadline

    def put(self, index: int, name: bytes, entry: Entry, *, row: bool) -> None:
        self.names[index], self.entries[index], self.has_row[index] = name, entry, row

    def holds(self, entry: Entry) -> bool:
        """Tells whether this very entry is in its slot."""
        return self.entries[entry.index] == entry

    def instances(self) -> Iterator[tuple[bytes, Entry]]:
        for name, entry in zip(self.names, self.entries, strict=True):
            if name is not None and entry is not None:
                yield name, entry


class Pages:
    """The pages of one shard. New names go into the fullest ones, so that the others can become empty."""

    def __init__(self) -> None:
        self.all: dict[int, Page] = {}
        self._open: set[Page] = set()

    def __len__(self) -> int:
        return len(self.all)

    def add(self, page: Page) -> None:
        self.all[page.number] = page
        if page.free:
            self._open.add(page)

    def drop(self, page: Page) -> None:
        self.all.pop(page.number, None)
        self._open.discard(page)

    @property
    def n_free(self) -> int:
        return sum(len(page.free) for page in self._open)

    @property
    def n_used(self) -> int:
        return len(self.all) * SLOTS - self.n_free

    def take(self, names: list[bytes], but: Page | None = None) -> list[Place]:
        """Takes free slots for names, as far as there are any, from other pages than `but`."""
        places: list[Place] = []
        for page in sorted(self._open - {but}, key=lambda page: len(page.free)):
            while page.free and len(places) < len(names):
                index = page.free.pop()
                page.names[index] = names[len(places)]
                page.write(index, EMPTY)
                places.append(Place(page, index))
            if not page.free:
                self._open.discard(page)
            if len(places) == len(names):
                break
        return places

    def empty(self) -> list[Page]:
        return [page for page in self._open if len(page.free) == SLOTS]

    def sparsest(self) -> Page | None:
        """Returns the page with the fewest instances, of those that have some."""
        return min((page for page in self._open if page.used), key=lambda page: page.used, default=None)

    def give_back(self, page: Page, index: int) -> None:
        """Frees a slot, which must not be free."""
        page.names[index] = page.entries[index] = None
        page.has_row[index] = 0
        page.write(index, EMPTY)
        page.free.append(index)
        if page.number in self.all:
            self._open.add(page)


def new_mark(monitor_id: str) -> str:
    """Returns an owner's mark with a fence that no page has had: also not after a failover that lost some writes."""
    return f"{monitor_id}:{secrets.randbits(52)}"


def parts_of_mark(mark: str) -> tuple[str, int]:
    """Returns the monitor id and the fence; "" and 0 if the page has no owner."""
    owner, _, fence = mark.rpartition(":")
    return (owner, int(fence)) if fence.isdecimal() else ("", 0)


def page_key(keys: Keys, shard: int, number: int, mark: str) -> str:
    return keys.shard(shard, "page", number, parts_of_mark(mark)[1])
