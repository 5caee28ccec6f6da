# SPDX-License-Identifier: MIT
"""Threads that read, each over a connection of its own, so that neither the loop nor the writer waits for a query."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from heartfelt.errors import StoreError
from heartfelt.monitor.store import READ_S

READERS = 2
_STEPS = 50_000  # of SQLite's, between two looks at the clock: about a millisecond

T = TypeVar("T")


class Readers:
    """`read` from coroutines; `open`, `close` from the thread that opens and closes the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._closing = False

    def open(self) -> None:
        self._closing = False
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="heartfelt-store-read")

    def close(self) -> None:
        """Ends queries that run: they raise StoreError."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        self._closing = True
        pool.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        pool = self._pool
        if pool is None:
            raise StoreError(f"the store {self._path} is closed; open it, or ask before it is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._run, query)
        except asyncio.CancelledError:
            if self._closing:  # the query had not begun
                raise StoreError(f"the store {self._path} was closed meanwhile") from None
            raise

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        end = time.monotonic() + READ_S
        try:
            connection = self._connection()
            connection.set_progress_handler(lambda: self._closing or time.monotonic() > end, _STEPS)
            return query(connection)
        except sqlite3.Error as error:
            if self._closing:
                raise StoreError(f"the store {self._path} was closed meanwhile") from error
            if time.monotonic() > end:
                raise StoreError(
                    f"a query of {self._path} took longer than {READ_S:g} s; ask for fewer services, or a shorter time"
                ) from error
            raise StoreError(f"{self._path} cannot be read: {error}; see the monitor's health") from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw",  # makes no file; to read a WAL takes more than ro
                uri=True,
                timeout=1.0,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16384")
            self._local.connection = connection
            self._connections.append(connection)
        return connection
