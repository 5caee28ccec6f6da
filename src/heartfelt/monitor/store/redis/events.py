# SPDX-License-Identifier: MIT
"""Events. They are in parts by when they were received, `P:{n}:events:<part>`: sorted sets by `at_ms`, in which those
of one time are in the order of their numbers. Parts are spread over the shards.

Reading goes through the parts from the newest on. A filter is applied by a script, in slices that block Redis for about
a millisecond each. An event is never later than its part, so an older part is only opened when a page comes to it.
"""

from __future__ import annotations

import heapq
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import structs

from heartfelt.errors import ConfigError, StoreError
from heartfelt.monitor.model import Level
from heartfelt.monitor.store import READ_S, TEXT_CHARS, TEXT_SCAN, EventCursor, EventFilter, StoredEvent
from heartfelt.monitor.store.queries import text_of
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS, Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import BAD_VALUE, DONE_MS, ValueDamage, checked, pack
from heartfelt.monitor.store.rows import LEVELS, MOST, RANK, event_of, to_json

PART_MS = 6 * 3_600_000
PUT_EVENTS, SCAN_EVENTS = load("put_events"), load("scan_events")
HEADER_BYTES = 25
"""An event is: its number, its level (+ 16 if it has a scope), its time and its reception (8 bytes each), then as
msgpack its service, instance id, address, scope, type and name, which are filtered by, then its info as JSON."""
SLICE = 500
"""Events that one call of a script looks at."""
BYTES_AT_ONCE = 256 << 10
_Row = tuple[int, int, str, bytes]
"""When it was received, its time, its score, the event."""
_HEADER = struct.Struct(">QBqq")
_REST = struct.Struct(">Bqq")
_HAS_SCOPE = 16
_FIELDS = ("services", "instance_ids", "ips", "scopes", "types", "names")
"""Fields of a filter, in the order in which an event has their values."""
_MOST_NUMBER = 1 << 53


class Part(NamedTuple):
    number: int
    shard: int
    ahead_ms: int
    """How much the clock of a sender was ahead at most."""

    @property
    def end_ms(self) -> int:
        return (self.number + 1) * PART_MS


def part_of(received_ms: int) -> int:
    return received_ms // PART_MS


def part_key(keys: Keys, part: int) -> str:
    return keys.shard(part % keys.shards, "events", part)


def parts_key(keys: Keys) -> str:
    return keys.fleet("events")


def figures_key(keys: Keys, shard: int) -> str:
    """The shard's last number of an event, and how much clocks were ahead in each part."""
    return keys.shard(shard, "evfig")


def pack_event(row: tuple[Any, ...]) -> tuple[str, bytes]:
    """Returns the score and the event without its number. Raises one of BAD_VALUE."""
    time_ms, received_ms, service, instance_id, ip, scope, has_scope, rank, kind, name, info = row
    head = _REST.pack(rank + (_HAS_SCOPE if has_scope else 0), time_ms, received_ms)
    words = b"".join(map(pack, (service, instance_id, ip, scope, kind, name)))
    return str(min(time_ms, received_ms)), head + words + info.encode()


class FoundEvent(NamedTuple):
    at_ms: int
    number: int
    data: bytes

    def stored(self) -> StoredEvent:
        words, info = _words(self.data)
        _, level, time_ms, received_ms = _HEADER.unpack_from(self.data)
        service, instance_id, ip, scope, kind, name = words
        row = (self.number, time_ms, received_ms, service, instance_id, ip, scope, bool(level & _HAS_SCOPE),
               level & 15, kind, name, info.decode())  # fmt: skip
        return event_of(row)

    @property
    def level(self) -> Level:
        return LEVELS[self.data[8] & 15]


def _words(data: bytes) -> tuple[list[str], bytes]:
    """Returns the six strings after the header, and the rest. msgspec decodes only whole texts, so the ends are found
    here."""
    at, words = HEADER_BYTES, []
    for _ in range(6):
        first = data[at]
        if first & 0xE0 == 0xA0:
            begin, size = at + 1, first & 31
        elif first == 0xD9:
            begin, size = at + 2, data[at + 1]
        elif first == 0xDA:
            begin, size = at + 3, int.from_bytes(data[at + 1 : at + 3], "big")
        elif first == 0xDB:
            begin, size = at + 5, int.from_bytes(data[at + 1 : at + 5], "big")
        else:
            raise ValueError(f"no text begins with {first:#x}")
        at = begin + size
        words.append(data[begin:at].decode())
    return words, data[at:]


def _found(data: bytes) -> FoundEvent:
    number, _, time_ms, received_ms = _HEADER.unpack_from(data)
    return FoundEvent(min(time_ms, received_ms), number, data)


