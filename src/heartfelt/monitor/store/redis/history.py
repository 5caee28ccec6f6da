# SPDX-License-Identifier: MIT
"""Changes and runs.

Accepted changes are in the stream `ev` of their shard, which the leases' script writes. A list `P:{n}:hist:<id>` has
the seqs of the newest changes of one instance, from the first one on that is more than that it joined and came up: an
instance without such news has no key of its own, and its monitor knows where its changes are. A sorted
set `P:{n}:svc:<digest>` has those of a service, to which several monitors add at once.
"""

from __future__ import annotations

import hashlib
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Change, Run
from heartfelt.monitor.store import OPEN_RUNS, READ_S, RUNS_KEPT
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, Keys
from heartfelt.monitor.store.redis.link import Command, Link, Script
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_change
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import (
    ValueDamage,
    checked,
    pack,
    pack_run,
    pairs_of,
    run_of,
    seq_of,
    stream_id,
    stream_id_at,
)
from heartfelt.monitor.store.rows import slices

FORGET, PUT_RUN, PUT_SEQS = load("forget"), load("put_run"), load("put_seqs")
PUT_SERVICE_SEQS, SCAN_CHANGES = load("put_service_seqs"), load("scan_changes")
SEQS_OF_INSTANCE = 50
"""How many of the newest changes of an instance are in its list."""
SEQS_OF_SERVICE = 128
"""The same for a service: as many as Redis keeps in a few bytes each."""
LISTS_AT_ONCE = 100
SLICE = 500
"""Changes of one shard in one command."""
WINDOW_MS = 2000
"""How long after its time a change was accepted at most, if it is looked for by its time."""


def stream_key(keys: Keys, shard: int) -> str:
    return keys.shard(shard, "ev")


def shard_of_id(keys: Keys, id: int) -> int:
    """Returns the shard of an instance, by an id that Redis gave."""
    return Keys.shard_of_id(id) % keys.shards


# -- writing


def is_news(change: Change) -> bool:
    """Whether the change is more than that an instance joined, or came up for the first time."""
    return not (change.old is None or (change.old.value == "NEW" and change.new.value == "UP"))


def put_seqs(
    keys: Keys, of_instances: Mapping[int, Sequence[int]], of_services: Mapping[str, Sequence[int]], expires_ms: int
) -> Iterator[tuple[Command, int]]:
    """Makes what adds the seqs of changes to lists and sets. Yields commands, and how many lists each adds to."""
    by_shard: dict[tuple[int, Script], list[tuple[str, Sequence[int]]]] = {}
    for id, seqs in of_instances.items():
        shard = shard_of_id(keys, id)
        by_shard.setdefault((shard, PUT_SEQS), []).append((keys.shard(shard, "hist", id), seqs[-SEQS_OF_INSTANCE:]))
    for service, seqs in of_services.items():
        shard, key = _service_set(keys, service)
        newest = sorted(seqs)[-SEQS_OF_SERVICE:]
        by_shard.setdefault((shard, PUT_SERVICE_SEQS), []).append((key, newest))
    for (shard, script), lists in by_shard.items():
        most = SEQS_OF_INSTANCE if script is PUT_SEQS else SEQS_OF_SERVICE
        for some in slices(lists, LISTS_AT_ONCE):
            words = (script, expires_ms, most, *(pack(seqs) for _, seqs in some))
            yield Command(shard, words, [key for key, _ in some]), len(some)


def _service_set(keys: Keys, service: str) -> tuple[int, str]:
    """Returns the shard and the key of the set of a service. Two services may have the same."""
    digest = hashlib.blake2b(_bytes(service), digest_size=8).digest()
    shard = digest[0] % keys.shards
    return shard, keys.shard(shard, "svc", digest.hex())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


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


