# SPDX-License-Identifier: MIT
"""Finds pages of monitors without a lease, and takes over those that are this monitor's part."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from heartfelt.monitor.store.redis.answers import Adopted, Orphan
from heartfelt.monitor.store.redis.holdings import Holdings, ScriptCall, Shard
from heartfelt.monitor.store.redis.joining import ROW_HEAD, UNREADABLE
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, PAGE_BYTES, SLOTS, Entry, name_of
from heartfelt.monitor.store.redis.link import FLEET, Command, Unreachable
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_row
from heartfelt.monitor.store.redis.pages import Page, new_mark, page_key, parts_of_mark
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import pairs_of

PAGES_AT_ONCE = 64
BYTES_AT_ONCE = 16 << 20
"""About as much is read at once, in whole pages."""
READ_S = 60.0
"""After so long all pages are looked at, also if nothing seems to have happened."""
ADOPT = load("adopt")
_HEAD = struct.Struct("<HIH")


def best_of(shard: int, page: int, monitors: Iterable[str]) -> str:
    """Returns the monitor that adopts a page: rendezvous hashing, so that all agree without talking."""
    return max(monitors, key=lambda id: blake2b(f"{shard}:{page}:{id}".encode(), digest_size=8).digest())


class _Calm(NamedTuple):
    """The state on which `own` depends, when it had no orphans: while this is the same, it has none."""

    registered: frozenset[str]
    shards: tuple[int, ...]
    state: tuple[int, int, int]
    """Counts of doubts, of leases that had ended, and of pages that went away."""
    living: tuple[int, ...]
    """How many monitors have a lease, by shard."""


class Orphans:
    """Finds orphans. Remembers since when each has been one.

    `own` is read only after something has changed: a monitor, a lease, or what this one is sure of. As long as all is
    as it was when there were no orphans, a search costs the same for any number of pages.
    """

    def __init__(self, holdings: Holdings, lease_s: float) -> None:
        self._holdings = holdings
        self._lease_s = lease_s
        self._since_s: dict[Orphan, float] = {}
        self.owners: frozenset[str] = frozenset()
        """The monitors that owned pages when `own` was read last: one that lives may own its first pages since."""
        self.begun = self.read = 0
        """How often reading `own` was begun; which of these times `owners` is of."""
        self.must_read = False
        """Set by any thread: `find` reads `own` the next time, whatever has happened."""
        self._calm: _Calm | None = None
        self._leases: list[tuple[list[str], list[str]]] = []
        """The keys of the leases that there were then, and of those that there were not, by shard."""
        self._read_s = 0.0

    def find(self) -> list[Orphan]:
        """Returns those that are ours to adopt: by their hash, or because nobody has for the time of a lease."""
        holdings, now_s = self._holdings, self._holdings.clock()
        shards = [shard for shard in holdings.shards if shard.ready and not shard.doubt]
        if (
            not self.must_read
            and self._calm is not None
            and now_s - self._read_s < READ_S
            and self._is_calm(shards, self._calm)
        ):
            return []
        self._calm, self._read_s, self.must_read = None, now_s, False
        self.begun += 1
        state = self._own_state()
        replies = holdings.ask([self._registered(), *[Command(one.number, ("HGETALL", one.own)) for one in shards]])
        registered = {id.decode() for id in _unless_failed(replies[0], [])}
        owned: dict[int, dict[int, str]] = {
            shard.number: {int(page): mark.decode() for page, mark in pairs_of(_unless_failed(reply, []))}
            for shard, reply in zip(shards, replies[1:], strict=True)
        }
        candidates = [
            (number, id)
            for number, pages in owned.items()
            for id in (registered | {parts_of_mark(mark)[0] for mark in pages.values()}) - {holdings.me, ""}
        ]
        answers = holdings.ask([Command(number, ("EXISTS", self._lease(number, id))) for number, id in candidates])
        living = {
            one for one, reply in zip(candidates, answers, strict=True) if reply
        }  # also those of which it is not known
        found = self._orphans(owned, living)
        if not found and not self._since_s and not any(isinstance(one, Unreachable) for one in (*replies, *answers)):
            numbers = tuple(owned)
            split: dict[bool, dict[int, list[str]]] = {True: {}, False: {}}
            for number, id in candidates:
                split[(number, id) in living].setdefault(number, []).append(self._lease(number, id))
            self._leases = [(split[True].get(number, []), split[False].get(number, [])) for number in numbers]
            there = tuple(len(keys) for keys, _ in self._leases)
            self._calm = _Calm(frozenset(registered), numbers, state, there)
        return found

    def _is_calm(self, shards: Sequence[Shard], calm: _Calm) -> bool:
        """Tells whether nothing has happened from which an orphan could come: O(monitors)."""
        if calm.shards != tuple(shard.number for shard in shards) or calm.state != self._own_state():
            return False
        commands, wanted = [self._registered()], []
        for number, n, both in zip(calm.shards, calm.living, self._leases, strict=True):
            for keys, count in zip(both, (n, 0), strict=True):
                if keys:
                    commands.append(Command(number, ("EXISTS", *keys)))
                    wanted.append(count)
        registered, *counts = self._holdings.ask(commands)
        return counts == wanted and {id.decode() for id in _unless_failed(registered, [])} == calm.registered

    def _own_state(self) -> tuple[int, int, int]:
        counts = self._holdings.counts
        return counts.doubts, counts.ended, counts.dropped_pages

    def _registered(self) -> Command:
        return Command(FLEET, ("HKEYS", self._holdings.keys.fleet("mons")))

    def _lease(self, number: int, id: str) -> str:
        return self._holdings.keys.shard(number, "lease", id)

    def _orphans(self, owned: dict[int, dict[int, str]], living: set[tuple[int, str]]) -> list[Orphan]:
        holdings, now_s = self._holdings, self._holdings.clock()
        found, since_s = [], {}
        for number, pages in owned.items():
            monitors = [holdings.me, *(id for shard, id in living if shard == number)]
            for page, mark in pages.items():
                orphan, owner = Orphan(number, page, mark), parts_of_mark(mark)[0]
                if owner == holdings.me:
                    known = holdings.shards[number].pages.all.get(page)
                    if known is None or known.mark != mark.encode():
                        found.append(orphan)
                elif (number, owner) not in living:
                    since_s[orphan] = first_s = self._since_s.get(orphan, now_s)
                    if best_of(number, page, monitors) == holdings.me or now_s - first_s >= self._lease_s:
                        found.append(orphan)
        self._since_s = since_s
        if owned:
            marks = (mark for pages in owned.values() for mark in pages.values())
            self.owners, self.read = frozenset(parts_of_mark(mark)[0] for mark in marks), self.begun
        return found


def adopt(holdings: Holdings, orphans: Sequence[Orphan], between: Callable[[], None]) -> list[Adopted]:
    """Takes pages over. One that cannot be reached remains an orphan. between: called now and then meanwhile."""
    found: list[Adopted] = []
    start, size = 0, PAGES_AT_ONCE
    while start < len(orphans):
        if start:
            between()
        n_bytes = _adopt_some(holdings, orphans[start : start + size], found)
        start += size
        size = max(1, min(PAGES_AT_ONCE, size * BYTES_AT_ONCE // max(1, n_bytes)))
    return found


def _adopt_some(holdings: Holdings, orphans: Sequence[Orphan], found: list[Adopted]) -> int:
    keys, calls, pages = holdings.keys, [], []
    for number, page_number, mark in orphans:
        shard, owner = holdings.shards[number], parts_of_mark(mark)[0]
        page = Page(keys, number, page_number, new_mark(holdings.me))
        old_key, lease = page_key(keys, number, page_number, mark), keys.shard(number, "lease", owner)
        is_ours = int(owner == holdings.me)
        args = (page_number, mark, page.mark, is_ours, PAGE_BYTES)
        calls.append(ScriptCall(shard, ADOPT, (shard.own, old_key, page.key, lease), args))
        pages.append(page)
    taken = []
    for page, reply in zip(pages, holdings.run(calls), strict=True):
        if isinstance(reply, Unreachable) or reply == b"refused":
            continue
        if len(reply) == PAGE_BYTES:
            page.buffer[:] = reply
        else:
            holdings.counts.lost_pages += 1
            holdings.log("shard %d: the deadlines of page %d are gone", page.shard, page.number)
        taken.append(page)
    n_bytes = 0
    reads = [Command(page.shard, ("HGETALL", page.rows_key)) for page in taken]
    for page, reply in zip(taken, holdings.ask(reads), strict=True):
        if not isinstance(reply, Unreachable):  # otherwise it is an orphan of our own
            n_bytes += _read_rows(holdings, page, reply, found)
    return n_bytes


def _read_rows(holdings: Holdings, page: Page, reply: Any, found: list[Adopted]) -> int:
    """Fills a page with its rows. Returns their size."""
    shard, n_bytes, indexes = holdings.shards[page.shard], 0, set()
    for field, data in pairs_of(reply):
        n_bytes += len(data)
        try:
            index = int(field)
            if not 0 <= index < SLOTS:
                raise Unreadable("there is no such slot")
            indexes.add(index)
            if len(data) < ROW_HEAD:
                raise Unreadable("it has no head")
            entry = entry_of(page.number, index, data)
            id = entry.id
            row = unpack_row(data[ROW_HEAD:], holdings.shared)
            name = name_of(row.service, row.instance_id)
            if id % MOST_SHARDS != page.shard or holdings.keys.shard_of(name) != page.shard:
                raise Unreadable("it is in the wrong shard")
        except ValueError as error:
            holdings.unreadable(page.shard, page.number, int(field) if field.isdigit() else -1, error)
            continue
        row.id = id
        page.put(index, name, entry, row=True)
        shard.came[id] = entry
        found.append(Adopted(entry, row, int.from_bytes(page.slot(index), "big")))
    for index in indexes:
        if page.entries[index] is None:
            page.names[index] = UNREADABLE
    page.free = [index for index in page.free if index not in indexes]
    holdings.add_page(shard, page)
    return n_bytes


def entry_of(page: int, index: int, data: bytes) -> Entry:
    """Returns the entry of a row."""
    generation, low, high = _HEAD.unpack_from(data)
    return Entry(page, index, generation, high << 32 | low)


def _unless_failed(reply: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(reply, Unreachable) else reply
