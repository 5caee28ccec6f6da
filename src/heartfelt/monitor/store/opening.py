# SPDX-License-Identifier: MIT
"""Reads what a monitor needs when a database is opened. Rows that cannot be read are left out, and so are tables
without which a monitor can watch: history, uptime, open runs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from copy import copy
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from heartfelt.monitor.model import Change, Hold, InstanceRow, Run, State
from heartfelt.monitor.store import OPEN_RUNS, REMOVED, Saved, tables
from heartfelt.monitor.store.check import read_only
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken, is_undecodable
from heartfelt.monitor.store.rows import CHANGE_COLUMNS, RUN_COLUMNS, hold_of, instance_of, known_reason
from heartfelt.monitor.store.shapes import MOST_ID, TIME, Row, Shape
from heartfelt.monitor.store.shared_meta import SharedMeta

T = TypeVar("T")
_NEWEST = f"FROM changes ORDER BY seq DESC LIMIT {10 * REMOVED}"
_REMOVED = f"""SELECT instance_id, service FROM (SELECT new, instance_id, service {_NEWEST})
WHERE new = '{State.REMOVED.value}' LIMIT {REMOVED}"""
_OWN = (
    "id", "instance_id", "since_ms", "first_seen_ms", "last_beat_ms", "meta", "peer", "skew_ms", "lag_ms", "reason",
    "reason_code", "reason_args",
)  # fmt: skip
"""Columns in which the instances of a service differ."""
_COLUMNS = (*_OWN, *(name for name in tables.INSTANCES.columns if name not in _OWN))
_AS_STORED = itemgetter(*map(_COLUMNS.index, tables.INSTANCES.columns))
_INSTANCES = f"""SELECT {", ".join(f"instances.{name}" for name in _COLUMNS)}, beats.last_beat_ms
FROM instances LEFT JOIN beats ON beats.id = instances.id ORDER BY instances.id"""
_N_OWN = len(_OWN)
_MOST_KINDS = 4096


class _Reader:
    """Converts rows of `_INSTANCES`. Most of a fleet are alike but for a few columns: the others are converted once."""

    def __init__(self) -> None:
        self._meta_of = SharedMeta().unpack
        self._like: dict[Row, InstanceRow] = {}
        """By the columns that are not an instance's own: an instance with them."""

    def __call__(self, row: Row) -> InstanceRow:
        kind = row[_N_OWN:-1]
        like = self._like.get(kind)
        if like is None:
            instance = instance_of(_AS_STORED(row), self._meta_of)
            if len(self._like) >= _MOST_KINDS:
                self._like.clear()
            self._like[kind] = copy(instance)
        else:
            instance = copy(like)
            (
                instance.id, instance.instance_id, instance.since_ms, instance.first_seen_ms, instance.last_beat_ms,
                meta, peer, instance.skew_ms, instance.lag_ms, reason, code, args,
            ) = row[:_N_OWN]  # fmt: skip
            instance.meta = self._meta_of(meta)
            if peer != like.peer:
                instance.peer = peer
            instance.reason = known_reason(reason, code, args)
        beat_ms = row[-1]
        if type(beat_ms) is int and instance.last_beat_ms < beat_ms <= TIME.high:
            instance.last_beat_ms = beat_ms
        return instance


def _instances() -> Shape[InstanceRow]:
    return Shape("instances", {name: tables.INSTANCES.columns[name] for name in _COLUMNS}, _Reader())


class _Look(threading.Thread):
    """Looks at the types and ranges of all instances and beats. SQLite takes long for it and needs no GIL: the rows are
    read meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="heartfelt-store-look", daemon=True)
        self._path = path
        self.instances_good = self.beats_good = False

    def run(self) -> None:
        with suppress(*FAILURES), closing(read_only(self._path)) as connection:  # whoever reads them reports a failure
            self.instances_good = tables.INSTANCES.all_good(connection)
            self.beats_good = tables.BEATS.all_good(connection)


def read_meta(connection: sqlite3.Connection, damage: Damage) -> dict[str, Any]:
    return dict(tables.META.read(connection, damage, "SELECT name, value FROM meta"))


def read_saved(connection: sqlite3.Connection, damage: Damage, meta: dict[str, Any]) -> Saved:
    """Raises sqlite3.Error if the instances cannot be read."""
    look = _Look(damage.path)
    look.start()
    try:
        instances = _instances().read(connection, damage, _INSTANCES, checked=True)
    finally:
        look.join()
    if not look.instances_good:
        instances = _instances().read(connection, damage, _INSTANCES)
    if not look.beats_good:
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
