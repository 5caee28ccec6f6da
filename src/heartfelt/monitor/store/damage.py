# SPDX-License-Identifier: MIT
"""Records damage of a database: rows that cannot be read, and a file whose structure is broken.

A row that cannot be read is left out of the result, logged and counted, and the writer moves it into the table
`damaged`, where a person can look at it. The structure is broken if SQLite says so: from then on the store is not ok
until the file is repaired and the monitor started again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

TABLES = ("instances", "beats", "changes", "events", "runs", "days", "heat", "documents", "outbox", "told", "meta")
KEPT_ROWS = 10_000
"""The most rows that the table `damaged` holds. Further ones stay where they are, and are left out of each result."""
WAITING_BYTES = 32 << 20
"""The most that waits to be moved there."""
LOG_MOST, LOG_PER_S = 3, 60.0  # lines of a table
CREATE = """CREATE TABLE IF NOT EXISTS damaged (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, found_ms INTEGER NOT NULL, reason TEXT NOT NULL,
    data TEXT NOT NULL)"""


RELEASE = """UPDATE outbox SET next_ms = created_ms WHERE state < 2 AND next_ms = 9223372036854775807
AND number IN (SELECT min(number) FROM outbox WHERE state < 2 GROUP BY target, subject)"""
"""Makes deliveries due that wait for earlier ones which are gone; see schema.py."""
FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""Errors that sqlite3 raises. It cannot decode the text of one that quotes a damaged schema."""


class BadRow(ValueError):
    """A value of a row that no monitor has written."""


class BadValue(NamedTuple):
    """A row that cannot be read. `where`: the condition that finds it, with its parameters."""

    table: str
    key: str
    reason: str
    data: str
    where: str
    params: tuple[Any, ...]


class Damage:
    """Callable from any thread."""

    def __init__(self, path: Path, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.rows: dict[str, int] = dict.fromkeys(TABLES, 0)
        self.structure: str | None = None
        """The finding of SQLite, or of a check, about the structure of the file. None: nothing is known to be wrong."""
        self.found = threading.Event()
        """Rows wait to be moved aside."""
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()
        self._to_move: deque[BadValue] = deque()
        self._period_s, self._left_out = float("-inf"), 0
        self._bytes = 0
        self._lines: dict[str, int] = {}

    @property
    def n_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def remedy(self) -> str:
        return (
            f"stop the monitor and run `heartfelt doctor --repair --data {self.path.parent}`, or restore a backup with "
            "`heartfelt restore FILE`"
        )

    @property
    def error(self) -> str | None:
        """The damage of the structure, its effect, and the remedy. None: no damage is known."""
        if self.structure is None:
            return None
        return (
            f"{self.path} is damaged: {self.structure}; the monitor goes on watching, but what it stores and its "
            f"history may be incomplete: {self.remedy}"
        )

    def row(self, bad: BadValue) -> None:
        """Counts, logs and remembers a row that cannot be read, once however often it is found."""
        with self._lock:
            if (bad.table, bad.key) in self._known:
                return
            self.rows[bad.table] = self.rows.get(bad.table, 0) + 1
            if len(self._known) < KEPT_ROWS:
                self._known.add((bad.table, bad.key))
                if self._bytes < WAITING_BYTES:
                    self._bytes += len(bad.data)
                    self._to_move.append(bad)
                    self.found.set()
            now_s = self._clock()
            if now_s - self._period_s >= LOG_PER_S:
                self._period_s, self._lines = now_s, {}
            lines = self._lines[bad.table] = self._lines.get(bad.table, 0) + 1
            if lines > LOG_MOST:
                self._left_out += 1
                return
        self._logger.error(
            "%s: a row of table %s is damaged and left out: %s: %s", self.path, bad.table, bad.key, bad.reason
        )

    def log_rest(self) -> None:
        """Logs how many rows the limit of the rate has kept out of the log."""
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            tables = ", ".join(f"{name} {n}" for name, n in self.rows.items() if n)
        if left_out:
            self._logger.error("%s: %d more rows are damaged and left out; in all: %s", self.path, left_out, tables)

    def broken(self, what: str) -> None:
        """Records that the structure of the file is broken. Logs it the first time."""
        with self._lock:
            if self.structure is not None:
                return
            self.structure = what
        self._logger.error("%s", self.error)

    def moved(self, rows: Iterable[BadValue]) -> None:
        """Forgets rows that are no longer in their tables: others may take their keys, and be damaged in turn."""
        with self._lock:
            self._known.difference_update((bad.table, bad.key) for bad in rows)

    def take(self) -> list[BadValue]:
        """Returns the rows to move aside."""
        with self._lock:
            self.found.clear()
            self._bytes = 0
            taken = list(self._to_move)
            self._to_move.clear()
        return taken


def move_aside(connection: sqlite3.Connection, rows: list[BadValue], now_ms: int) -> list[BadValue]:
    """Moves rows into the table `damaged`, and returns those for which it has room. Runs in the caller's transaction.
    Raises sqlite3.Error."""
    if not rows:
        return []
    connection.execute(CREATE)
    (n_kept,) = connection.execute("SELECT count(*) FROM damaged").fetchone()
    rows = rows[: max(0, KEPT_ROWS - n_kept)]
    for bad in rows:
        connection.execute(
            "INSERT INTO damaged (name, key, found_ms, reason, data) VALUES (?, ?, ?, ?, ?)",
            (bad.table, bad.key, now_ms, bad.reason, bad.data),
        )
        connection.execute(f"DELETE FROM {bad.table} WHERE {bad.where}", bad.params)
    if any(bad.table == "outbox" for bad in rows):
        connection.execute(RELEASE)
    return rows


def is_broken(error: BaseException) -> bool:
    """Whether SQLite says that the file's structure is damaged, or its tables are not those of a monitor."""
    if isinstance(error, UnicodeDecodeError):
        return True
    text = str(error)
    return isinstance(error, sqlite3.DatabaseError) and any(
        words in text
        for words in ("malformed", "not a database", "unsupported file format", "no such", "has no column")
    )


def is_undecodable(error: BaseException) -> bool:
    """Whether sqlite3 cannot decode the text of a row."""
    return isinstance(error, sqlite3.OperationalError) and "ecode to UTF-8" in str(error)
