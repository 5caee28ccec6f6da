# SPDX-License-Identifier: MIT
"""Keeps pages full: deletes empty ones, and moves instances out of sparse ones, a few at each call."""

from __future__ import annotations

from heartfelt.monitor.store.redis.holdings import Call, Holdings, Shard
from heartfelt.monitor.store.redis.joining import ROWS_PER_CALL, move_call, placed
from heartfelt.monitor.store.redis.keys import SLOTS, Entry
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.pages import Page, Place
from heartfelt.monitor.store.redis.scripts import load

SPARE = SLOTS // 2
"""How many slots of a shard remain free, so that the next names need no new page."""
RELEASES = 16
SHARDS_AT_ONCE = 4
RELEASE_PAGE = load("release_page")


class Tidier:
    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._next = 0

    def run(self) -> None:
        self._release()
        self._compact()

    def _release(self) -> None:
        """Deletes empty pages. One that Redis keeps after all is found among the orphans."""
        calls: list[Call] = []
        for shard in self._holdings.shards:
            spare = shard.pages.n_free - SPARE
            for page in shard.pages.empty() if spare >= SLOTS and _is_open(shard) else ():
                if spare < SLOTS or len(calls) == RELEASES:
                    break
                spare -= SLOTS
                self._holdings.drop_page(shard, page)
                keys = (shard.own, page.key, page.rows_key)
                calls.append(Call(shard, RELEASE_PAGE, keys, (page.number, page.mark)))
        self._holdings.run(calls)

    def _compact(self) -> None:
        """Moves some instances of the sparsest page of a shard into its other pages, a few shards at a time."""
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


def _is_open(shard: Shard) -> bool:
    return shard.ready and not shard.doubt and len(shard.pages) > 1
