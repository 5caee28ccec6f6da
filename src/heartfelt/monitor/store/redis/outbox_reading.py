# SPDX-License-Identifier: MIT
"""Reads the outbox on Redis, which `outbox.py` describes."""

from __future__ import annotations

import functools
import logging
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from heartfelt.monitor.store import Backlog, Delivery
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import DeliveryRow
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link, Script
from heartfelt.monitor.store.redis.outbox_layout import (
    NUMBER,
    ROW,
    digest_of,
    id_before,
    number_of,
    text_of,
)
from heartfelt.monitor.store.redis.values import pairs_of
from heartfelt.monitor.store.rows import DELIVERY_STATES, LEVELS, from_json, slices

__all__ = ["FAULTS", "PAGE", "OutboxReader"]

PAGE = 200
"""The most that one command returns."""
_PARTS = ("number", "rows", "keys", "log", "open", "queue", "levels", "due", "first", "targets", "lead")
"""The keys of every script, in the order of outbox_lib.lua."""
FAULTS = (ValueError, TypeError, KeyError, RecursionError, struct.error, msgspec.DecodeError)
assert len(LEVELS) == 3, "outbox_lib.lua counts the levels"


@functools.cache
def _script(name: str) -> Script:
    folder = Path(__file__).with_name("scripts")
    texts = [(folder / f"outbox_{part}.lua").read_text(encoding="utf-8") for part in ("lib", name)]
    return Script(f"outbox_{name}", "".join(texts))


class OutboxReader:
    """Part of `RedisOutbox`."""

    def __init__(self, link: Link, keys: Keys, logger: logging.Logger) -> None:
        self._link = link
        self._keys = [keys.fleet("out", part) for part in _PARTS]
        self._rows, self._by_key, self._stream, self._names = (self._keys[at] for at in (1, 2, 3, 9))
        self._fleet = keys.fleet
        self._damage_log = OutageLog(logger, "the outbox in Redis can be read again")
        self.damaged = 0
        """Deliveries and entries of `told` that could not be read, and were left out."""

    def _run(self, name: str, *arguments: Any, more: Sequence[str] = ()) -> Any:
        return self._link.call(FLEET, _script(name), *arguments, keys=[*self._keys, *more])

    def _of(self, target: bytes) -> str:
        return self._fleet("out", "of", target.hex())

    def delivery_states(self, target: str, keys: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for some in slices(list(keys), PAGE):
            digests = [digest_of(target, key) for key in some]
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
                found[text_of(name)] = (count, oldest_ms)
        for target, _, _, created_ms, _, _ in unwritten():
            n, oldest_ms = found.get(target, (0, created_ms))
            found[target] = (n + 1, min(oldest_ms, created_ms))
        return {target: Backlog(count=n, oldest_ms=oldest_ms) for target, (n, oldest_ms) in found.items()}

    def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]:
        stream = self._stream if target is None else self._of(digest_of(target))
        found: list[Delivery] = []
        end = "+" if before is None else id_before(before)
        while len(found) < limit:
            count = min(limit - len(found), PAGE)
            entries = self._link.call(FLEET, "XREVRANGE", stream, end, "-", "COUNT", count)
            numbers = [number_of(id) for id, _ in entries]
            if not numbers:
                break
            bodies = [fields for _, fields in entries] if target is None else self._entries(numbers)
            rows = self._link.call(FLEET, "HMGET", self._rows, *map(NUMBER.pack, numbers))
            for number, row, body in zip(numbers, rows, bodies, strict=True):
                delivery = None if row is None else self._delivery(number, row, body)
                if delivery is not None:
                    found.append(delivery)
            if len(numbers) < count:
                break
            end = id_before(numbers[-1])
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
            state, _, attempts, next_ms, created_ms, *_ = ROW.unpack_from(row)
            if entry is None:
                raise ValueError("its message is missing")
            body = dict(pairs_of(entry))
            return Delivery(
                number=number,
                target=text_of(body[b"t"]),
                key=text_of(body[b"k"]),
                payload=from_json(text_of(body[b"p"])),
                created_ms=created_ms,
                attempts=attempts,
                state=DELIVERY_STATES[state],
                next_ms=next_ms if state < 2 and next_ms else None,
                answer=text_of(row[ROW.size :]),
            )
        except (*FAULTS, IndexError) as error:
            self._damage(f"delivery {number} cannot be read: {error}")
            return None

    def _damage(self, text: str, count: int = 1) -> None:
        self.damaged += count
        self._damage_log.failed(f"left out, because the outbox in Redis is damaged: {text}")
