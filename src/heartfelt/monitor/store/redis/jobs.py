# SPDX-License-Identifier: MIT
"""Jobs that coroutines wait for, on their way to the writer's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.outcomes import Outcome

Job = Callable[[Outcome], Any]
Waiting = deque[tuple["Job | None", "Future[Any]"]]
"""None: nothing is to be done but what was put before."""


class WriterJobs:
    """Any thread. Urgent jobs do not wait for what else is being written."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._urgent: Waiting = deque()
        self._others: Waiting = deque()
        self._closed = False

    def add(self, job: Job | None, *, urgent: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise StoreError(f"the store {self._name} is closed; write before it is closed")
            (self._urgent if urgent else self._others).append((job, future))
        return future

    def take_urgent(self) -> Waiting:
        if not self._urgent:
            return deque()
        with self._lock:
            taken, self._urgent = self._urgent, deque()
        return taken

    def take_others(self) -> Waiting:
        with self._lock:
            taken, self._others = self._others, deque()
        return taken

    def close(self) -> None:
        """Takes no more jobs."""
        with self._lock:
            self._closed = True

    def refuse(self) -> None:
        """Raises StoreError in the coroutines whose jobs will not be run."""
        for _, future in (*self.take_urgent(), *self.take_others()):
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreError(f"the store {self._name} was closed before this was written"))
