# SPDX-License-Identifier: MIT
"""Saves what can be read of a damaged database: copies its rows, table by table, into a new one."""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.store import check, copies, schema, tables
from heartfelt.monitor.store.damage import CREATE, FAILURES, RELEASE, BadValue, Damage
from heartfelt.monitor.store.file import RESERVED
from heartfelt.monitor.store.known_file import is_other_log
from heartfelt.monitor.store.lock import FileLock, real_path
from heartfelt.monitor.store.marker import read_marker
from heartfelt.monitor.store.shapes import MOST_ID, Shape, as_bytes

_MOST_JUMPS = 10_000
_COPY_DAMAGED = "name, key, found_ms, reason, data"


class Repaired(msgspec.Struct, kw_only=True):
    copied: dict[str, int]
    dropped: dict[str, int]
    """Rows that could be found, but not read. They are in the table `damaged`."""
    unreadable: list[str]
    """Tables parts of which SQLite could not read: how many rows were there is not known."""
    moved: list[Path]
    contents: str


def repair(path: Path, logger: logging.Logger) -> Repaired:
    """Rebuilds the database at `path`, and moves the old files aside. Blocks, about a second for 100 MB. Raises
    StoreError if a monitor uses it, or nothing can be read."""
    path = real_path(path)
    if not path.exists() or not path.stat().st_size:
        raise StoreError(f"{path} is missing or empty: there is nothing to repair; use `heartfelt restore FILE`")
    schema.check_file(path)
    lock = FileLock(path)
    lock.take()
    try:
        with copies.new_file(path) as new, contextlib.closing(_opened(path)) as old:
            done = _rebuild(old, new, Damage(path, logger))
            done.contents = str(copies.contents_of(new))
            done.moved = copies.put_in_place(new, path)
            return done
    finally:
        lock.release()


def _opened(path: Path) -> sqlite3.Connection:
    """Opens the file with its log; without it if the log belongs to another database."""
    if is_other_log(path, read_marker(path), check.meta_of_main_file(path)):
        return check.main_file(path)
    try:
        return check.read_only(path)
    except FAILURES:
        return check.main_file(path)


def _rebuild(old: sqlite3.Connection, path: Path, damage: Damage) -> Repaired:
    done = Repaired(copied={}, dropped={}, unreadable=[], moved=[], contents="")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as new:
        try:
            old.execute("PRAGMA writable_schema = ON")  # SQLite then passes over a table whose definition is damaged
            (version,) = old.execute("PRAGMA user_version").fetchone()
        except FAILURES as error:
            raise StoreError(
                f"nothing of {damage.path} can be read: {error}; use `heartfelt restore FILE`, or move it away to "
                "start with a new one"
            ) from error
        version = version if 1 <= version <= schema.VERSION else schema.VERSION
        schema.make_tables(new, version)
        triggers = [row[0] for row in new.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
        for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            new.execute(f"DROP TRIGGER {name}")  # rows are copied as they are
        new.execute("BEGIN")
        for shape in tables.SHAPES:
            _copy_table(old, new, shape, damage, done)
        _finish_meta(new)
        _keep(old, new, damage.take())
        new.execute("COMMIT")
        for trigger in triggers:
            new.execute(trigger)
        schema.prepare(new)
        new.execute(RELEASE)
        new.execute("PRAGMA journal_mode = DELETE").fetchone()
    if not any(done.copied.values()):
        raise StoreError(
            f"nothing of {damage.path} can be read; use `heartfelt restore FILE`, or move it away to start with a new "
            "one"
        )
    return done


def _copy_table(
    old: sqlite3.Connection, new: sqlite3.Connection, shape: Shape[Any], damage: Damage, done: Repaired
) -> None:
    table = shape.table
    done.copied[table] = done.dropped[table] = 0
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    try:
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    except FAILURES:
        there = set()
    if not columns:
        return
    if not set(columns) <= there:
        done.unreadable.append(table)
        return
    rest = [name for name in columns if name not in shape.columns]
    checked = set(shape.columns) <= there  # a table of an older schema is copied as it is
    names = [*(name for name in shape.columns if name in there), *rest]
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    broken = False
    with as_bytes(old):
        for raw in _rows(old, table, names, shape.n_key):
            if raw is None:
                broken = True
                continue
            row = shape.readable(raw, damage) if checked else shape.decoded_or_none(raw)
            if row is None:
                done.dropped[table] += 1
                continue
            with contextlib.suppress(sqlite3.IntegrityError):
                done.copied[table] += new.execute(insert, row).rowcount
    if broken:
        done.unreadable.append(table)


def _rows(old: sqlite3.Connection, table: str, names: list[str], n_key: int) -> Iterator[tuple[Any, ...] | None]:
    """Yields the rows of a table; None where some cannot be read. Those of a table with rowids are read on both sides
    of such a place, those of the others from both ends."""
    select = f"SELECT {', '.join(names)} FROM {table} NOT INDEXED"
    if n_key > 1 or table == "meta":
        order = ", ".join(names[:n_key])
        for direction in ("ASC", "DESC"):
            try:
                yield from old.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order} {direction}")
            except FAILURES:
                yield None
                continue
            return
        return
    after, jump = -1, 0
    for _ in range(_MOST_JUMPS):
        try:
            for row in old.execute(f"{select} WHERE {names[0]} > ? ORDER BY {names[0]}", (after + jump,)):
                after, jump = row[0], 0
                yield row
            return
        except FAILURES:
            if not jump:
                yield None
            jump = max(1, jump * 2)
            if after + jump > MOST_ID:
                return


def _finish_meta(new: sqlite3.Connection) -> None:
    """Completes the table meta: ids and numbers beyond all that may have been used."""
    meta = dict(new.execute("SELECT name, value FROM meta").fetchall())
    meta |= {"id": secrets.token_hex(8), "closed_cleanly": 1}
    for name, table, column in (("next_id", "instances", "id"), ("next_seq", "changes", "seq")):
        (highest,) = new.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()
        meta[name] = max(meta.get(name, 0), highest + RESERVED)
    new.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(meta.items()))


def _keep(old: sqlite3.Connection, new: sqlite3.Connection, rows: list[BadValue]) -> None:
    """Keeps the rows that cannot be read, and those that were moved aside before."""
    kept: list[tuple[Any, ...]] = []
    with contextlib.suppress(*FAILURES):
        kept = old.execute(f"SELECT {_COPY_DAMAGED} FROM damaged").fetchall()
    if not rows and not kept:
        return
    now_ms = time.time_ns() // 1_000_000
    kept += [(row.table, row.key, now_ms, row.reason, row.data) for row in rows]
    new.execute(CREATE)
    new.executemany(f"INSERT INTO damaged ({_COPY_DAMAGED}) VALUES (?, ?, ?, ?, ?)", kept)
