# SPDX-License-Identifier: MIT
"""Real threads and the real clock, for a few seconds at a time. Nothing here trusts the scheduler: a test that says
"was beaten in time" measures that it was."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Crowd:
    """Threads that run until told to stop, and whose exceptions fail the test."""

    def __init__(self, crowds: Crowds, patience_s: float) -> None:
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        self.threads: list[threading.Thread] = []
        self._crowds = crowds
        self._patience_s = patience_s

    def start(self, work: Callable[..., object], *arguments: object) -> None:
        def run() -> None:
            self._crowds.mine.crowd = self
            try:
                work(*arguments)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self) -> None:
        deadline = time.monotonic() + self._patience_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert [thread.name for thread in self.threads if thread.is_alive()] == [], "these hang"
        if self.errors:
            raise self.errors[0]

    def end(self) -> None:
        self.stop.set()
        self.join()


class Crowds:
    """Looks like a crowd, the one of the thread that asks: a test that runs in several threads at once
    (pytest-run-parallel) has one in each, and its threads see the one that they are of."""

    def __init__(self, patience_s: float) -> None:
        self.mine = threading.local()
        self._patience_s = patience_s
        self.all: list[Crowd] = []

    def __getattr__(self, name: str) -> object:
        if not hasattr(self.mine, "crowd"):
            self.mine.crowd = Crowd(self, self._patience_s)
            self.all.append(self.mine.crowd)
        return getattr(self.mine.crowd, name)


@pytest.fixture
def crowd(patience_s: float) -> Iterator[Crowds]:
    crowds = Crowds(patience_s)
    yield crowds
    for crowd in crowds.all:
        crowd.stop.set()
    for crowd in crowds.all:
        for thread in crowd.threads:
            thread.join(patience_s)


class Watched:
    """When each group of keys was beaten, and so the longest time that a key of it can have gone without."""

    def __init__(self) -> None:
        self.longest_gap_s = 0.0
        self.passes = 0
        self._before = time.monotonic()

    def begin(self) -> None:
        self._this = time.monotonic()

    def end(self) -> None:
        """A pass over all keys of the group is over: none went longer than from the last pass's begin to now."""
        self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - self._before)
        self._before = self._this
        self.passes += 1


@pytest.fixture
def watched() -> type[Watched]:
    return Watched


@pytest.fixture
def eventually(patience_s: float) -> Callable[[Callable[[], object], str], None]:
    def wait(holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < deadline, what
            threading.Event().wait(0.005)

    return wait


@pytest.fixture
def n_threads() -> Callable[[], int]:
    """How many threads the process has, those of the core included."""
    if not Path("/proc/self/task").exists():
        pytest.skip("threads cannot be counted here")

    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/task").iterdir()))

    return count


@pytest.fixture
def n_fds() -> Callable[[], int]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("descriptors cannot be counted here")
    return lambda: len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def wall_minus_monotonic() -> Callable[[], float]:
    """Seconds to take from an event's times to get time.monotonic()'s."""

    def measure() -> float:
        best, offset = None, 0
        for _ in range(10):
            before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            if best is None or after - before < best:
                best, offset = after - before, wall - (before + after) // 2
        return offset / 1e9

    return measure
