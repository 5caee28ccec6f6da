# SPDX-License-Identifier: MIT
"""Writes queued records into the tables, inside the caller's transaction.

Many rows go into one statement: SQLite then works for a long time without the GIL, and acquires it once per chunk. With
one row per statement it would wait up to 5 ms for the GIL of a busy loop for every row.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from heartfelt.monitor.store import RUNS_KEPT, rows, tables
from heartfelt.monitor.store.damage import Damage
from heartfelt.monitor.store.pending import Pending

CHUNK = 256
_REMOVE_FROM = ("instances", "beats", "runs")

# Errors caused by the values of a row, which no retry can fix, not by the condition of the file.
BAD_ROW = (
    OverflowError,
    ValueError,
    TypeError,
    RecursionError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
)


@functools.lru_cache(maxsize=64)
def _insert(table: str, columns: str, n_rows: int, then: str) -> str:
    one = "(" + ",".join("?" * (columns.count(",") + 1)) + ")"
    return f"INSERT INTO {table} ({columns}) VALUES {','.join([one] * n_rows)} {then}"


_UPDATE_INSTANCE = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in rows.INSTANCE_COLUMNS.split(", ") if column != "id"
)
_UPDATE_RUN = "ON CONFLICT (number) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in rows.RUN_COLUMNS.split(", ") if column != "number"
)
_FORGET_RUNS = f"""DELETE FROM runs WHERE id = ? AND number <= (
    SELECT number FROM runs WHERE id = ? ORDER BY number DESC LIMIT 1 OFFSET {RUNS_KEPT})"""
_UPDATE_BEAT = "ON CONFLICT (id) DO UPDATE SET last_beat_ms = excluded.last_beat_ms"
_UPDATE_DAY = "ON CONFLICT (day, service) DO UPDATE SET " + ", ".join(
    f"{column} = {column} + excluded.{column}" for column in rows.DAY_COLUMNS.split(", ")[2:]
)
_UPDATE_TOLD = "ON CONFLICT (target, service, instance_id) DO UPDATE SET keys = excluded.keys"
_FORGET_TOLD = "DELETE FROM told WHERE target = ? AND service = ? AND instance_id = ?"
_UPDATE_HEAT = "ON CONFLICT (service, minute_ms) DO UPDATE SET total = excluded.total, up = excluded.up"


class Applier:
    """Writes one batch. `careful`: writes one row per statement; rows that can never be stored are skipped, logged and
    counted in `refused`."""

    def __init__(
        self, connection: sqlite3.Connection, logger: logging.Logger, damage: Damage, *, careful: bool = False
    ) -> None:
        self._connection = connection
        self._logger = logger
        self._damage = damage
        self._careful = careful
        self.refused = 0

    def apply(self, batch: Pending) -> None:
        """Raises sqlite3.Error, and one of BAD_ROW unless careful; the caller then rolls back."""
        self._instances(batch)
        self._put("changes", rows.CHANGE_COLUMNS, batch.changes, "ON CONFLICT (seq) DO NOTHING", rows.change_row)
        runs = [run for mine in batch.runs.values() for run in mine.values()]
        self._put("runs", rows.RUN_COLUMNS, runs, _UPDATE_RUN, rows.run_row)
        for id in batch.runs:
            self._connection.execute(_FORGET_RUNS, (id, id))
        days = ((*key, *figures) for key, figures in batch.days.items())
        self._put("days", rows.DAY_COLUMNS, days, _UPDATE_DAY)
        self._put("events", rows.EVENT_COLUMNS, (row for row, _ in batch.events), "")
        self._put("outbox", rows.PUT_COLUMNS, batch.deliveries, "ON CONFLICT (target, key) DO NOTHING", rows.put_row)
        self._told(batch)
        for minute_ms, counts in batch.counts:
            self._minute(minute_ms, counts)

    def _instances(self, batch: Pending) -> None:
        for ids in rows.slices(list(batch.removed), CHUNK):
            for table in _REMOVE_FROM:
                self._connection.execute(f"DELETE FROM {table} WHERE id IN ({','.join('?' * len(ids))})", ids)
        self._put("instances", rows.INSTANCE_COLUMNS, batch.instances.values(), _UPDATE_INSTANCE, rows.instance_row)
        # Not compared with the last beat in `instances`: whoever reads both takes the later one.
        beats: dict[int, int] = {}
        for some in batch.beats:
            beats.update(some)
        self._put("beats", "id, last_beat_ms", beats.items(), _UPDATE_BEAT)

    def _told(self, batch: Pending) -> None:
        told, forgotten = [], []
        for target, instances in batch.told.items():
            for who, keys in instances.items():
                if keys is None:
                    forgotten.append((target, *who))
                else:
                    told.append((target, *who, rows.to_json(keys)))
        self._connection.executemany(_FORGET_TOLD, forgotten)
        self._put("told", "target, service, instance_id, keys", told, _UPDATE_TOLD)

    def _minute(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        """Merges with an earlier record of the minute, as after a quick restart: the larger total, the smaller up."""
        statement = f"SELECT {tables.HEAT.names} FROM heat WHERE minute_ms = ?"
        found = tables.HEAT.read(self._connection, self._damage, statement, (minute_ms,))
        before = {cell.service: (cell.total, cell.up) for cell in found}
        heat = []
        for service, (total, up) in counts.items():
            old = before.get(service)
            new = (total, up) if old is None else (max(total, old[0]), min(up, old[1]))
            if new != old:
                heat.append((service, minute_ms, *new))
        self._put("heat", "service, minute_ms, total, up", heat, _UPDATE_HEAT)

    def _put(
        self,
        table: str,
        columns: str,
        values: Iterable[Any],
        then: str,
        row_of: Callable[[Any], tuple[Any, ...]] | None = None,
    ) -> None:
        values = list(values)
        if self._careful:
            self._put_one_by_one(table, columns, values, then, row_of)
            return
        n_columns = columns.count(",") + 1
        size = CHUNK
        while values:
            while size > len(values):
                size >>= 1  # halves for the rest: few different statements, which stay prepared
            for some in rows.slices(values[: len(values) // size * size], size):
                flat: list[Any] = []
                for value in some:
                    flat.extend(value if row_of is None else row_of(value))
                assert len(flat) == size * n_columns
                self._connection.execute(_insert(table, columns, size, then), flat)
            values = values[len(values) // size * size :]

    def _put_one_by_one(
        self,
        table: str,
        columns: str,
        values: list[Any],
        then: str,
        row_of: Callable[[Any], tuple[Any, ...]] | None,
    ) -> None:
        statement = _insert(table, columns, 1, then)
        for value in values:
            try:
                self._connection.execute(statement, value if row_of is None else row_of(value))
            except BAD_ROW as error:
                self.refused += 1
                self._logger.error("skipped a row for %s that can never be stored: %s", table, error)
