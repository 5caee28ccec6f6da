# SPDX-License-Identifier: MIT
"""Changes and runs.

Accepted changes are in the stream `ev` of their shard, which the leases' script writes. A list `P:{n}:hist:<id>` has
the seqs of the newest changes of one instance, from the first one on that is more than that it joined and came up: an
instance without such news has no key of its own, and its monitor knows where its changes are.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Change, Run
from heartfelt.monitor.store import OPEN_RUNS, READ_S, RUNS_KEPT
from heartfelt.monitor.store.queries import text_of
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, Keys
from heartfelt.monitor.store.redis.link import Command, Link
from heartfelt.monitor.store.redis.packing import unpack_change
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import (
    checked,
    pack,
    pack_run,
    run_of,
    seq_of,
    stream_id,
    stream_id_at,
)
from heartfelt.monitor.store.rows import slices

FORGET, PUT_RUN, PUT_SEQS = load("forget"), load("put_run"), load("put_seqs")
SEQS_KEPT = 50
"""How many changes of an instance are in its list."""
LISTS_AT_ONCE = 100
MOST_AT_ONCE = 1000
WINDOW_MS = 2000
"""How long after its time a change was accepted at most, if it is looked for by its time."""
_MOST_ID = (1 << 64) - 1


def stream_key(keys: Keys, shard: int) -> str:
    return keys.shard(shard, "ev")


def shard_of_id(keys: Keys, id: int) -> int:
    """Returns the shard of an instance, by an id that Redis gave."""
    return Keys.shard_of_id(id) % keys.shards


# -- writing


def is_news(change: Change) -> bool:
    """Whether the change is more than that an instance joined, or came up for the first time."""
    return not (change.old is None or (change.old.value == "NEW" and change.new.value == "UP"))


def put_seqs(keys: Keys, seqs: Mapping[int, Sequence[int]], expires_ms: int) -> Iterator[tuple[Command, int]]:
    """Yields commands, and how many lists each adds to. seqs: those of changes, by instance."""
    by_shard: dict[int, list[int]] = {}
    for id in seqs:
        by_shard.setdefault(shard_of_id(keys, id), []).append(id)
    for shard, ids in by_shard.items():
        for some in slices(ids, LISTS_AT_ONCE):
            lists = [keys.shard(shard, "hist", id) for id in some]
            yield Command(shard, (PUT_SEQS, expires_ms, SEQS_KEPT, *(pack(seqs[id]) for id in some)), lists), len(some)


def put_run(keys: Keys, run: Run, expires_ms: int) -> Command:
    """Raises one of BAD_VALUE."""
    shard = shard_of_id(keys, run.id)
    words = (PUT_RUN, run.number, pack_run(run), "1" if run.end_ms is None else "", RUNS_KEPT, expires_ms)
    return Command(shard, words, (_runs_key(keys, shard, run.id), _open_key(keys, shard)))


def forget(keys: Keys, id: int) -> Command:
    """Deletes what there is of a removed instance besides its row."""
    shard = shard_of_id(keys, id)
    return Command(
        shard, (FORGET,), (_runs_key(keys, shard, id), _open_key(keys, shard), keys.shard(shard, "hist", id))
    )


def _runs_key(keys: Keys, shard: int, id: int) -> str:
    return keys.shard(shard, "runs", id)


def _open_key(keys: Keys, shard: int) -> str:
    return keys.shard(shard, "open")


# -- reading: blocks, any thread


def runs(link: Link, keys: Keys, id: int, before: int | None, limit: int) -> list[Run]:
    shard = shard_of_id(keys, id)
    most = "+inf" if before is None else f"({before}"
    found = link.call(shard, "ZREVRANGEBYSCORE", _runs_key(keys, shard, id), most, "-inf", "LIMIT", 0, limit)
    return list(map(run_of, found))


def open_runs(link: Link, keys: Keys, shards: Iterable[int], ids: Callable[[int], bool]) -> list[Run]:
    """Returns the runs that have not ended, of those instances, the newest OPEN_RUNS; the newest last."""
    answers = checked(link.execute([Command(shard, ("HVALS", _open_key(keys, shard))) for shard in shards]))
    found = [run for some in answers for run in map(run_of, some) if ids(run.id)]
    return sorted(found, key=lambda run: run.number)[-OPEN_RUNS:]


class Changes:
    """Reads changes, the newest first."""

    def __init__(self, link: Link, keys: Keys, is_closing: Callable[[], bool] = lambda: False) -> None:
        self._link = link
        self._keys = keys
        self._is_closing = is_closing

    def page(self, service: str | None, before: int | None, limit: int) -> list[Change]:
        shards = range(self._keys.shards)
        if service is None:
            return self._merged(shards, before, limit)
        needle = text_of(service).encode()
        return self._merged(shards, before, limit, needle, lambda change: change.service == service)

    def of_instance(
        self,
        shard: int,
        id: int,
        service: str | None,
        before: int | None,
        limit: int,
        more_seqs: Sequence[int] = (),
        times_ms: Sequence[int] = (),
    ) -> list[Change]:
        """shard: that of its name. more_seqs, times_ms: of changes that may not be in its list. Reads the shard's whole
        stream only if there is nothing of the instance, as is so after it was removed."""
        at = shard_of_id(self._keys, id)
        asked = [Command(at, ("LRANGE", self._keys.shard(at, "hist", id), 0, -1))]
        for at_ms in times_ms:
            low, high = stream_id_at(at_ms - 1), stream_id_at(at_ms + WINDOW_MS)
            words = ("XRANGE", stream_key(self._keys, shard), low, high, "COUNT", MOST_AT_ONCE)
            asked.append(Command(shard, words))
        listed, *windows = checked(self._link.execute(asked))
        seqs = sorted({*map(int, listed), *more_seqs}, reverse=True)
        seqs = [seq for seq in seqs if before is None or seq < before][:limit]
        asked = [self._exactly(seq) for seq in seqs]
        found: dict[int, Change] = {}
        entries = [
            (seq, one[0][1][1]) for seq, one in zip(seqs, checked(self._link.execute(asked)), strict=True) if one
        ]
        for seq, data in (*entries, *(one for some in windows for one in _read(some, shard))):
            if seq not in found and (before is None or seq < before):
                change = unpack_change(seq, data)
                if change.id == id:
                    found[seq] = change

        def fits(change: Change) -> bool:
            return change.id == id and (service is None or change.service == service)

        if not found and not listed:
            return self._merged([shard], before, limit, pack(id), fits)
        return list(filter(fits, (found[seq] for seq in sorted(found, reverse=True))))[:limit]

    def _exactly(self, seq: int) -> Command:
        shard, id = seq % MOST_SHARDS, stream_id(seq)
        return Command(shard, ("XRANGE", stream_key(self._keys, shard), id, id))

    def _merged(
        self,
        shards: Iterable[int],
        before: int | None,
        limit: int,
        needle: bytes | None = None,
        fits: Callable[[Change], bool] | None = None,
    ) -> list[Change]:
        """Merges streams by seq. needle: what is in each entry that fits; others are not decoded."""
        ends_s = time.monotonic() + READ_S
        streams = [_Rest(shard, before) for shard in shards]
        at_once = MOST_AT_ONCE if fits else min(MOST_AT_ONCE, max(8, 2 * limit // max(1, len(streams))))
        heap: list[tuple[int, int]] = []
        asked = list(range(len(streams)))
        found: list[Change] = []
        while len(found) < limit and (asked or heap):
            if asked:
                if self._is_closing():
                    raise StoreError("the store was closed before the query ended")
                if time.monotonic() > ends_s:
                    raise StoreError(f"a query took longer than {READ_S:g} s; ask for changes of all services")
                for at, entries in zip(asked, self._entries([streams[at] for at in asked], at_once), strict=True):
                    streams[at].take(entries, needle, is_last=len(entries) < at_once)
                    streams[at].push(heap, at)
                asked = [at for at in asked if streams[at].goes_on]
                at_once = min(2 * at_once, MOST_AT_ONCE)
                continue
            _, at = heapq.heappop(heap)
            change = unpack_change(*streams[at].found.pop())
            if fits is None or fits(change):
                found.append(change)
            streams[at].push(heap, at)
            if streams[at].goes_on:
                asked = [at]
        return found

    def _entries(self, streams: list[_Rest], at_once: int) -> list[Any]:
        return checked(
            self._link.execute(
                Command(one.shard, ("XREVRANGE", stream_key(self._keys, one.shard), one.upper, "-", "COUNT", at_once))
                for one in streams
            )
        )


class _Rest:
    """The rest of one stream, which was not returned yet."""

    def __init__(self, shard: int, before: int | None) -> None:
        self.shard = shard
        highest = _MOST_ID if before is None else (before - 1 - shard) // MOST_SHARDS
        self.upper = f"{highest}-0" if before is not None else "+"
        self.ended = highest < 0
        if self.ended:
            self.upper = "0-1"
        self.found: list[tuple[int, bytes]] = []
        """The newest last."""

    @property
    def goes_on(self) -> bool:
        return not self.found and not self.ended

    def take(self, entries: Any, needle: bytes | None, *, is_last: bool) -> None:
        read = _read(entries, self.shard)
        self.ended = is_last
        if read:
            self.upper = f"({stream_id(read[-1][0])}"
        self.found = [one for one in reversed(read) if needle is None or needle in one[1]]

    def push(self, heap: list[tuple[int, int]], at: int) -> None:
        if self.found:
            heapq.heappush(heap, (-self.found[-1][0], at))


def _read(entries: Any, shard: int) -> list[tuple[int, bytes]]:
    """Returns seq and change of entries of a stream."""
    return [(seq_of(id, shard), fields[1]) for id, fields in entries]