class PutEvents:
    """Makes the commands that store events. Belongs to the writer's thread."""

    def __init__(self, keys: Keys, writer_id: str) -> None:
        self._keys = keys
        self._writer_id = writer_id
        self._calls = 0

    def commands(self, rows: Iterable[_Row], expires_ms: int) -> Iterator[tuple[Command, int, int]]:
        """Yields commands, how many events each has, and their size."""
        by_part: dict[int, list[_Row]] = {}
        for row in rows:
            by_part.setdefault(part_of(row[0]), []).append(row)
        for part, some in by_part.items():
            yield Command(FLEET, ("ZADD", parts_key(self._keys), part, part)), 0, 0
            for few, size in _batches(some):
                yield self._command(part, few, expires_ms), len(few), size

    def _command(self, part: int, some: list[_Row], expires_ms: int) -> Command:
        shard = part % self._keys.shards
        self._calls += 1
        ahead_ms = max(0, max(time_ms - received_ms for received_ms, time_ms, _, _ in some))
        words: list[Any] = [
            self._calls,
            DONE_MS,
            expires_ms + PART_MS,
            SEQ_EPOCH_MS,
            SEQ_PER_MS,
            MOST_SHARDS,
            shard,
            part,
        ]
        words.append(ahead_ms)
        for _, _, score, data in some:
            words += (score, data)
        done = self._keys.shard(shard, "done", "events", self._writer_id)
        keys = (done, figures_key(self._keys, shard), part_key(self._keys, part))
        return Command(shard, (PUT_EVENTS, *words), keys)


def _batches(some: list[_Row]) -> Iterator[tuple[list[_Row], int]]:
    """Yields events for one call each, with their size."""
    batch: list[_Row] = []
    size = 0
    for row in some:
        if batch and (len(batch) == SLICE or size + len(row[3]) > BYTES_AT_ONCE):
            yield batch, size
            batch, size = [], 0
        batch.append(row)
        size += len(row[3])
    if batch:
        yield batch, size


class Events:
    """Reads. Any thread. Each method blocks, and raises Unreachable, or StoreError if it takes longer than READ_S."""

    def __init__(
        self, link: Link, keys: Keys, damage: ValueDamage | None = None, is_closing: Callable[[], bool] = lambda: False
    ) -> None:
        self._damage = damage or ValueDamage()
        self._link = link
        self._keys = keys
        self.is_closing = is_closing

    def page(self, which: EventFilter, before: EventCursor | int | None, limit: int) -> list[StoredEvent]:
        search = _Search(self, which)
        cursor: EventCursor | None
        if isinstance(before, int):
            cursor = self._place_of(before, search)
            if cursor is None:
                newest = before - 1 if which.newest is None else min(before - 1, which.newest)
                search = _Search(self, structs.replace(which, newest=newest))
        else:
            cursor = before
        found: list[StoredEvent] = []
        if limit <= 0:
            return found
        for looked_at, one in enumerate(search.newest_first(cursor, TEXT_SCAN if which.text else limit), 1):
            if search.has_text(one.data):
                try:
                    found.append(one.stored())
                except BAD_VALUE as error:
                    self._damage.skip(f"event {one.number}: {error}")
                if len(found) == limit:
                    break
            if which.text and looked_at >= TEXT_SCAN:
                break
        return found

    def count(self, which: EventFilter) -> dict[Level, int]:
        search = _Search(self, which)
        if not which.text:
            counts = search.counts()
        else:
            counts = [0, 0, 0]
            for looked_at, one in enumerate(search.newest_first(None, TEXT_SCAN), 1):
                if search.has_text(one.data):
                    counts[RANK[one.level]] += 1
                if looked_at >= TEXT_SCAN:
                    break
        return dict(zip(LEVELS, counts, strict=True))

    def newest(self) -> int:
        """Returns the highest number of an event; 0 if there is none."""
        shards = sorted({part.shard for part in self.parts()})
        commands = [Command(shard, ("HGET", figures_key(self._keys, shard), "last")) for shard in shards]
        last = [
            (int(answer) * MOST_SHARDS + shard)
            for shard, answer in zip(shards, checked(self._link.execute(commands)), strict=True)
            if answer
        ]
        return max(last, default=0)

    def parts(self) -> list[Part]:
        """Returns the parts, the newest first."""
        numbers = [int(one) for one in self._link.call(FLEET, "ZREVRANGE", parts_key(self._keys), 0, -1)]
        shards = [number % self._keys.shards for number in numbers]
        commands = [
            Command(shard, ("HGET", figures_key(self._keys, shard), number))
            for number, shard in zip(numbers, shards, strict=True)
        ]
        answers = checked(self._link.execute(commands))
        return [
            Part(number, shard, int(answer or 0))
            for number, shard, answer in zip(numbers, shards, answers, strict=True)
        ]

    def scan(self, part: Part, wanted: dict[str, Any]) -> list[Any]:
        answer = self._link.call(part.shard, SCAN_EVENTS, pack(wanted), keys=(part_key(self._keys, part.number),))
        return list(answer)

    def _place_of(self, number: int, search: _Search) -> EventCursor | None:
        """Returns the cursor of the event with this number; None if there is none."""
        if not 0 < number < _MOST_NUMBER:
            return None
        for part in self.parts():
            if part.shard != number % MOST_SHARDS:
                continue
            exactly = {"newest": number, "oldest": number}
            for one in search.walk(part, exactly, None, 1):
                return EventCursor(one.at_ms, one.number)
        return None


