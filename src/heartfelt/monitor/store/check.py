# SPDX-License-Identifier: MIT
"""Checks of a database's structure by SQLite, with a bound on their time, and looks at a file that is not opened for
writing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heartfelt.monitor.store.damage import FAILURES, is_broken
from heartfelt.monitor.store.marker import wal_salt

START_S = 1.0
"""How long the check before a start may take. What takes longer is checked after it."""
MOST_FINDINGS = 20
_STEPS = 20_000


@contextlib.contextmanager
def bounded(connection: sqlite3.Connection, seconds: float, stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Interrupts the connection's statements when the time is up, or `stop` returns True."""
    end_s = time.monotonic() + seconds
    connection.set_progress_handler(lambda: stop() or time.monotonic() > end_s, _STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def structure(
    connection: sqlite3.Connection, seconds: float, *, quick: bool = False, stop: Callable[[], bool] = lambda: False
) -> list[str] | None:
    """Returns what SQLite finds wrong, at most MOST_FINDINGS; empty: nothing. None: the time was too short. quick: does
    not compare the indexes with the tables. Raises sqlite3.Error other than damage."""
    what = "quick_check" if quick else "integrity_check"
    try:
        with bounded(connection, seconds, stop):
            found = connection.execute(f"PRAGMA {what}({MOST_FINDINGS})").fetchall()
    except FAILURES as error:
        if "interrupted" in str(error):
            return None
        if is_broken(error):
            return [str(error)]
        raise
    texts = [" ".join(str(row[0]).split()).removeprefix("*** in database main *** ") for row in found]
    return [] if texts == ["ok"] else texts


def summary(findings: list[str]) -> str:
    """Returns findings as one line."""
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{findings[0][:200]}{more}"


def main_file(path: Path) -> sqlite3.Connection:
    """Opens the file alone, without its write-ahead log, so that nothing is written. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def read_only(path: Path, timeout_s: float = 1.0) -> sqlite3.Connection:
    """Opens the file with its write-ahead log, and changes neither. Raises FAILURES."""
    # If the log has something in it, closing the connection must not write that into the file, which one with mode=ro
    # cannot. Otherwise closing it must remove the empty log that it has created, which only one with mode=rw does.
    modes = ("ro",) if wal_salt(path) is not None or not os.access(path, os.W_OK) else ("rw", "ro")
    for mode in modes:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout_s)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA schema_version").fetchone()
        except FAILURES:
            connection.close()
            if mode == modes[-1]:
                raise
        else:
            return connection
    raise AssertionError(path)


def meta_of(connection: sqlite3.Connection) -> dict[str, Any]:
    """Returns what the table meta says, as far as it can be read."""
    try:
        return dict(connection.execute("SELECT name, value FROM meta").fetchall())
    except (sqlite3.Error, ValueError, TypeError):
        return {}


def meta_of_main_file(path: Path) -> dict[str, Any]:
    """Does as `meta_of`, for the file without its write-ahead log."""
    try:
        with contextlib.closing(main_file(path)) as connection:
            return meta_of(connection)
    except FAILURES:
        return {}


def meta_with_log(path: Path) -> dict[str, Any]:
    """Does as `meta_of`, for the file with its write-ahead log."""
    try:
        with contextlib.closing(read_only(path)) as connection:
            return meta_of(connection)
    except FAILURES:
        return {}


def counts(connection: sqlite3.Connection, tables: tuple[str, ...], seconds: float = 2.0) -> dict[str, int | None]:
    """Returns the rows of each table; None if it cannot be read, or that takes too long."""
    found: dict[str, int | None] = {}
    end_s = time.monotonic() + seconds
    for table in tables:
        found[table] = None
        with contextlib.suppress(*FAILURES), bounded(connection, end_s - time.monotonic()):
            found[table] = connection.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()[0]
    return found


def readable(path: Path) -> str:
    """Returns a text: what of the file can be read."""
    shown = ("instances", "changes", "events", "documents")
    try:
        with contextlib.closing(main_file(path)) as connection:
            found = counts(connection, shown)
    except FAILURES:
        found = {}
    known = [f"{n} {name}" for name, n in found.items() if n is not None]
    return f"what can be read of it: {', '.join(known)}" if known else "nothing of it can be read"
