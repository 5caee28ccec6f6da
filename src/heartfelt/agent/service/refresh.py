# SPDX-License-Identifier: MIT
"""The one refresh thread of a process: it runs whatever of the agents must be done in Python, each at its time.

What it ticks must not block. That this thread gets to run is what tells a beat's reader that Python does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Protocol

_logger = logging.getLogger("heartfelt.agent")
AFTER_ERROR_S = 1.0


class Ticked(Protocol):
    def tick(self, now: float) -> float | None:
        """Does what is due at `now`, a monotonic time; when to be called next, or None for never again."""


class Refresher:
    """The thread starts with the first that is added, and ends when none is left. Any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._due: dict[Ticked, float] = {}
        self._thread: threading.Thread | None = None
        self.errors = 0

    def add(self, one: Ticked, due: float) -> None:
        """Raises RuntimeError if the system has no more threads."""
        with self._changed:
            self._due[one] = due
            try:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="heartfelt-agent", daemon=True)
                    self._thread.start()
            except BaseException:
                self._thread = None
                del self._due[one]
                raise
            self._changed.notify()

    def wake(self, one: Ticked) -> None:
        """It is due now, if it is here."""
        with self._changed:
            if one in self._due:
                self._due[one] = -math.inf
                self._changed.notify()

    def remove(self, one: Ticked) -> None:
        """It may be within its tick still, for the last time."""
        with self._changed:
            self._due.pop(one, None)
            self._changed.notify()

    def _run(self) -> None:
        while due := self._wait():
            now = time.monotonic()
            for one in due:
                try:
                    following = one.tick(now)
                except Exception:
                    self.errors += 1
                    _logger.exception("the refresh of %r failed; it is tried again", one)
                    following = now + AFTER_ERROR_S
                with self._changed:
                    if one in self._due:
                        if following is None:
                            del self._due[one]
                        else:
                            self._due[one] = min(self._due[one], following)

    def _wait(self) -> list[Ticked]:
        """Those that are due, each put off for good, until its tick says when; empty: the thread ends."""
        with self._changed:
            while self._due:
                now = time.monotonic()
                due = [one for one, when in self._due.items() if when <= now]
                if due:
                    for one in due:
                        self._due[one] = math.inf
                    return due
                first = min(self._due.values())
                self._changed.wait(None if math.isinf(first) else first - now)
            self._thread = None
            return []


def grid(now: float, period: float) -> float:
    """The next multiple of a period: those of one period are then due together, by one wake-up."""
    return (math.floor(now / period) + 1) * period


the_refresher = Refresher()


def in_child() -> None:
    """After a fork: its thread is not here, and its lock may have been held."""
    errors = the_refresher.errors
    the_refresher.__init__()  # type: ignore[misc]
    the_refresher.errors = errors
