# SPDX-License-Identifier: MIT
"""The outbox. Only the oldest unsettled delivery of each target can be claimed, which keeps them in order. Functions
that write run inside a transaction of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

from heartfelt.monitor.store import LEASE_MS, Backlog, Delivery
from heartfelt.monitor.store.queries import text_of
from heartfelt.monitor.store.rows import DELIVERY_COLUMNS, delivery_of

# The first index entry of each target: one lookup per target, however many rows wait.
_FIRST_OF_EACH = """
WITH RECURSIVE targets (target) AS (
    SELECT min(target) FROM outbox WHERE state < 2
    UNION ALL
    SELECT (SELECT min(target) FROM outbox WHERE state < 2 AND target > targets.target)
    FROM targets WHERE targets.target IS NOT NULL)
SELECT number FROM (
    SELECT (SELECT min(number) FROM outbox WHERE state < 2 AND outbox.target = targets.target) AS first
    FROM targets WHERE target IS NOT NULL)
JOIN outbox ON number = first WHERE next_ms <= ? ORDER BY next_ms, number LIMIT ?"""

_CLAIM = """UPDATE outbox SET state = 1, next_ms = ?, attempts = attempts + 1
WHERE number = ? AND state < 2 AND next_ms <= ?"""

# The index alone gives numbers and counts; only the first row of each target is read.
_WAITING = """
SELECT waiting.target, waiting.count, outbox.created_ms
FROM (SELECT target, count(*) AS count, min(number) AS first FROM outbox WHERE state < 2 GROUP BY target) AS waiting
JOIN outbox ON outbox.number = waiting.first"""


def claim(connection: sqlite3.Connection, now_ms: int, limit: int) -> list[Delivery]:
    claimed = []
    for (number,) in connection.execute(_FIRST_OF_EACH, (now_ms, limit)).fetchall():
        if connection.execute(_CLAIM, (now_ms + LEASE_MS, number, now_ms)).rowcount == 1:
            row = connection.execute(f"SELECT {DELIVERY_COLUMNS} FROM outbox WHERE number = ?", (number,)).fetchone()
            claimed.append(delivery_of(row))
    return claimed


def has_due(connection: sqlite3.Connection, now_ms: int) -> bool:
    return connection.execute(_FIRST_OF_EACH, (now_ms, 1)).fetchone() is not None


def finish(connection: sqlite3.Connection, number: int, ok: bool, retry_at_ms: int | None, answer: str) -> None:
    """A worker whose claim has ended may still report success. A settled delivery never changes again."""
    state, next_ms = (2, 0) if ok else (3, 0) if retry_at_ms is None else (0, retry_at_ms)
    connection.execute(
        "UPDATE outbox SET state = ?, next_ms = ?, answer = ? WHERE number = ? AND state < 2",
        (state, next_ms, text_of(answer), number),
    )


def deliveries(connection: sqlite3.Connection, target: str | None, before: int | None, limit: int) -> list[Delivery]:
    conditions: list[str] = ["1"]
    params: list[str | int] = []
    if target is not None:
        conditions.append("target = ?")
        params.append(text_of(target))
    if before is not None:
        conditions.append("number < ?")
        params.append(before)
    found = connection.execute(
        f"SELECT {DELIVERY_COLUMNS} FROM outbox{'' if target is None else ' INDEXED BY outbox_target'} "
        f"WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?",
        [*params, limit],
    )
    return [delivery_of(row) for row in found]


def waiting(
    connection: sqlite3.Connection, unwritten: Callable[[], Iterable[tuple[str, str, str, int]]]
) -> dict[str, Backlog]:
    """`unwritten`: returns the queued rows. They are read after the table: a row that is written in between is missed,
    but none is counted twice."""
    found = {target: (count, oldest_ms) for target, count, oldest_ms in connection.execute(_WAITING)}
    for target, _, _, created_ms in unwritten():
        count, oldest_ms = found.get(target, (0, created_ms))
        found[target] = (count + 1, min(oldest_ms, created_ms))
    return {target: Backlog(count=count, oldest_ms=oldest_ms) for target, (count, oldest_ms) in found.items()}
