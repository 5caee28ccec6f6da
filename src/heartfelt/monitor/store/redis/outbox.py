# SPDX-License-Identifier: MIT
"""The outbox on Redis: deliveries, and what targets were told.

All of it has the tag {f}, so it is on one server: a claim looks at all targets, and numbers grow over all of them. With
a tag for each target, a claim would be a script for each of them, and none could choose the most urgent. One server
takes tens of thousands of deliveries a second, which is more than targets do.

A delivery is a row in `rows`, which changes, and an entry in the stream `log`, which does not. `keys` and the stream of
its target lead to it until it is deleted, all other indexes until it is settled. `due` has only the oldest delivery of
each target and subject, also while it is claimed. Targets, subjects and keys are digests in all of them, so that names
of any bytes and lengths do no harm.

A claim has a token. The result of a call by a former claimer counts only if it is that the delivery is done.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from heartfelt.monitor.store import LEASE_MS, Backlog, Delivery, Who
from heartfelt.monitor.store import Keys as DeliveryKeys
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import DeliveryRow
from heartfelt.monitor.store.redis.keys import Keys, name_of, parts_of
from heartfelt.monitor.store.redis.link import FLEET, Command, Link, Script
from heartfelt.monitor.store.rows import DELIVERY_STATES, LEVELS, from_json, to_json

__all__ = ["RedisOutbox", "Trimmed"]

_log = logging.getLogger("heartfelt.monitor.store")

BATCH = 100
"""The most deliveries that one script changes."""
BATCH_BYTES = 512 << 10
PAGE = 200
"""The most that one command returns."""
MOST_CLAIMS = 100_000
MOST_MS = (1 << 53) - 1
_ROW = struct.Struct(">BBIQQ8s12s12s12s")
_NUMBER = struct.Struct(">Q")
_ROOM = struct.Struct(">12sH")
_PARTS = ("number", "rows", "keys", "log", "open", "queue", "levels", "due", "first", "targets")
"""The keys of every script, in the order of outbox_lib.lua."""
_FAULTS = (ValueError, TypeError, KeyError, RecursionError, struct.error, msgspec.DecodeError)
assert len(LEVELS) == 3, "outbox_lib.lua counts the levels"


@functools.cache
def _script(name: str) -> Script:
    folder = Path(__file__).with_name("scripts")
    texts = [(folder / f"outbox_{part}.lua").read_text(encoding="utf-8") for part in ("lib", name)]
    return Script(f"outbox_{name}", "".join(texts))


class Trimmed(NamedTuple):
    removed: int
    unsent: int
    """Those among `removed` that had been neither done nor given up."""
    more: bool
    """There may be more to remove."""


class _Claim(NamedTuple):
    token: bytes
    key: bytes
    """The digest of target and key, which another delivery of this number would not have."""


class RedisOutbox:
    """Methods with the names of `Store`'s do the same, but block. Each raises Unreachable: whether it was done is not
    known then, and it may be called again. Any thread.

    claimer: who claims, other than all others; a call whose answer was lost is recognized by it.
    """

    def __init__(self, link: Link, keys: Keys, *, logger: logging.Logger = _log, claimer: str | None = None) -> None:
        self._link = link
        self._keys = [keys.fleet("out", part) for part in _PARTS]
        self._rows, self._by_key, self._stream, self._names = (self._keys[at] for at in (1, 2, 3, 9))
        self._fleet = keys.fleet
        self._claimed_by = keys.fleet("out", "claim", claimer or os.urandom(16).hex())
        self._claiming = threading.Lock()
        self._lost = b""
        """The token of a call without an answer."""
        self._claims: dict[int, _Claim] = {}
        self._damage_log = OutageLog(logger, "the outbox in Redis can be read again")
        self.damaged = 0
        """Deliveries and entries of `told` that could not be read, and were left out."""

    def _run(self, name: str, *arguments: Any, more: Sequence[str] = ()) -> Any:
        return self._link.call(FLEET, _script(name), *arguments, keys=[*self._keys, *more])

    def _of(self, target: bytes) -> str:
        return self._fleet("out", "of", target.hex())

    # -- putting

    def put_deliveries(self, rows: Iterable[DeliveryRow]) -> int:
        """Puts deliveries whose key was not put for their target before, and returns how many are new."""
        return sum(self._put(batch) for batch in _batches(rows))

    def _put(self, rows: list[DeliveryRow]) -> int:
        streams: dict[str, int] = {}
        arguments: list[Any] = []
        for target, key, payload, created_ms, subject, level in rows:
            digest = _digest(target)
            stream = streams.setdefault(self._of(digest), len(streams) + 1)
            arguments += digest, _digest(target, subject), _digest(target, key), level, _bounded(created_ms)
            arguments += stream, _bytes(target), _bytes(key), _bytes(payload)
        return int(self._run("put", *arguments, more=list(streams)))

    # -- claiming and finishing

    def next_deliveries(self, now_ms: int, limit: int, room: Mapping[str, int] | None = None) -> list[Delivery]:
        """Takes at most BATCH."""
        limit = min(limit, BATCH)
        rooms = {_digest(target): max(0, most) for target, most in (room or {}).items() if most < limit}
        with self._claiming:
            token, lost, self._lost = os.urandom(8), self._lost, b""
            try:
                found = self._claim(_bounded(now_ms), limit, rooms, token, lost)
            except Exception:
                self._lost = token
                raise
            return found

    def _claim(self, now_ms: int, limit: int, rooms: dict[bytes, int], token: bytes, lost: bytes) -> list[Delivery]:
        packed = b"".join(_ROOM.pack(target, most) for target, most in rooms.items())
        reply = self._run("claim", now_ms, LEASE_MS, limit, token, lost, packed, more=[self._claimed_by])
        if reply[0]:
            self._damage(f"{reply[0]} deliveries that wait have no row", reply[0])
        numbers = [_NUMBER.unpack(number)[0] for number in reply[1::2]]
        found = []
        for number, row, entry in zip(numbers, reply[2::2], self._entries(numbers), strict=True):
            delivery = self._delivery(number, row, entry)
            self._claims[number] = _Claim(token, row[54:66])
            if delivery is None:  # so that it is not found again
                self.finish_delivery(number, ok=False, retry_at_ms=None, answer="the stored message cannot be read")
            else:
                found.append(delivery)
        while len(self._claims) > MOST_CLAIMS:
            self._claims.pop(next(iter(self._claims)), None)
        return found

    def finish_delivery(
        self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str, tried: bool = True
    ) -> None:
        """`ok=False` does nothing if the delivery was not claimed by this object, or by another one since."""
        claim = self._claims.get(number) or _Claim(b"", b"")
        retry: int | str = "" if retry_at_ms is None else _bounded(retry_at_ms)
        try:
            packed = _NUMBER.pack(number)
        except struct.error:
            return  # no delivery has such a number
        self._run("finish", packed, claim.key, claim.token, int(ok), retry, _bytes(answer), int(tried))
        self._claims.pop(number, None)

    # -- all that waits for a target

    def drop_deliveries(self, target: str, answer: str, *, forget: bool = False) -> int:
        """In several steps: what another monitor puts meanwhile is not dropped."""
        digest, highest, dropped, more = _digest(target), b"", 0, True
        if forget:
            self._forget(digest)
        while more:
            n, more, highest = self._run("drop", digest, _bytes(answer), BATCH, highest)
            dropped += n
        return dropped

    def hasten_deliveries(self, target: str, now_ms: int) -> None:
        digest = _digest(target)
        for level in range(len(LEVELS)):
            after = b""
            while True:
                after = self._run("hasten", digest, level, _bounded(now_ms), BATCH, after)
                if not after:
                    break

    # -- reading

    def delivery_states(self, target: str, keys: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for some in _slices(list(keys), PAGE):
            digests = [_digest(target, key) for key in some]
            numbers = self._link.call(FLEET, "HMGET", self._by_key, *digests)
            stored = {key: number for key, number in zip(some, numbers, strict=True) if number is not None}
            if stored:
                rows = self._link.call(FLEET, "HMGET", self._rows, *stored.values())
                for key, row in zip(stored, rows, strict=True):
                    if row and row[0] < len(DELIVERY_STATES):
                        found[key] = DELIVERY_STATES[row[0]]
        return found

    def waiting_deliveries(self, unwritten: Callable[[], Iterable[DeliveryRow]] = tuple) -> dict[str, Backlog]:
        """unwritten: returns rows that are queued; see deliveries.waiting."""
        found: dict[str, tuple[int, int]] = {}
        after, is_first = b"", True
        while after or is_first:
            after, *flat = self._run("waiting", after, PAGE)
            is_first = False
            for name, count, oldest_ms in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
                found[_text(name)] = (count, oldest_ms)
        for target, _, _, created_ms, _, _ in unwritten():
            n, oldest_ms = found.get(target, (0, created_ms))
            found[target] = (n + 1, min(oldest_ms, created_ms))
        return {target: Backlog(count=n, oldest_ms=oldest_ms) for target, (n, oldest_ms) in found.items()}

    def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]:
        stream = self._stream if target is None else self._of(_digest(target))
        found: list[Delivery] = []
        end = "+" if before is None else _before(before)
        while len(found) < limit:
            count = min(limit - len(found), PAGE)
            entries = self._link.call(FLEET, "XREVRANGE", stream, end, "-", "COUNT", count)
            numbers = [_number_of(id) for id, _ in entries]
            if not numbers:
                break
            bodies = [fields for _, fields in entries] if target is None else self._entries(numbers)
            rows = self._link.call(FLEET, "HMGET", self._rows, *map(_NUMBER.pack, numbers))
            for number, row, body in zip(numbers, rows, bodies, strict=True):
                delivery = None if row is None else self._delivery(number, row, body)
                if delivery is not None:
                    found.append(delivery)
            if len(numbers) < count:
                break
            end = _before(numbers[-1])
        return found

    def _entries(self, numbers: Sequence[int]) -> list[list[bytes] | None]:
        """Returns the fields of these deliveries in the log; None: it has none."""
        replies = self._link.execute(
            Command(FLEET, ("XRANGE", self._stream, f"{number}-0", f"{number}-0")) for number in numbers
        )
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [reply[0][1] if reply else None for reply in replies]

    def _delivery(self, number: int, row: bytes, entry: list[bytes] | None) -> Delivery | None:
        try:
            state, _, attempts, next_ms, created_ms, *_ = _ROW.unpack_from(row)
            if entry is None:
                raise ValueError("its message is missing")
            body = dict(_pairs(entry))
            return Delivery(
                number=number,
                target=_text(body[b"t"]),
                key=_text(body[b"k"]),
                payload=from_json(_text(body[b"p"])),
                created_ms=created_ms,
                attempts=attempts,
                state=DELIVERY_STATES[state],
                next_ms=next_ms if state < 2 and next_ms else None,
                answer=_text(row[_ROW.size :]),
            )
        except (*_FAULTS, IndexError) as error:
            self._damage(f"delivery {number} cannot be read: {error}")
            return None

    def _damage(self, text: str, count: int = 1) -> None:
        self.damaged += count
        self._damage_log.failed(f"left out, because the outbox in Redis is damaged: {text}")

    # -- what targets were told

    def put_told(self, target: str, instances: Mapping[Who, DeliveryKeys | None]) -> None:
        digest = _digest(target)
        key = self._fleet("told", digest.hex())
        told = [(name_of(*who), to_json(keys)) for who, keys in instances.items() if keys is not None]
        over = [name_of(*who) for who, keys in instances.items() if keys is None]
        commands = [Command(FLEET, ("HSET", self._fleet("told"), digest, _bytes(target)))] if told else []
        commands += [Command(FLEET, ("HSET", key, *itertools.chain(*some))) for some in _slices(told, PAGE)]
        commands += [Command(FLEET, ("HDEL", key, *some)) for some in _slices(over, PAGE)]
        for reply in self._link.execute(commands):
            if isinstance(reply, Exception):
                raise reply

    def told(self) -> dict[str, dict[Who, DeliveryKeys]]:
        found: dict[str, dict[Who, DeliveryKeys]] = {}
        for digest, target in _pairs(self._link.call(FLEET, "HGETALL", self._fleet("told"))):
            key, cursor, is_first = self._fleet("told", digest.hex()), b"0", True
            while is_first or int(cursor):
                is_first = False
                cursor, flat = self._link.call(FLEET, "HSCAN", key, cursor, "COUNT", PAGE)
                for name, value in _pairs(flat):
                    try:
                        who, keys = parts_of(name), msgspec.convert(from_json(_text(value)), tuple[str, ...])
                        found.setdefault(_text(target), {})[who] = keys
                    except (*_FAULTS, msgspec.ValidationError) as error:
                        self._damage(f"what the target {_text(target)!r} was told of {name!r}: {error}")
        return found

    def _forget(self, target: bytes) -> None:
        self._link.call(FLEET, "UNLINK", self._fleet("told", target.hex()))
        self._link.call(FLEET, "HDEL", self._fleet("told"), target)

    # -- retention

    def trim(self, before_ms: int, most: int = BATCH) -> Trimmed:
        """Deletes deliveries that were put before `before_ms` among the `most` oldest, also those that still wait. Then
        their keys may be put again."""
        entries = self._link.call(FLEET, "XRANGE", self._stream, "-", "+", "COUNT", min(most, BATCH))
        numbers = [_NUMBER.pack(_number_of(id)) for id, _ in entries]
        rows = self._link.call(FLEET, "HMGET", self._rows, *numbers) if numbers else []
        streams: dict[str, int] = {}
        arguments: list[Any] = []
        for number, row, (_, fields) in zip(numbers, rows, entries, strict=True):
            if row is None or len(row) < _ROW.size or _ROW.unpack_from(row)[4] < before_ms:
                target = dict(_pairs(fields)).get(b"t", b"")
                arguments += number, streams.setdefault(self._of(_digest(_text(target))), len(streams) + 1)
        if not arguments:
            return Trimmed(0, 0, False)
        removed, unsent = self._run("remove", _bounded(before_ms), *arguments, more=list(streams))
        return Trimmed(removed, unsent, len(arguments) // 2 >= min(most, BATCH))


def _digest(*texts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        data = _bytes(text)
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _bounded(ms: int) -> int:
    return max(1, min(ms, MOST_MS))


def _number_of(id: bytes) -> int:
    return int(id.partition(b"-")[0])


def _before(number: int) -> str:
    """Returns the last id of a stream that is before this number."""
    return "0-0" if number <= 0 else f"{min(number, MOST_MS) - 1}-1"


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _slices(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _batches(rows: Iterable[DeliveryRow]) -> Iterator[list[DeliveryRow]]:
    batch: list[DeliveryRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1]) + len(row[2])
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
