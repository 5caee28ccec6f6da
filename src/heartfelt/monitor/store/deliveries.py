# SPDX-License-Identifier: MIT
"""The outbox, and what targets were told. Only the oldest unsettled delivery of each target and subject is ever due
(schema.py), which keeps those in order. Functions that write run inside a transaction of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from heartfelt.monitor.store import LEASE_MS, Backlog, Delivery, Keys, Who, tables
from heartfelt.monitor.store.damage import FAILURES, Damage, is_undecodable
from heartfelt.monitor.store.pending import DeliveryRow
from heartfelt.monitor.store.queries import text_of
from heartfelt.monitor.store.rows import DELIVERY_COLUMNS, DELIVERY_STATES, LEVELS, MOST
from heartfelt.monitor.store.shapes import BAD_VALUE

# The first index entry of each target: one lookup per target, however many rows wait.
_TARGETS = """
WITH RECURSIVE targets (target) AS (
    SELECT min(target) FROM outbox WHERE state < 2
    UNION ALL
    SELECT (SELECT min(target) FROM outbox WHERE state < 2 AND target > targets.target)
    FROM targets WHERE targets.target IS NOT NULL)
SELECT target FROM targets WHERE target IS NOT NULL"""

# In the order of the index: it reads no more rows than it returns.
_DUE = """SELECT level, next_ms, number FROM outbox WHERE state < 2 AND target = ? AND level = ? AND next_ms <= ?
ORDER BY next_ms, number LIMIT ?"""

_CLAIM = """UPDATE outbox SET state = 1, next_ms = ?, attempts = attempts + 1
WHERE number = ? AND state < 2 AND next_ms <= ?"""

# The index alone gives numbers and counts; only the first row of each target is read.
_WAITING = """
SELECT waiting.target, waiting.count, outbox.created_ms
FROM (SELECT target, count(*) AS count, min(number) AS first FROM outbox WHERE state < 2 GROUP BY target) AS waiting
JOIN outbox ON outbox.number = waiting.first"""


_STATES = range(len(DELIVERY_STATES))
T = TypeVar("T")


class Result(NamedTuple):
    """The result of an attempt; see `Store.finish_delivery`."""

    ok: bool
    retry_at_ms: int | None
    answer: str
    tried: bool


def due(connection: sqlite3.Connection, damage: Damage, now_ms: int, limit: int, room: Mapping[str, int]) -> list[int]:
    """Returns the numbers of deliveries that may be claimed. A few lookups per target, however many rows wait. None, if
    rows are damaged: then `damage` is told of them, so that they are moved aside."""
    return _sound(connection, damage, lambda: _due(connection, now_ms, limit, room), [])


def _sound(connection: sqlite3.Connection, damage: Damage, query: Callable[[], T], otherwise: T) -> T:
    try:
        return query()
    except BAD_VALUE:
        pass
    except FAILURES as error:
        if not is_undecodable(error):
            raise
    if not tables.BY_TABLE["outbox"].scan(connection, damage):
        damage.broken("an index of the table outbox does not fit its rows")
    return otherwise


def _due(connection: sqlite3.Connection, now_ms: int, limit: int, room: Mapping[str, int]) -> list[int]:
    found: list[tuple[int, int, int]] = []
    for (target,) in connection.execute(_TARGETS).fetchall():
        left = min(room.get(target, limit), limit)
        for level in range(len(LEVELS)):
            if left <= 0:
                break
            some = connection.execute(_DUE, (target, level, now_ms, left)).fetchall()
            found += some
            left -= len(some)
    return [number for _, _, number in sorted(found)[:limit]]


def claim(
    connection: sqlite3.Connection, damage: Damage, now_ms: int, limit: int, room: Mapping[str, int]
) -> list[Delivery]:
    """Claims also a delivery that cannot be read, so that it is not found again before it is moved aside."""
    claimed: list[Delivery] = []
    for number in due(connection, damage, now_ms, limit, room):
        if connection.execute(_CLAIM, (now_ms + LEASE_MS, number, now_ms)).rowcount == 1:
            statement = f"SELECT {DELIVERY_COLUMNS} FROM outbox WHERE number = ?"
            claimed += tables.OUTBOX.read(connection, damage, statement, (number,))
    return claimed


def finish(connection: sqlite3.Connection, number: int, result: Result) -> None:
    """A worker whose claim has ended may still report success. A settled delivery never changes again."""
    state, next_ms = (2, 0) if result.ok else (3, 0) if result.retry_at_ms is None else (0, result.retry_at_ms)
    connection.execute(
        "UPDATE outbox SET state = ?, next_ms = ?, answer = ?, attempts = attempts - ? WHERE number = ? AND state < 2",
        (state, next_ms, text_of(result.answer), not result.tried, number),
    )


def drop(connection: sqlite3.Connection, target: str, answer: str, forget: bool) -> int:
    if forget:
        connection.execute("DELETE FROM told WHERE target = ?", (text_of(target),))
    return connection.execute(
        "UPDATE outbox SET state = 3, next_ms = 0, answer = ? WHERE target = ? AND state < 2",
        (text_of(answer), text_of(target)),
    ).rowcount


def hasten(connection: sqlite3.Connection, target: str, now_ms: int) -> None:
    connection.execute(
        "UPDATE outbox SET next_ms = ? WHERE target = ? AND state = 0 AND next_ms > ? AND next_ms < ?",
        (now_ms, text_of(target), now_ms, MOST),
    )


def states(connection: sqlite3.Connection, target: str, keys: Iterable[str]) -> dict[str, str]:
    found = {}
    for key in keys:
        row = connection.execute("SELECT state FROM outbox WHERE target = ? AND key = ?", (target, key)).fetchone()
        if row is not None:
            found[key] = DELIVERY_STATES[row[0] if row[0] in _STATES else -1]
    return found


def told(connection: sqlite3.Connection, damage: Damage) -> dict[str, dict[Who, Keys]]:
    found: dict[str, dict[Who, Keys]] = {}
    for target, who, keys in tables.TOLD.read(connection, damage, f"SELECT {tables.TOLD.names} FROM told"):
        found.setdefault(target, {})[who] = keys
    return found


def deliveries(
    connection: sqlite3.Connection, damage: Damage, target: str | None, before: int | None, limit: int
) -> list[Delivery]:
    conditions: list[str] = ["1"]
    params: list[str | int] = []
    if target is not None:
        conditions.append("target = ?")
        params.append(text_of(target))
    if before is not None:
        conditions.append("number < ?")
        params.append(before)
    statement = (
        f"SELECT {DELIVERY_COLUMNS} FROM outbox{'' if target is None else ' INDEXED BY outbox_target'} "
        f"WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
    )
    return tables.OUTBOX.page(connection, damage, lambda most: (statement, [*params, most]), limit)


def waiting(
    connection: sqlite3.Connection, damage: Damage, unwritten: Callable[[], Iterable[DeliveryRow]]
) -> dict[str, Backlog]:
    """`unwritten`: returns the queued rows. They are read after the table: a row that is written in between is missed,
    but none is counted twice. Rows that are damaged are not counted, and until they are moved aside no other is."""

    def count() -> dict[str, Backlog]:
        found = {target: (count, oldest_ms) for target, count, oldest_ms in connection.execute(_WAITING)}
        for target, _, _, created_ms, _, _ in unwritten():
            n, oldest_ms = found.get(target, (0, created_ms))
            found[target] = (n + 1, min(oldest_ms, created_ms))
        return {target: Backlog(count=n, oldest_ms=oldest_ms) for target, (n, oldest_ms) in found.items()}

    return _sound(connection, damage, count, {})
