# SPDX-License-Identifier: MIT
"""The database file as the writer uses it: opens and reads it, writes each batch in a transaction, closes it. Used by
one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Hold, State
from heartfelt.monitor.store import OPEN_RUNS, REMOVED, Saved, schema
from heartfelt.monitor.store.apply import BAD_ROW, Applier
from heartfelt.monitor.store.lock import FileLock
from heartfelt.monitor.store.pending import Pending
from heartfelt.monitor.store.rows import INSTANCE_COLUMNS, RUN_COLUMNS, hold_of, hold_text, instance_of, run_of
from heartfelt.monitor.store.shared_meta import SharedMeta

BUSY_MS = 100
RESERVED = 1 << 24
"""How many ids and seqs are reserved ahead: after a crash the next ones start above all that may have been used."""
_OLDEST_SQLITE = (3, 32, 0)
_STATEMENTS = 256  # kept prepared
_REMOVED = f"""SELECT instance_id, service FROM (SELECT new, instance_id, service FROM changes ORDER BY seq DESC
LIMIT {10 * REMOVED}) WHERE new = '{State.REMOVED.value}' LIMIT {REMOVED}"""


class StoreFile:
    def __init__(self, path: Path, wall_ms: Callable[[], int], logger: logging.Logger) -> None:
        self.path = path
        self.refused = 0
        self.last_written_ms: int | None = None
        self.highest_stored_id = 0
        self._wall_ms = wall_ms
        self._logger = logger
        self._lock = FileLock(path)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._reserved_id = 0
        self._reserved_seq = 0
        self._next_run = 1

    def open(self) -> Saved:
        """Locks, checks and reads the file. Raises StoreError, with the remedy."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; use a Python with SQLite 3.32 or newer")
        path = self.path
        schema.check_file(path)
        schema.create_file(path)
        self._lock.take()
        try:
            schema.check_file(path)  # again: another process may have written it before the lock
            return self._open()
        except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
            self.abandon()
            if isinstance(error, sqlite3.OperationalError):
                remedy = (
                    "free some disk space, end other programs that have it open, or let the monitor's user write it"
                )
            else:
                remedy = "it is damaged: move it and its -wal away to start with a new one, or restore a copy"
            raise StoreError(f"{path} cannot be opened: {error}; {remedy}") from error
        except BaseException:
            self.abandon()
            raise

    def _open(self) -> Saved:
        connection = self.connection()
        schema.prepare(connection)
        meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        columns = INSTANCE_COLUMNS.replace("id,", "instances.id,", 1).replace("last_beat_ms", "instances.last_beat_ms")
        found = connection.execute(
            f"SELECT {columns}, beats.last_beat_ms FROM instances LEFT JOIN beats ON beats.id = instances.id "
            "ORDER BY instances.id"
        )
        instances = []
        unpack = SharedMeta().unpack
        for row in found:
            instance = instance_of(row, unpack)
            instance.last_beat_ms = max(instance.last_beat_ms, row[-1] or 0)
            instances.append(instance)
        (highest_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()
        runs = connection.execute(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE end_ms IS NULL ORDER BY number DESC LIMIT {OPEN_RUNS}"
        ).fetchall()
        (highest_run,) = connection.execute("SELECT coalesce(max(number), 0) FROM runs").fetchone()
        self._next_run = max(int(meta.get("next_run", 1)), highest_run + 1)
        self.highest_stored_id = instances[-1].id if instances else 0
        saved = Saved(
            instances=instances,
            next_id=max(int(meta.get("next_id", 1)), self.highest_stored_id + 1),
            next_seq=max(int(meta.get("next_seq", 1)), highest_seq + 1),
            hold=hold_of(meta["hold"]) if "hold" in meta else Hold(),
            runs=[run_of(row) for row in reversed(runs)],
            next_run=self._next_run,
            closed_cleanly=bool(meta.get("closed_cleanly", 1)),
            last_written_ms=meta.get("last_written_ms"),
            removed=connection.execute(_REMOVED).fetchall()[::-1],
        )
        self.last_written_ms = saved.last_written_ms
        with self.transaction() as writing:
            for table in ("beats", "runs"):
                writing.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM instances)")
            self._reserve(writing, saved.next_id, saved.next_seq)
            _set(writing, "closed_cleanly", 0)
        return saved

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
            applier = Applier(connection, self._logger, careful=careful)
            applier.apply(batch)
            if batch.hold is not None:
                _set(connection, "hold", hold_text(batch.hold))
            if batch.runs:
                self._next_run = max(self._next_run, max(map(max, batch.runs.values())) + 1)
                _set(connection, "next_run", self._next_run)
            now_ms = self._wall_ms()
            _set(connection, "last_written_ms", now_ms)
            if (
                batch.highest_id > self._reserved_id - RESERVED // 2
                or batch.highest_seq > self._reserved_seq - RESERVED // 2
            ):
                self._reserve(connection, batch.highest_id, batch.highest_seq)
        self.last_written_ms = now_ms
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
        except (sqlite3.Error, StoreError) as error:
            self._logger.warning("the store could not be closed cleanly: %s", error)
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
