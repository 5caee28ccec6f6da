# SPDX-License-Identifier: MIT
"""Threads that read Redis for coroutines, so that neither the loop nor the writer waits for an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from heartfelt.errors import ConfigError, StoreError
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.packing import Unreadable
from heartfelt.monitor.tasks import join_thread

T = TypeVar("T")
_Work = tuple[Callable[[], Any], "Future[Any]"]


class Reading:
    """Coroutines call `read`. The threads are daemons: one whose server does not answer holds up no exit."""

    def __init__(self, name: str, n_threads: int, *, answer_s: float, logger: logging.Logger) -> None:
        self.error: str | None = None
        """Why Redis could not be reached by the last query; the next one that could clears it."""
        self.failed_s = 0.0
        """When that was, by the monotonic clock."""
        self._name = name
        self._n_threads = n_threads
        self._answer_s = answer_s
        self._logger = logger
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = True

    def open(self) -> None:
        self._threads = [
            threading.Thread(target=self._run, name=f"heartfelt-redis-{n}", daemon=True) for n in range(self._n_threads)
        ]
        self._closed = False
        for thread in self._threads:
            thread.start()

    def close(self) -> int:
        """Blocks for at most `answer_s`. Returns how many threads did not end; each was logged, and is left running."""
        with self._lock:
            if self._closed:
                return 0
            self._closed = True
        for _ in self._threads:
            self._work.put(None)
        ends_s = time.monotonic() + self._answer_s
        left = sum(not join_thread(thread, ends_s - time.monotonic(), self._logger) for thread in self._threads)
        with contextlib.suppress(queue.Empty):
            while True:  # no thread is left to run them, unless one that did not end in time comes back
                found = self._work.get_nowait()
                if found is not None and found[1].set_running_or_notify_cancel():
                    found[1].set_exception(self._ended())
        return left

    async def read(self, work: Callable[[], T]) -> T:
        """Runs it in one of the threads. Raises StoreError, and what it raises because of its arguments."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreError(f"the store {self._name} is closed; read before it is closed")
            self._work.put((work, future))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while (found := self._work.get()) is not None:
            work, future = found
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._done(work))
                except BaseException as error:
                    future.set_exception(error)
            del found, work, future  # keep no reference to the result

    def _done(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise self._ended()
        try:
            result = work()
        except Unreachable as error:
            self.error, self.failed_s = str(error), time.monotonic()
            raise
        except (StoreError, ConfigError):
            raise
        except Exception as error:
            kind = "is damaged" if isinstance(error, (Unreadable, ValueError, KeyError, TypeError)) else "refused it"
            raise StoreError(f"{self._name} cannot be read, it {kind}: {error}") from error
        self.error = None
        return result

    def _ended(self) -> StoreError:
        return StoreError(f"the store {self._name} was closed before the query ended")