class ChangeHistory:
    """Reads changes, the newest first."""

    def __init__(
        self, link: Link, keys: Keys, damage: ValueDamage | None = None, is_closing: Callable[[], bool] = lambda: False
    ) -> None:
        self._damage = damage or ValueDamage()
        self._link = link
        self._keys = keys
        self._is_closing = is_closing

    def page(self, service: str | None, before: int | None, limit: int) -> list[Change]:
        """Finds those of a service by its set, and older ones by reading the streams."""
        shards = range(self._keys.shards)
        if service is None:
            return self._merged(shards, before, limit)

        def fits(change: Change) -> bool:
            return change.service == service

        shard, key = _service_set(self._keys, service)
        listed = list(map(int, self._link.call(shard, "ZREVRANGE", key, 0, -1)))
        found: list[Change] = []
        for some in slices([seq for seq in listed if before is None or seq < before], max(1, limit)):
            found += filter(fits, self._exactly(some).values())
            if len(found) >= limit:
                return found[:limit]
        if len(listed) < SEQS_OF_SERVICE:
            return found
        before = listed[-1] if before is None else min(before, listed[-1])
        return found + self._merged(shards, before, limit - len(found), _bytes(service), fits)

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
            words = ("XRANGE", stream_key(self._keys, shard), low, high, "COUNT", SLICE)
            asked.append(Command(shard, words))
        listed, *windows = checked(self._link.execute(asked))
        seqs = sorted({*map(int, listed), *more_seqs}, reverse=True)
        seqs = [seq for seq in seqs if before is None or seq < before][:limit]
        found = {seq: change for seq, change in self._exactly(seqs).items() if change.id == id}
        for seq, data in (one for some in windows for one in _read(some, shard)):
            if seq not in found and (before is None or seq < before):
                change = self._read_change(seq, data)
                if change is not None and change.id == id:
                    found[seq] = change

        def fits(change: Change) -> bool:
            return change.id == id and (service is None or change.service == service)

        if not found and not listed:
            return self._merged([shard], before, limit, pack(id), fits)
        return list(filter(fits, (found[seq] for seq in sorted(found, reverse=True))))[:limit]

    def _exactly(self, seqs: Iterable[int]) -> dict[int, Change]:
        """Returns these changes, as far as the streams still have them, in this order."""
        seqs = list(seqs)
        commands = []
        for seq in seqs:
            shard, id = seq % MOST_SHARDS, stream_id(seq)
            commands.append(Command(shard, ("XRANGE", stream_key(self._keys, shard), id, id)))
        found = zip(seqs, checked(self._link.execute(commands)), strict=True)
        changes = ((seq, self._read_change(seq, one[0][1][1])) for seq, one in found if one)
        return {seq: change for seq, change in changes if change is not None}

    def _read_change(self, seq: int, data: bytes) -> Change | None:
        try:
            return unpack_change(seq, data)
        except Unreadable as error:
            self._damage.skip(f"change {seq}: {error}")
            return None

    def _merged(
        self,
        shards: Iterable[int],
        before: int | None,
        limit: int,
        needle: bytes | None = None,
        fits: Callable[[Change], bool] | None = None,
    ) -> list[Change]:
        """Merges streams by seq. needle: what each change that fits contains; others are not even transferred."""
        ends_s = time.monotonic() + READ_S
        streams = [_Rest(shard, before) for shard in shards]
        at_once = SLICE if needle is not None else min(SLICE, max(8, 2 * limit // max(1, len(streams))))
        heap: list[tuple[int, int]] = []
        asked = list(range(len(streams)))
        found: list[Change] = []
        while len(found) < limit and (asked or heap):
            if asked:
                if self._is_closing():
                    raise StoreError("the store was closed before the query ended")
                if time.monotonic() > ends_s:
                    raise StoreError(f"a query took longer than {READ_S:g} s; ask for changes of all services")
                replies = checked(self._link.execute(self._ask(streams[at], at_once, needle) for at in asked))
                for at, reply in zip(asked, replies, strict=True):
                    streams[at].take(reply, at_once, scanned=needle is not None)
                    streams[at].push(heap, at)
                asked = [at for at in asked if streams[at].goes_on]
                at_once = min(2 * at_once, SLICE)
                continue
            _, at = heapq.heappop(heap)
            change = self._read_change(*streams[at].found.pop())
            if change is not None and (fits is None or fits(change)):
                found.append(change)
            streams[at].push(heap, at)
            if streams[at].goes_on:
                asked = [at]
        return found

    def _ask(self, rest: _Rest, at_once: int, needle: bytes | None) -> Command:
        key = stream_key(self._keys, rest.shard)
        if needle is None:
            return Command(rest.shard, ("XREVRANGE", key, rest.upper, "-", "COUNT", at_once))
        return Command(rest.shard, (SCAN_CHANGES, rest.upper, at_once, needle), (key,))


class _Rest:
    """The rest of one stream, which was not returned yet."""

    def __init__(self, shard: int, before: int | None) -> None:
        self.shard = shard
        self.upper = "+" if before is None else f"{max(0, (before - 1 - shard) // MOST_SHARDS)}-0"
        self.ended = False
        self.found: list[tuple[int, bytes]] = []
        """The newest last."""

    @property
    def goes_on(self) -> bool:
        return not self.found and not self.ended

    def take(self, reply: Any, at_once: int, *, scanned: bool) -> None:
        if scanned:
            n, last, *flat = reply
            self.found = [(seq_of(id, self.shard), data) for id, data in pairs_of(flat)][::-1]
        else:
            n, last = len(reply), reply[-1][0] if reply else b""
            self.found = _read(reply, self.shard)[::-1]
        self.ended = n < at_once
        self.upper = f"({last.decode()}"

    def push(self, heap: list[tuple[int, int]], at: int) -> None:
        if self.found:
            heapq.heappush(heap, (-self.found[-1][0], at))


def _read(entries: Any, shard: int) -> list[tuple[int, bytes]]:
    """Returns seq and change of entries of a stream."""
    return [(seq_of(id, shard), fields[1]) for id, fields in entries]
