# SPDX-License-Identifier: MIT
"""The database file as the writer uses it: opens and reads it, writes each batch in a transaction, closes it. Used by
one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.store import Saved, check, schema, tables
from heartfelt.monitor.store.apply import BAD_ROW, Applier
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken, move_aside
from heartfelt.monitor.store.known_file import look, refuse_empty
from heartfelt.monitor.store.lock import FileLock
from heartfelt.monitor.store.marker import (
    MARK_S,
    Marker,
    lost_commits,
    marker_path,
    read_marker,
    size_and_time,
    wal_salt,
    write_marker,
)
from heartfelt.monitor.store.opening import read_meta, read_saved
from heartfelt.monitor.store.pending import Pending
from heartfelt.monitor.store.rows import hold_text

BUSY_MS = 100
RESERVED = 1 << 24
"""How many ids and seqs are reserved ahead: after a crash the next ones start above all that may have been used."""
_OLDEST_SQLITE = (3, 32, 0)
_STATEMENTS = 256  # kept prepared


class StoreFile:
    def __init__(self, path: Path, wall_ms: Callable[[], int], logger: logging.Logger) -> None:
        self.path = path
        self.refused = 0
        self.last_written_ms: int | None = None
        self.last_beat_ms: int | None = None
        self.highest_stored_id = 0
        self.wall_ms = wall_ms
        self._logger = logger
        self._lock = FileLock(path)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._reserved_id = 0
        self._reserved_seq = 0
        self._next_run = 1
        self.damage = Damage(path, logger)
        self.to_check = False
        """The structure was not checked to its end."""
        self._id = ""
        self._n_instances = 0
        self._marked_s = 0.0
        self._mark_failed = False
        self._size_and_time = (0, 0)
        self._had_log = False

    def open(self) -> Saved:
        """Locks, checks and reads the file. Raises StoreError, with the remedy."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; use a Python with SQLite 3.32 or newer")
        path = self.path
        marker = read_marker(path)
        schema.check_file(path)
        refuse_empty(path, marker)
        schema.create_folder(path)
        self._lock.take()
        try:
            schema.check_file(path)  # again: another process may have written it before the lock
            look(path, marker, self._logger)
            schema.create_file(path)
            return self._open(marker)
        except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
            self.abandon()
            if any(words in str(error) for words in ("locked", "full", "readonly", "unable to open", "I/O")):
                remedy = (
                    "free some disk space, end other programs that have it open, or let the monitor's user write it"
                )
            else:
                remedy = (
                    "it is damaged: move it and its -wal away to start with a new one, restore a backup with "
                    f"`heartfelt restore FILE --data {path.parent}`, or save what can be read with `heartfelt doctor "
                    f"--repair --data {path.parent}` ({check.readable(path)})"
                )
            raise StoreError(f"{path} cannot be opened: {error}; {remedy}") from error
        except BaseException:
            self.abandon()
            raise

    def _open(self, marker: Marker | None) -> Saved:
        connection = self.connection()
        schema.prepare(connection)
        damage = self.damage
        meta = read_meta(connection, damage)
        self._id = meta.get("id") or secrets.token_hex(8)
        self._check(connection, marker, meta)
        saved = read_saved(connection, damage, meta)
        self._report(marker, saved)
        self._next_run = saved.next_run
        self.highest_stored_id = saved.instances[-1].id if saved.instances else 0
        self._n_instances = len(saved.instances)
        self.last_written_ms = saved.last_written_ms
        with self.transaction() as writing:
            bad = damage.take()
            moved = move_aside(writing, bad, self.wall_ms())
            self._forget_orphans(writing, {row.table for row in bad})
            self._reserve(writing, saved.next_id, saved.next_seq)
            _set(writing, "id", self._id)
            _set(writing, "closed_cleanly", 0)
        damage.moved(moved)
        if len(moved) < len(bad):
            self._logger.error("%s: the table of damaged rows is full: some stay where they are", self.path)
        # The main file alone must say that it is in use: a copy of it without the log is then known as one.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.mark()
        damage.log_rest()
        return saved

    def _check(self, connection: sqlite3.Connection, marker: Marker | None, meta: dict[str, Any]) -> None:
        """Checks the structure of a file that was not closed cleanly, or that somebody has changed since."""
        used = "closed_cleanly" in meta
        known = marker is not None and marker.clean and (marker.size, marker.modified_ns) == self._size_and_time
        known = known and not self._had_log
        if not used or (meta["closed_cleanly"] and known):
            return
        lost = lost_commits(self.path, connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
        if lost:
            self.damage.broken(f"{lost} transactions of its -wal cannot be read, so the newest data are lost")
        found = check.structure(connection, check.START_S)
        self.to_check = found is None
        if not tables.scan_wrong(connection, self.damage, check.START_S):
            self.to_check = True
        if self.to_check:
            self._logger.info("%s was not closed cleanly: it is checked while the monitor runs", self.path)
        if found:
            self.damage.broken(check.summary(found))

    def _report(self, marker: Marker | None, saved: Saved) -> None:
        if marker is None or marker.id != self._id or marker.written_ms is None:
            return
        missing_s = (marker.written_ms - (saved.last_written_ms or 0)) / 1000
        if missing_s > 0:
            self._logger.warning(
                "%s is older than the database that was used here last: what was stored in the %.1f s before its end "
                "is missing. Unless it is a backup, its -wal is damaged: `heartfelt doctor` looks at it",
                self.path, missing_s,
            )  # fmt: skip

    def _forget_orphans(self, writing: sqlite3.Connection, damaged: set[str]) -> None:
        for table in ("beats", "runs"):
            try:
                count = writing.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM instances)").rowcount
            except FAILURES as error:
                if not is_broken(error):
                    raise
                self.damage.broken(str(error))
                continue
            if count and "instances" in damaged:
                self._logger.warning("%s: %d %s of damaged instances were deleted", self.path, count, table)

    def mark(self, *, clean: bool = False) -> None:
        """Writes the file that says what is in this one. A failure is logged only once: that it cannot be written shows
        in the store, too."""
        size, modified_ns = size_and_time(self.path)
        marker = Marker(
            id=self._id,
            instances=self._n_instances,
            written_ms=self.last_written_ms,
            clean=clean,
            size=size if clean else 0,
            modified_ns=modified_ns if clean else 0,
            salt=wal_salt(self.path),
        )
        self._marked_s = time.monotonic()
        try:
            write_marker(self.path, marker)
        except OSError as error:
            if not self._mark_failed:
                self._logger.warning("%s cannot be written: %s", marker_path(self.path), error.strerror)
            self._mark_failed = True
        else:
            self._mark_failed = False

    def connection(self) -> sqlite3.Connection:
        """Returns the connection, opened again after `disconnect`. Raises sqlite3.Error, and StoreError if the file was
        removed or replaced."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise StoreError(f"{self.path} is gone: {error.strerror}; put it back, or restart the monitor") from error
        inode = (found.st_dev, found.st_ino)
        if self._inode is not None and inode != self._inode:
            raise StoreError(f"{self.path} was replaced by another file; put the old one back, or restart the monitor")
        if self._connection is None:
            self._size_and_time = size_and_time(self.path)
            self._had_log = wal_salt(self.path) is not None
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_STATEMENTS,
            )
            try:
                schema.configure(connection, busy_ms=BUSY_MS)
            except BaseException:
                connection.close()
                raise
            self._connection, self._inode = connection, inode
        return self._connection

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # uncommitted data is rolled back, now or by the next reader
                connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises what `connection` raises, and sqlite3.Error; nothing is written then."""
        connection = self.connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.disconnect()
            if isinstance(error, sqlite3.Error) and not isinstance(error, BAD_ROW) and not _passes(error):
                self.disconnect()
            raise

    def write(self, batch: Pending) -> None:
        """Writes all of the batch, or nothing and raises StoreError or sqlite3.Error."""
        try:
            refused = self._write(batch, careful=False)
        except BAD_ROW:
            refused = self._write(batch, careful=True)
        self.refused += refused
        self.highest_stored_id = max(self.highest_stored_id, max(batch.instances, default=0))

    def _write(self, batch: Pending, *, careful: bool) -> int:
        with self.transaction() as connection:
            applier = Applier(connection, self._logger, self.damage, careful=careful)
            applier.apply(batch)
            if batch.hold is not None:
                _set(connection, "hold", hold_text(batch.hold))
            if batch.runs:
                self._next_run = max(self._next_run, max(map(max, batch.runs.values())) + 1)
                _set(connection, "next_run", self._next_run)
            now_ms = self.wall_ms()
            _set(connection, "last_written_ms", now_ms)
            if (
                batch.highest_id > self._reserved_id - RESERVED // 2
                or batch.highest_seq > self._reserved_seq - RESERVED // 2
            ):
                self._reserve(connection, batch.highest_id, batch.highest_seq)
        self.last_written_ms = now_ms
        if time.monotonic() - self._marked_s >= MARK_S:
            (self._n_instances,) = connection.execute("SELECT count(*) FROM instances").fetchone()
            self.mark()
        if (newest := batch.newest_beat_ms()) is not None:
            self.last_beat_ms = max(newest, self.last_beat_ms or 0)
        return applier.refused

    def _reserve(self, connection: sqlite3.Connection, id: int, seq: int) -> None:
        self._reserved_id, self._reserved_seq = id + RESERVED, seq + RESERVED
        _set(connection, "next_id", self._reserved_id)
        _set(connection, "next_seq", self._reserved_seq)

    def bytes(self) -> int:
        """Returns the size of the file and its WAL."""
        total = 0
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            with contextlib.suppress(OSError):
                total += os.stat(path).st_size  # noqa: PTH116
        return total

    def close(self, highest_id: int, highest_seq: int) -> None:
        """Closes the file after everything was written. An error is logged; the next start is then like one after a
        crash."""
        try:
            with self.transaction() as connection:
                _set(connection, "next_id", highest_id + 1)
                _set(connection, "next_seq", highest_seq + 1)
                _set(connection, "closed_cleanly", 1)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            (self._n_instances,) = connection.execute("SELECT count(*) FROM instances").fetchone()
        except (*FAILURES, StoreError) as error:
            self._logger.warning("the store could not be closed cleanly: %s", error)
            self.abandon()
            return
        self.disconnect()  # the last one that closes it writes the rest of the log into the file
        self.mark(clean=True)
        self.abandon()

    def abandon(self) -> None:
        """Closes the file as it is."""
        self.disconnect()
        self._lock.release()


def _set(connection: sqlite3.Connection, name: str, value: int | str) -> None:
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def _passes(error: sqlite3.Error) -> bool:
    """Whether the error is temporary, the file in use or the disk full, so that the connection can be kept."""
    text = str(error)
    return "locked" in text or "full" in text
