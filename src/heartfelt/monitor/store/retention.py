# SPDX-License-Identifier: MIT
"""Deletes old rows, in small slices between the writer's transactions: first those above their age, then, while the
file is too large, the oldest events, changes, heat cells, settled deliveries and ended runs. Returns free pages to the
system."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from heartfelt.monitor.store.kept import DAY_MS, Retention

SLICE_ROWS = 500
VACUUM_PAGES = 500
KEPT_FREE_PAGES = 1000  # free pages that are kept, since they are soon needed again


class Forgetter:
    """`step` deletes one slice. Belongs to the writer's thread."""

    def __init__(self, retention: Retention, wall_ms: Callable[[], int]) -> None:
        self.keep = retention
        self._wall_ms = wall_ms
        self.removed = 0
        self.unsent = 0
        self._to_shrink = False

    def step(self, connection: sqlite3.Connection) -> bool:
        """Returns True if there may be more to do. Must not be called inside a transaction. Raises sqlite3.Error."""
        if self._by_age(connection) or self._by_size(connection) or self._vacuum(connection):
            return True
        if self._to_shrink:
            self._shrink(connection)
        return False

    def _by_age(self, connection: sqlite3.Connection) -> bool:
        now = self._wall_ms()
        keep = self.keep
        events = _oldest("events", "number", "received_ms")
        changes = _oldest("changes", "seq", "time_ms")
        heat = f"""DELETE FROM heat WHERE (service, minute_ms) IN (
            SELECT service, minute_ms FROM heat WHERE minute_ms < ? ORDER BY minute_ms LIMIT {SLICE_ROWS})"""
        days = "DELETE FROM days WHERE day < ?"
        old_deliveries = now - keep.deliveries_ms
        unsent = f"""SELECT count(*) FROM (SELECT state, created_ms FROM outbox ORDER BY number LIMIT {SLICE_ROWS})
            WHERE created_ms < ? AND state < 2"""
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            (n_unsent,) = connection.execute(unsent, (old_deliveries,)).fetchone()
            counts = (
                connection.execute(events, (now - keep.events_ms,)).rowcount,
                connection.execute(changes, (now - keep.changes_ms,)).rowcount,
                connection.execute(_oldest("outbox", "number", "created_ms"), (old_deliveries,)).rowcount,
                connection.execute(heat, (now - keep.heat_ms,)).rowcount,
                connection.execute(days, ((now - keep.uptime_ms) // DAY_MS,)).rowcount,
            )
        self.unsent += n_unsent
        self.removed += sum(counts)
        return any(count >= SLICE_ROWS for count in counts)

    def _by_size(self, connection: sqlite3.Connection) -> bool:
        if used_bytes(connection) <= self.keep.file_bytes:
            return False
        for statement in (
            f"DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT {SLICE_ROWS})",
            f"DELETE FROM changes WHERE seq IN (SELECT seq FROM changes ORDER BY seq LIMIT {SLICE_ROWS})",
            f"""DELETE FROM heat WHERE (service, minute_ms) IN (
                SELECT service, minute_ms FROM heat ORDER BY minute_ms LIMIT {SLICE_ROWS})""",
            f"""DELETE FROM outbox WHERE number IN (
                SELECT number FROM outbox WHERE state >= 2 ORDER BY number LIMIT {SLICE_ROWS})""",
            f"""DELETE FROM runs WHERE number IN (
                SELECT number FROM runs WHERE end_ms IS NOT NULL ORDER BY number LIMIT {SLICE_ROWS})""",
        ):
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                count = connection.execute(statement).rowcount
            self.removed += count
            if count:
                return True
        return False  # the rest must be kept: instances, documents, uptime

    def _vacuum(self, connection: sqlite3.Connection) -> bool:
        spare = free_pages(connection) - KEPT_FREE_PAGES
        if spare <= 0:
            return False
        # A script, since execute() runs only one step of a statement without columns, and each step frees one page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(VACUUM_PAGES, spare)})")
        self._to_shrink = True
        return free_pages(connection) > KEPT_FREE_PAGES

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Checkpoints the whole WAL, without which the file does not become smaller. This fails while a query reads an
        older state; it does not wait for that, but tries again next time."""
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._to_shrink = copied < pages


def free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def used_bytes(connection: sqlite3.Connection) -> int:
    """Returns the size of the file without its free pages."""
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return int((pages - free_pages(connection)) * page_size)


def _oldest(table: str, key: str, time: str) -> str:
    """Returns a statement that deletes old rows. Rows are inserted in the order of their keys, so the oldest come first
    and no index on the time is needed."""
    return f"""DELETE FROM {table} WHERE {key} IN (
        SELECT {key} FROM (SELECT {key}, {time} FROM {table} ORDER BY {key} LIMIT {SLICE_ROWS}) WHERE {time} < ?)"""