class _Search:
    """One query. Parts are opened when they are needed."""

    def __init__(self, events: Events, which: EventFilter) -> None:
        if len(which.text) > TEXT_CHARS:
            raise ConfigError(
                f"the text to search for has {len(which.text)} characters; the limit is {TEXT_CHARS}: use a shorter one"
            )
        self._events = events
        self._wanted = _wanted(which)
        self._which = which
        self._ends_s = time.monotonic() + READ_S
        self.has_text = _matcher(which.text)

    def newest_first(self, cursor: EventCursor | None, limit: int) -> Iterator[FoundEvent]:
        """Merges the parts: those that are open are in a heap, with their next event."""
        parts = self._parts()[::-1]
        heap: list[tuple[int, int, int, FoundEvent, Iterator[FoundEvent]]] = []
        opened = 0
        while True:
            while parts and (not heap or parts[-1].end_ms > -heap[0][0]):
                opened += 1
                walk = self.walk(parts.pop(), self._wanted, cursor, limit)
                for one in walk:
                    heapq.heappush(heap, (-one.at_ms, -one.number, opened, one, walk))
                    break
            if not heap:
                return
            _, _, at, one, walk = heap[0]
            yield one
            for following in walk:
                heapq.heapreplace(heap, (-following.at_ms, -following.number, at, following, walk))
                break
            else:
                heapq.heappop(heap)

    def counts(self) -> list[int]:
        sums = [0, 0, 0]
        for part in self._parts():
            for answer in self._slices(part, self._wanted | {"count": True}, None, 1 << 31):
                sums = [a + int(b) for a, b in zip(sums, answer[2], strict=True)]
        return sums

    def _parts(self) -> list[Part]:
        parts = self._events.parts()
        start = self._which.start_ms
        return parts if start is None else [part for part in parts if part.end_ms + part.ahead_ms > start]

    def walk(self, part: Part, wanted: dict[str, Any], cursor: EventCursor | None, limit: int) -> Iterator[FoundEvent]:
        """Yields the events of a part that match, the newest first."""
        for answer in self._slices(part, wanted, cursor, min(limit, SLICE)):
            yield from map(_found, answer[3])

    def _slices(self, part: Part, wanted: dict[str, Any], cursor: EventCursor | None, want: int) -> Iterator[list[Any]]:
        end_ms, start_ms = self._which.end_ms, self._which.start_ms
        if end_ms is not None and (cursor is None or cursor.at_ms > end_ms):
            cursor = EventCursor(end_ms, MOST)  # `at_ms` is never later than `time_ms`
        low = None if start_ms is None else start_ms - part.ahead_ms
        plain = not wanted.keys() - {"count"}
        while True:
            if self._events.is_closing():
                raise StoreError("the store was closed before the query ended")
            if time.monotonic() > self._ends_s:
                raise StoreError(f"a query took longer than {READ_S:g} s; ask for fewer services or a shorter period")
            scan = max(1, min(want, SLICE)) if plain and "count" not in wanted else SLICE
            asked = wanted | {"scan": scan, "want": want}
            if cursor is not None:
                asked |= {"at": str(cursor.at_ms), "number": cursor.number}
            answer = self._events.scan(part, asked)
            yield answer
            if answer[0] or len(answer[1]) < HEADER_BYTES:
                return
            number, _, time_ms, received_ms = _HEADER.unpack(answer[1])
            cursor = EventCursor(min(time_ms, received_ms), number)
            if low is not None and cursor.at_ms < low:
                return


def _wanted(which: EventFilter) -> dict[str, Any]:
    """Returns what the script compares."""
    wanted: dict[str, Any] = {}
    fields: dict[int, dict[str, bool]] = {}
    needle = ""
    for at, name in enumerate(_FIELDS, 1):
        values = {text_of(value): True for value in getattr(which, name)}
        if values:
            fields[at] = values
            if len(values) == 1 and name != "scopes":
                needle = max(needle, next(iter(values)), key=len)
    if fields:
        wanted["fields"] = fields
    if needle:
        wanted["needle"] = needle
    if which.levels:
        wanted["levels"] = [level in which.levels for level in LEVELS]
    if which.start_ms is not None:
        wanted["from"] = max(-MOST, min(which.start_ms, MOST))
    if which.end_ms is not None:
        wanted["to"] = max(-MOST, min(which.end_ms, MOST))
    if which.newest is not None:
        wanted["newest"] = max(-1, min(which.newest, MOST))
    return wanted


def _matcher(text: str) -> Callable[[bytes], bool]:
    """Compares without regard to the case of ASCII letters, as SQLite's LIKE does."""
    if not text:
        return lambda data: True
    as_json = to_json(text)[1:-1].encode().lower()
    plain = text_of(text).encode().lower()

    def matches(data: bytes) -> bool:
        lower = data[HEADER_BYTES:].lower()
        if as_json not in lower and plain not in lower:
            return False
        words, info = _words(data)
        return as_json in info.lower() or any(plain in word.encode().lower() for word in words[:5])

    return matches
