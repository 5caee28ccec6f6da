# SPDX-License-Identifier: MIT
"""Threads that run queries, each with its own connection, so that neither the loop nor the writer waits for one."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from heartfelt.errors import StoreError
from heartfelt.monitor.store import READ_S, check
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken
from heartfelt.monitor.tasks import join_thread

READERS = 2
CHECK_S = 3600.0
_STEPS = 50_000  # SQLite's steps between two checks of the clock: about a millisecond

T = TypeVar("T")
_Query = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]


class Readers:
    """Coroutines call `read`; the thread that opens and closes the store calls `open` and `close`.

    The threads are daemons, not those of a ThreadPoolExecutor, which Python joins when it exits: one whose disk does
    not respond would hold up the end of the process.
    """

    def __init__(self, path: Path, damage: Damage, *, answer_s: float, logger: logging.Logger) -> None:
        self.error: str | None = None
        """Why the last query could not read the disk; the next one that can clears it."""
        self.failed_s = 0.0
        """When that was."""
        self._path = path
        self._damage = damage
        self._answer_s = answer_s
        self._logger = logger
        self._local = threading.local()
        self._lock = threading.Lock()
        self._queries: queue.SimpleQueue[_Query | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closing = True

    def open(self) -> None:
        self._queries = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(self._queries,), name=f"heartfelt-store-read-{n}", daemon=True)
            for n in range(READERS)
        ]
        self._closing = False
        for thread in self._threads:
            thread.start()

    def close(self) -> int:
        """Interrupts running queries, which then raise StoreError. Blocks for at most `answer_s`. Returns how many
        threads did not end; each was logged with its stack and is left running."""
        with self._lock:
            if self._closing:
                return 0
            self._closing = True
        threads, self._threads = self._threads, []
        for _ in threads:
            self._queries.put(None)
        ends_s = time.monotonic() + self._answer_s
        left = sum(not join_thread(thread, ends_s - time.monotonic(), self._logger) for thread in threads)
        while not self._queries.empty():  # no thread is left to run them
            found = self._queries.get()
            if found is not None and found[1].set_running_or_notify_cancel():
                found[1].set_exception(StoreError(f"the store {self._path} was closed before the query ended"))
        return left

    def check(self) -> None:
        """Checks the structure of the file in a thread of its own, which ends with the readers."""
        thread = threading.Thread(target=self._check, name="heartfelt-store-check", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _check(self) -> None:
        begun_s = time.monotonic()
        try:
            connection = check.read_only(self._path)
            try:
                found = check.structure(connection, CHECK_S, quick=True, stop=lambda: self._closing)
            finally:
                connection.close()
        except FAILURES as error:
            self._logger.warning("%s could not be checked: %s", self._path, error)
            return
        if found:
            self._damage.broken(check.summary(found))
        elif found is not None:
            self._logger.info("%s was checked in %.1f s: nothing is wrong", self._path, time.monotonic() - begun_s)
        elif not self._closing:
            self._logger.warning("%s was not checked: it took longer than %g s", self._path, CHECK_S)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs the query in one of the threads. Raises StoreError, and what the query raises."""
        future: Future[T] = Future()
        with self._lock:
            if self._closing:
                raise StoreError(f"the store {self._path} is closed; read before it is closed")
            self._queries.put((query, future))
        return await asyncio.wrap_future(future)

    def _work(self, queries: queue.SimpleQueue[_Query | None]) -> None:
        try:
            while (found := queries.get()) is not None:
                query, future = found
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(self._run(query))
                    except BaseException as error:
                        future.set_exception(error)
                del found, query, future  # keep no reference to the result
        finally:
            connection: sqlite3.Connection | None = self._local.__dict__.pop("connection", None)
            if connection is not None:
                connection.close()

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._closing:
            raise StoreError(f"the store {self._path} was closed before the query ended")
        end = time.monotonic() + READ_S
        try:
            connection = self._connection()
            connection.set_progress_handler(lambda: self._closing or time.monotonic() > end, _STEPS)
            result = query(connection)
            self.error = None
            return result
        except FAILURES as error:
            if self._closing:
                raise StoreError(f"the store {self._path} was closed before the query ended") from error
            if time.monotonic() > end:
                raise StoreError(
                    f"a query of {self._path} took longer than {READ_S:g} s; ask for fewer services or a shorter period"
                ) from error
            raise StoreError(self._describe(error)) from error

    def _describe(self, error: Exception) -> str:
        """Returns a text for people, and makes the store's health agree with it."""
        if is_broken(error):
            self._damage.broken(str(error))
            return self._damage.error or str(error)
        text = f"{self._path} cannot be read: {error}; check the disk of {self._path.parent}"
        if "I/O" in str(error) or "unable to open" in str(error):
            if self.error is None:
                self._logger.error("%s", text)
            self.error, self.failed_s = text, time.monotonic()
            self._local.__dict__.pop("connection", None)  # the next query opens the file again
        return text

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw",  # does not create a file; mode=ro could not read a WAL
                uri=True,
                timeout=1.0,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16384")
            self._local.connection = connection
        return connection
