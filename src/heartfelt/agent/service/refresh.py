# SPDX-License-Identifier: MIT
"""The refresh thread: one for the process, it does the agents' periodic work that needs Python.

Nothing that it calls may block. Beats report how long ago this thread ran, which shows whether Python runs at all.
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
        """Does what is due at `now`, a monotonic time. Returns when to call it next, or None for never."""


class Refresher:
    """The thread starts when the first object is added, and ends when none is left. For any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._due: dict[Ticked, float] = {}
        self._thread: threading.Thread | None = None
        self.errors = 0

    def add(self, one: Ticked, due: float) -> None:
        """Calls `one` from `due` on. Raises RuntimeError if no thread can be started."""
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
        """Makes `one` due now, if it was added."""
        with self._changed:
            if one in self._due:
                self._due[one] = -math.inf
                self._changed.notify()

    def remove(self, one: Ticked) -> None:
        """Removes `one`; its tick may still be running, for the last time."""
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
                    _logger.exception("the refresh of %r failed; trying again", one)
                    following = now + AFTER_ERROR_S
                with self._changed:
                    if one in self._due:
                        if following is None:
                            del self._due[one]
                        else:
                            self._due[one] = min(self._due[one], following)

    def _wait(self) -> list[Ticked]:
        """Waits for objects that are due, and returns them; empty if none is left, and the thread ends. Each is put off
        for ever, until its tick says when it is due again."""
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
    """Returns the next multiple of a period, so that objects of one period share their wake-ups."""
    return (math.floor(now / period) + 1) * period


the_refresher = Refresher()


def in_child() -> None:
    """Called in a forked child, where the thread does not exist, and the lock may be held."""
    errors = the_refresher.errors
    the_refresher.__init__()  # type: ignore[misc]
    the_refresher.errors = errors
