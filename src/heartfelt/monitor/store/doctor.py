# SPDX-License-Identifier: MIT
"""Looks at a data folder: what is wrong with it, and what to do. Changes nothing, also while a monitor uses it."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.store import check, schema, tables
from heartfelt.monitor.store.damage import FAILURES, TABLES, Damage
from heartfelt.monitor.store.known_file import look
from heartfelt.monitor.store.lock import holder, real_path
from heartfelt.monitor.store.marker import marker_path, read_marker, wal_path

CHECK_S = 300.0
"""How long the check of the structure may take, and that of the rows."""
LARGE_WAL = 256 << 20
LITTLE_SPACE = 256 << 20
_ROWS_SHOWN = 10


class Severity(Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    level: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.level.value + ':':9}{self.text}"


def _ok(text: str) -> Finding:
    return Finding(Severity.OK, text)


def _warning(text: str) -> Finding:
    return Finding(Severity.WARNING, text)


def _problem(text: str) -> Finding:
    return Finding(Severity.PROBLEM, text)


def examine(path: Path, *, check_s: float = CHECK_S) -> Iterator[Finding]:
    """Yields what is found about the database at `path` and its folder. Blocks; a file of 1 GB takes some seconds."""
    path = real_path(path)
    folder = path.parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        yield _problem(f"the data folder {folder} {what}: give the monitor's with --data")
        return
    yield from _rights(path)
    yield from _space(folder)
    yield from _left_over(path)
    used_by = holder(path)
    yield _ok("no monitor uses it" if used_by is None else f"a monitor uses it: process {used_by or 'unknown'}")
    if not path.exists() and read_marker(path) is None:
        yield _warning(f"there is no database {path.name} in {folder} yet: the monitor creates it when it starts")
        return
    try:
        if not path.exists():
            yield _problem(
                f"{path} is gone, though a database was used here: put it back, or restore a backup with `heartfelt "
                f"restore FILE --data {folder}`; otherwise the monitor starts with a new one"
            )
            return
        schema.check_file(path)
        if used_by is None:
            look(path, read_marker(path), _silent())
        elif not path.stat().st_size:
            yield _problem(f"{path} is empty: restore a backup with `heartfelt restore FILE --data {folder}`")
            return
    except StoreError as error:
        yield _problem(str(error))
        return
    yield from _log_file(path)
    try:
        with contextlib.closing(check.read_only(path)) as connection:
            yield from _contents(connection, path, check_s, is_used=used_by is not None)
    except FAILURES as error:
        yield _problem(f"{path} cannot be read: {error}: {Damage(path, _silent()).remedy}")


def _silent() -> logging.Logger:
    logger = logging.Logger("heartfelt.doctor")  # its own: the findings say it
    logger.addHandler(logging.NullHandler())
    return logger


def _rights(path: Path) -> Iterator[Finding]:
    folder = path.parent
    if os.name != "nt":
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077:
            yield _warning(f"others can look into the folder {folder} (mode {mode:04o}): chmod 700 {folder}")
        for one in (path, wal_path(path), marker_path(path)):
            with contextlib.suppress(OSError):
                mode = stat.S_IMODE(one.stat().st_mode)
                if mode & 0o077:
                    yield _warning(
                        f"others can read {one} (mode {mode:04o}), which has hashes of tokens and URLs of webhooks: "
                        f"chmod 600 {one}"
                    )
    for one in (folder, path):
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            yield _problem(f"{one} cannot be read and written by this user: run this as the monitor's user")
    if path.exists() and os.name != "nt" and path.stat().st_uid != folder.stat().st_uid:
        yield _warning(f"{path} and its folder belong to different users: chown both to the monitor's user")


def _space(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        yield _problem(
            f"{free >> 20} MB are free on the disk of {folder}: free some space, at least {LITTLE_SPACE >> 20} MB"
        )
    else:
        yield _ok(f"{free >> 20:,} MB are free on the disk of {folder}")


def _left_over(path: Path) -> Iterator[Finding]:
    for one in sorted(path.parent.glob(f"{glob.escape(path.name)}.[0-9]*.new")):
        with contextlib.suppress(OSError):
            yield _warning(
                f"{one.name} has {one.stat().st_size >> 20} MB, and was left by a command that was killed, unless "
                "`heartfelt restore` or `heartfelt doctor --repair` is at work now: delete it"
            )


def _log_file(path: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError):
        size = wal_path(path).stat().st_size
        if size > LARGE_WAL:
            yield _warning(
                f"{wal_path(path).name} has {size >> 20} MB: a program keeps the database open for reading; end it, or "
                "restart the monitor"
            )
        elif size:
            yield _ok(f"{wal_path(path).name} has {size:,} bytes")


def _contents(connection: sqlite3.Connection, path: Path, check_s: float, *, is_used: bool) -> Iterator[Finding]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        yield _warning(f"{path} has no tables yet: the monitor creates them when it starts")
        return
    later = "" if version == schema.VERSION else f"; the next start migrates it to {schema.VERSION}"
    yield _ok(f"schema {version}{later}")
    meta = check.meta_of(connection)
    written_ms, clean = meta.get("last_written_ms"), meta.get("closed_cleanly", 1)
    if isinstance(written_ms, int):
        when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(min(max(written_ms, 0), 1 << 45) / 1000))
        ended = "" if is_used else "; closed cleanly" if clean else "; not closed cleanly: the next start checks it"
        yield _ok(f"last written {when}{ended}")
    damage = Damage(path, _silent())
    found = check.structure(connection, check_s)
    if found is None:
        yield _warning(f"the structure was not checked to its end within {check_s:g} s")
    for text in found or ():
        yield _problem(f"{path.name}: {text[:300]}: {damage.remedy}")
    if found == []:
        yield _ok("integrity_check: nothing is wrong with the structure")
    if version == schema.VERSION:
        yield from _rows(connection, damage, check_s)
    counts = check.counts(connection, TABLES, seconds=10.0)
    yield _ok("rows: " + ", ".join(f"{table} {'?' if n is None else f'{n:,}'}" for table, n in counts.items()))
    with contextlib.suppress(*FAILURES):
        (kept,) = connection.execute("SELECT count(*) FROM damaged").fetchone()
        if kept:
            yield _warning(
                f"{kept} damaged rows were moved aside: sqlite3 {path} 'SELECT * FROM damaged' shows them, and "
                "'DELETE FROM damaged' forgets them"
            )


def _rows(connection: sqlite3.Connection, damage: Damage, check_s: float) -> Iterator[Finding]:
    end_s = time.monotonic() + check_s
    unread: dict[str, list[str]] = {}
    for shape in tables.SHAPES:
        try:
            with check.bounded(connection, end_s - time.monotonic()):
                shape.scan(connection, damage)
        except FAILURES as error:
            late = "interrupted" in str(error)
            unread.setdefault(f"not within {check_s:g} s" if late else str(error), []).append(shape.table)
    for why, names in unread.items():
        yield _problem(f"tables that cannot be read to their end: {', '.join(names)}: {why}: {damage.remedy}")
    bad = damage.take()
    for one in bad[:_ROWS_SHOWN]:
        yield _problem(f"a row of table {one.table} cannot be read: {one.key}: {one.reason}")
    if bad:
        by_table = ", ".join(f"{table} {n}" for table, n in damage.rows.items() if n)
        yield _problem(
            f"{damage.n_rows} rows cannot be read ({by_table}): the next start of the monitor moves them aside, and so "
            "does `heartfelt doctor --repair`"
        )
    elif not unread:
        yield _ok("all rows can be read")
