# SPDX-License-Identifier: MIT
"""Keeps Redis tidy, a little at each call: deletes empty pages, moves instances out of sparse ones, and deletes entries
that nobody will ask for."""

from __future__ import annotations

from collections import defaultdict

from heartfelt.monitor.store.redis.holdings import Holdings, ScriptCall, Shard
from heartfelt.monitor.store.redis.joining import ROWS_PER_CALL, UNREADABLE, move_call, placed
from heartfelt.monitor.store.redis.keys import ENTRY_BYTES, SLOTS, Entry
from heartfelt.monitor.store.redis.link import Command, Unreachable
from heartfelt.monitor.store.redis.packing import pack_words
from heartfelt.monitor.store.redis.pages import Page, Place
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import pairs_of

SPARE = SLOTS // 2
"""How many slots of a shard remain free, so that the next names need no new page."""
RELEASES = 16
SHARDS_AT_ONCE = 4
SCANNED = 500
"""About so many entries of one shard are looked at in one call."""
RELEASE_PAGE, SWEEP = load("release_page"), load("sweep")


class Tidier:
    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._next = 0
        self._swept, self._cursor = 0, 0

        self.has_more = False
        """It has deleted or moved something, so there may be more."""

    def run(self) -> None:
        self.has_more = True
        self.go_on()
        self._sweep()

    def go_on(self) -> None:
        """Deletes pages and moves instances, if there were some to be deleted or moved at the last call."""
        if self.has_more:
            n_released = self._release()
            self.has_more = self._compact() + n_released > 0

    def _release(self) -> int:
        """Deletes empty pages, and returns how many. One that Redis keeps after all is found among the orphans."""
        calls: list[ScriptCall] = []
        for shard in self._holdings.shards:
            spare = shard.pages.n_free - SPARE
            for page in shard.pages.empty() if spare >= SLOTS and _is_open(shard) else ():
                if spare < SLOTS or len(calls) == RELEASES:
                    break
                spare -= SLOTS
                self._holdings.drop_page(shard, page)
                keys = (shard.own, page.key, page.rows_key)
                calls.append(ScriptCall(shard, RELEASE_PAGE, keys, (page.number, page.mark)))
        self._holdings.run(calls)
        return len(calls)

    def _compact(self) -> int:
        """Moves some instances of the sparsest page of a shard into its other pages, a few shards at a time. Returns
        how many batches."""
        holdings, calls = self._holdings, []
        moves: list[tuple[Page, list[bytes], dict[bytes, Entry], list[Place]]] = []
        shards = holdings.shards
        for n in range(min(SHARDS_AT_ONCE, len(shards))):
            shard = shards[(self._next + n) % len(shards)]
            page = shard.pages.sparsest() if _is_open(shard) else None
            if page is None or shard.pages.n_free - len(page.free) < page.used + SPARE:
                continue
            entries = {name: entry for name, entry in page.instances() if page.has_row[entry.index]}
            names = list(entries)[:ROWS_PER_CALL]
            for part, places in placed(holdings, shard, names, ROWS_PER_CALL, page):
                mark = page.mark.decode()
                calls.append(move_call(holdings, shard, page.number, mark, True, part, entries, places))
                moves.append((page, part, entries, places))
        self._next = (self._next + SHARDS_AT_ONCE) % len(shards)
        for call, (page, part, entries, places), reply in zip(calls, moves, holdings.run(calls), strict=True):
            for n, (name, place) in enumerate(zip(part, places, strict=True)):
                if isinstance(reply, Unreachable) and not reply.refused:
                    continue  # the audit decides
                if isinstance(reply, list) and reply[3 * n + 1]:
                    holdings.relocate(page, entries[name], place.page, Entry.unpack(reply[3 * n]))
                else:
                    holdings.free(call.shard, *place)
        return len(calls)

    def _sweep(self) -> None:
        """Looks at some entries, shard by shard, for those that were reserved by a monitor that died before it wrote a
        row. They are in a page of ours, where their slot is free or another's, or in one that is nobody's."""
        holdings = self._holdings
        shard = holdings.shards[self._swept % len(holdings.shards)]
        reply = None
        if shard.ready and not shard.doubt:
            (reply,) = holdings.ask([Command(shard.number, ("HSCAN", shard.slot, self._cursor, "COUNT", SCANNED))])
        if reply is None or isinstance(reply, Unreachable):
            self._swept, self._cursor = self._swept + 1, 0
            return
        self._cursor = int(reply[0])
        self._swept += self._cursor == 0
        suspects: dict[int, list[bytes | int]] = defaultdict(list)
        for field, packed in pairs_of(reply[1]):
            if len(packed) != ENTRY_BYTES:
                continue  # written by no monitor
            entry = Entry.unpack(packed)
            page = shard.pages.all.get(entry.page)
            if (
                page is None
                or entry.index >= SLOTS
                or (page.entries[entry.index] != entry and page.names[entry.index] != UNREADABLE)
            ):
                suspects[entry.page] += (field, packed)
        strange = [page for page in suspects if page not in shard.pages.all]
        marks = {page: known.mark for page, known in shard.pages.all.items()}
        owners = [Command(shard.number, ("HGET", shard.own, page)) for page in strange]
        marks |= {page: b"-" for page, mark in zip(strange, holdings.ask(owners), strict=True) if mark is None}
        calls: list[ScriptCall] = []
        for number, words in suspects.items():
            if number in marks:
                keys = (shard.slot, shard.own, holdings.keys.shard(shard.number, "rows", number))
                calls.append(ScriptCall(shard, SWEEP, keys, (number, marks[number], pack_words(words))))
        for deleted in holdings.run(calls):
            holdings.counts.swept += deleted if isinstance(deleted, int) else 0


def _is_open(shard: Shard) -> bool:
    return shard.ready and not shard.doubt and not shard.is_emptied and len(shard.pages) > 1
