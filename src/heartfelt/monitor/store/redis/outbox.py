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

import itertools
import logging
import os
import secrets
import struct
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from heartfelt.monitor.store import LEASE_MS, Delivery, Superseded, Who
from heartfelt.monitor.store import Keys as DeliveryKeys
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import DeliveryRow
from heartfelt.monitor.store.redis.keys import Keys, name_of, parts_of
from heartfelt.monitor.store.redis.link import FLEET, Command, Link
from heartfelt.monitor.store.redis.outbox_layout import (
    BATCH,
    COUNT,
    MOST_COUNT,
    NUMBER,
    ROOM,
    ROW,
    batches,
    bounded,
    bytes_of,
    digest_of,
    mark_of,
    number_of,
    text_of,
)
from heartfelt.monitor.store.redis.outbox_reading import FAULTS, PAGE, OutboxReader
from heartfelt.monitor.store.redis.values import checked, pairs_of
from heartfelt.monitor.store.rows import LEVELS, from_json, slices, to_json

__all__ = ["BATCH", "RedisOutbox", "Trimmed"]

_log = logging.getLogger("heartfelt.monitor.store")

MOST_CLAIMS = 100_000
_INTERRUPTED = "the monitor that sent it leads no more"


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


class RedisOutbox(OutboxReader):
    """Methods with the names of `Store`'s do the same, but block. Each raises Unreachable: whether it was done is not
    known then, and it may be called again. Any thread.

    claimer: who claims, other than all others; a call whose answer was lost is recognized by it.
    """

    def __init__(self, link: Link, keys: Keys, *, logger: logging.Logger = _log, claimer: str | None = None) -> None:
        super().__init__(link, keys, logger)
        self.claimer = claimer = claimer or os.urandom(16).hex()
        self._claimed_by = keys.fleet("out", "claim", claimer)
        self._tokens = (mark_of(claimer) + COUNT.pack(n & MOST_COUNT) for n in itertools.count(secrets.randbits(32)))
        self._claiming = threading.Lock()
        self._fence = self._written = 0
        self._lost = b""
        """The token of a call without an answer."""
        self._claims: dict[int, _Claim] = {}
        self._unrecorded: dict[int, tuple[bool, int | None, str, bool]] = {}  # results that Redis may not have
        self._gives_back = False
        self._refused_log = OutageLog(logger, "this monitor leads again")
        self.refused = 0
        """Deliveries and entries of `told` that were left out, because another monitor leads."""

    # -- putting

    def put_deliveries(self, rows: Iterable[DeliveryRow]) -> int:
        """Puts deliveries whose key was not put for their target before, and returns how many are new. They are left
        out if another monitor leads, which puts the same."""
        return sum(self._put(batch) for batch in batches(rows))

    def _put(self, rows: list[DeliveryRow]) -> int:
        streams: dict[str, int] = {}
        arguments: list[Any] = [self._fence, self._written]
        for target, key, payload, created_ms, subject, level in rows:
            digest = digest_of(target)
            stream = streams.setdefault(self._of(digest), len(streams) + 1)
            arguments += digest, digest_of(target, subject), digest_of(target, key), level, bounded(created_ms)
            arguments += stream, bytes_of(target), bytes_of(key), bytes_of(payload)
        return self._unless_refused(self._run("put", *arguments, more=list(streams)), len(rows))

    # -- the monitor that leads

    def lead(self, fence: int) -> Any:
        """Makes this the one that puts: what others put, whose fence is lower, is left out from now on. Returns the
        position that was stored last; None: there is none. Raises Superseded if another one with a higher fence leads.
        Without a leader, everybody may put."""
        self._fence, self._written = fence, 0
        position = self._lead()
        return None if position is None else from_json(text_of(position))

    def put_position(self, value: Any) -> None:
        """Must be called after the deliveries up to this position are put. Raises Superseded if another monitor leads,
        or a replica has taken over that does not have all that this one has put: then it must `lead` again, and go on
        from the position that is there."""
        self._lead(to_json(value).encode())

    def _lead(self, *position: bytes) -> bytes | None:
        reply = self._run("lead", self._fence, self._written, *position)
        if not reply:
            raise Superseded(
                f"another monitor leads now, or Redis has lost writes: the outbox takes nothing more from the fence "
                f"{self._fence}"
            )
        self._written, *found = reply
        return found[0] if found else None

    def _unless_refused(self, reply: list[int], count: int) -> int:
        if reply:
            new, self._written = reply
            return new
        self.refused += count
        self._refused_log.failed("left out what this monitor still had for the outbox: another one puts it")
        return 0

    # -- claiming and finishing

    def next_deliveries(self, now_ms: int, limit: int, room: Mapping[str, int] | None = None) -> list[Delivery]:
        """Takes at most BATCH."""
        limit = min(limit, BATCH)
        rooms = {digest_of(target): max(0, most) for target, most in (room or {}).items() if most < limit}
        with self._claiming:
            token, lost, self._lost = next(self._tokens), self._lost, b""
            try:
                found = self._claim(bounded(now_ms), limit, rooms, token, lost)
            except Exception:
                self._lost = token
                raise
            return found

    def _claim(self, now_ms: int, limit: int, rooms: dict[bytes, int], token: bytes, lost: bytes) -> list[Delivery]:
        packed = b"".join(ROOM.pack(target, most) for target, most in rooms.items())
        reply = self._run("claim", now_ms, LEASE_MS, limit, token, lost, packed, more=[self._claimed_by])
        if reply[0]:
            self._damage(f"{reply[0]} deliveries that wait have no row", reply[0])
        numbers = [NUMBER.unpack(number)[0] for number in reply[1::2]]
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
        while len(self._unrecorded) > MOST_CLAIMS:
            self._unrecorded.pop(next(iter(self._unrecorded)), None)
        return found

    def finish_delivery(
        self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str, tried: bool = True
    ) -> None:
        """`ok=False` does nothing if the delivery was not claimed by this object, or by another one since."""
        claim = self._claims.get(number) or _Claim(b"", b"")
        retry: int | str = "" if retry_at_ms is None else bounded(retry_at_ms)
        try:
            packed = NUMBER.pack(number)
        except struct.error:
            return  # no delivery has such a number
        self._unrecorded[number] = (ok, retry_at_ms, answer, tried)
        self._run("finish", packed, claim.key, claim.token, int(ok), retry, bytes_of(answer), int(tried))
        self._claims.pop(number, None)
        self._unrecorded.pop(number, None)

    def end_claims(self) -> None:
        """Says that nothing is sent any more of what was claimed so far. Never waits."""
        self._gives_back = True

    def give_back(self) -> bool:
        """After `end_claims`, records what could not be recorded, and lets others claim the rest, who would wait for
        the end of each claim. Returns whether nothing is left of that; a claim that is being made ends first."""
        if not self._gives_back:
            return True
        if not self._claiming.acquire(blocking=False):
            return False
        try:
            if self._lost:
                self._run("claim", 1, LEASE_MS, 0, next(self._tokens), self._lost, b"", more=[self._claimed_by])
                self._lost = b""
            now_ms = self._link.now_ms(FLEET)
            for number in {**self._claims, **self._unrecorded}:
                ok, retry_at_ms, answer, tried = self._unrecorded.get(number, (False, now_ms, _INTERRUPTED, False))
                self.finish_delivery(number, ok=ok, retry_at_ms=retry_at_ms, answer=answer, tried=tried)
            self._gives_back = False
        finally:
            self._claiming.release()
        return True

    def free_claims(self, living: Iterable[str], now_ms: int) -> int:
        """Lets others claim at once what was claimed by monitors that live no more, and returns how many deliveries
        that are. living: the claimers that go on. Must `lead` before. Raises Superseded."""
        marks = b"".join(sorted(map(mark_of, living)))
        after, freed, is_first = b"", 0, True
        while after or is_first:
            reply = self._run("free", self._fence, self._written, now_ms, BATCH, after, _INTERRUPTED, marks)
            if not reply:
                raise Superseded(
                    f"another monitor leads now, which frees the claims, and not the one with the fence {self._fence}"
                )
            n, self._written, after = reply
            freed, is_first = freed + n, False
        return freed

    # -- all that waits for a target

    def drop_deliveries(self, target: str, answer: str, *, forget: bool = False) -> int:
        """In several steps: what another monitor puts meanwhile is not dropped."""
        digest, highest, dropped, more = digest_of(target), b"", 0, True
        if forget:
            self._forget(digest)
        while more:
            n, more, highest = self._run("drop", digest, bytes_of(answer), BATCH, highest)
            dropped += n
        return dropped

    def hasten_deliveries(self, target: str, now_ms: int) -> None:
        digest = digest_of(target)
        for level in range(len(LEVELS)):
            after = b""
            while True:
                after = self._run("hasten", digest, level, bounded(now_ms), BATCH, after)
                if not after:
                    break

    # -- what targets were told

    def put_told(self, target: str, instances: Mapping[Who, DeliveryKeys | None]) -> None:
        """Must be called after the deliveries that told it are put. Left out if another monitor leads."""
        digest = digest_of(target)
        keys = [self._fleet("told"), self._fleet("told", digest.hex())]
        for some in slices(list(instances.items()), PAGE):
            told = [(name_of(*who), to_json(value)) for who, value in some if value is not None]
            over = [name_of(*who) for who, value in some if value is None]
            arguments = (digest, bytes_of(target), len(told), *itertools.chain(*told), *over)
            self._unless_refused(self._run("told", self._fence, self._written, *arguments, more=keys), len(some))

    def restore_told(self, told: Mapping[str, Mapping[Who, DeliveryKeys]]) -> None:
        """Puts what targets were told again, unless there is something newer, after Redis was emptied."""
        for target, instances in told.items():
            digest = digest_of(target)
            key = self._fleet("told", digest.hex())
            words: list[tuple[Any, ...]] = [("HSETNX", self._fleet("told"), digest, bytes_of(target))]
            words += [("HSETNX", key, name_of(*who), to_json(value)) for who, value in instances.items()]
            for some in slices(words, PAGE):
                checked(self._link.execute(Command(FLEET, one) for one in some))

    def told(self) -> dict[str, dict[Who, DeliveryKeys]]:
        found: dict[str, dict[Who, DeliveryKeys]] = {}
        for digest, target in pairs_of(self._link.call(FLEET, "HGETALL", self._fleet("told"))):
            key, cursor, is_first = self._fleet("told", digest.hex()), b"0", True
            while is_first or int(cursor):
                is_first = False
                cursor, flat = self._link.call(FLEET, "HSCAN", key, cursor, "COUNT", PAGE)
                for name, value in pairs_of(flat):
                    try:
                        who, keys = parts_of(name), msgspec.convert(from_json(text_of(value)), tuple[str, ...])
                        found.setdefault(text_of(target), {})[who] = keys
                    except (*FAULTS, msgspec.ValidationError) as error:
                        self._damage(f"what the target {text_of(target)!r} was told of {name!r}: {error}")
        return found

    def _forget(self, target: bytes) -> None:
        self._link.call(FLEET, "UNLINK", self._fleet("told", target.hex()))
        self._link.call(FLEET, "HDEL", self._fleet("told"), target)

    # -- retention

    def trim(self, before_ms: int, most: int = BATCH) -> Trimmed:
        """Deletes deliveries that were put before `before_ms` among the `most` oldest, also those that still wait. Then
        their keys may be put again."""
        entries = self._link.call(FLEET, "XRANGE", self._stream, "-", "+", "COUNT", min(most, BATCH))
        numbers = [NUMBER.pack(number_of(id)) for id, _ in entries]
        rows = self._link.call(FLEET, "HMGET", self._rows, *numbers) if numbers else []
        streams: dict[str, int] = {}
        arguments: list[Any] = []
        for number, row, (_, fields) in zip(numbers, rows, entries, strict=True):
            if row is None or len(row) < ROW.size or ROW.unpack_from(row)[4] < before_ms:
                target = dict(pairs_of(fields)).get(b"t", b"")
                arguments += number, streams.setdefault(self._of(digest_of(text_of(target))), len(streams) + 1)
        if not arguments:
            return Trimmed(0, 0, False)
        removed, unsent = self._run("remove", bounded(before_ms), *arguments, more=list(streams))
        return Trimmed(removed, unsent, len(arguments) // 2 >= min(most, BATCH))
