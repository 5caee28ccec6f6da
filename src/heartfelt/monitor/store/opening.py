# SPDX-License-Identifier: MIT
"""Reads what a monitor needs when a database is opened. Rows that cannot be read are left out, and so are tables
without which a monitor can watch: history, uptime, open runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from heartfelt.monitor.model import Change, Hold, InstanceRow, Run, State
from heartfelt.monitor.store import OPEN_RUNS, REMOVED, Saved, tables
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken, is_undecodable
from heartfelt.monitor.store.rows import CHANGE_COLUMNS, INSTANCE_COLUMNS, RUN_COLUMNS, hold_of, instance_of
from heartfelt.monitor.store.shapes import MOST_ID, TIME, Row, Shape
from heartfelt.monitor.store.shared_meta import SharedMeta

T = TypeVar("T")
_NEWEST = f"FROM changes ORDER BY seq DESC LIMIT {10 * REMOVED}"
_REMOVED = f"""SELECT instance_id, service FROM (SELECT new, instance_id, service {_NEWEST})
WHERE new = '{State.REMOVED.value}' LIMIT {REMOVED}"""
_INSTANCES = (
    f"SELECT {INSTANCE_COLUMNS.replace('id,', 'instances.id,', 1).replace('last_beat_ms', 'instances.last_beat_ms')}"
    ", beats.last_beat_ms FROM instances LEFT JOIN beats ON beats.id = instances.id ORDER BY instances.id"
)


def _restored(row: Row, meta_of: Callable[[str], Any]) -> InstanceRow:
    instance = instance_of(row, meta_of)
    beat_ms = row[-1]
    if type(beat_ms) is int and instance.last_beat_ms < beat_ms <= TIME.high:
        instance.last_beat_ms = beat_ms
    return instance


def read_meta(connection: sqlite3.Connection, damage: Damage) -> dict[str, Any]:
    return dict(tables.META.read(connection, damage, "SELECT name, value FROM meta"))


def read_saved(connection: sqlite3.Connection, damage: Damage, meta: dict[str, Any]) -> Saved:
    """Raises sqlite3.Error if the instances cannot be read."""
    good = tables.INSTANCES.all_good(connection)
    restored = partial(_restored, meta_of=SharedMeta().unpack)
    shape: Shape[InstanceRow] = Shape("instances", tables.INSTANCES.columns, restored)
    instances = shape.read(connection, damage, _INSTANCES, checked=good)
    if not tables.BEATS.all_good(connection):
        tables.BEATS.scan(connection, damage)
    highest_id = instances[-1].id if instances else 0

    def highest(table: str, column: str) -> int:
        statement = f"SELECT coalesce(max({column}), 0) FROM {table} WHERE {column} <= {MOST_ID}"
        return int(_unless_broken(damage, 0, lambda: connection.execute(statement).fetchone()[0]))

    statement = f"SELECT {RUN_COLUMNS} FROM runs WHERE end_ms IS NULL ORDER BY number DESC LIMIT {OPEN_RUNS}"
    none: list[Run] = []
    runs = _unless_broken(damage, none, lambda: tables.RUNS.read(connection, damage, statement))
    return Saved(
        instances=instances,
        next_id=max(meta.get("next_id", 1), highest_id + 1),
        next_seq=max(meta.get("next_seq", 1), highest("changes", "seq") + 1),
        hold=hold_of(meta["hold"]) if "hold" in meta else Hold(),
        runs=runs[::-1],
        next_run=max(meta.get("next_run", 1), highest("runs", "number") + 1),
        closed_cleanly=bool(meta.get("closed_cleanly", 1)),
        last_written_ms=meta.get("last_written_ms"),
        removed=_unless_broken(damage, [], lambda: _removed(connection, damage)),
    )


def _removed(connection: sqlite3.Connection, damage: Damage) -> list[tuple[str, str]]:
    try:
        return connection.execute(_REMOVED).fetchall()[::-1]
    except FAILURES as error:
        if not is_undecodable(error):
            raise
    found: list[Change] = tables.CHANGES.read(connection, damage, f"SELECT {CHANGE_COLUMNS} {_NEWEST}")
    removed = [(change.instance_id, change.service) for change in found if change.new is State.REMOVED]
    return removed[:REMOVED][::-1]


def _unless_broken(damage: Damage, default: T, read: Callable[[], T]) -> T:
    try:
        return read()
    except FAILURES as error:
        if not is_broken(error):
            raise
        damage.broken(str(error))
        return default
