# SPDX-License-Identifier: MIT
"""When to beat, and when to connect again: no clock and no thread of its own, all times in seconds are given."""

from __future__ import annotations

import random

__all__ = ["Backoff", "Schedule"]


class Schedule:
    """Beats are due at a fixed rate from the first one on: slot n at `first + n * interval`.

    A slot that is not served before the next one begins is missed. So after a stall one beat is due, not many.
    """

    __slots__ = ("_first", "_interval", "_missed", "_slot")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._slot = 0  # the first one that is neither served nor missed
        self._missed = 0

    @property
    def begun(self) -> bool:
        return self._first is not None

    def begin(self, now: float) -> None:
        """The first beat is due now."""
        self._first = now

    def due(self) -> float:
        """When the next slot that is to be served begins, or has begun; infinite before `begin`."""
        return float("inf") if self._first is None else self._first + self._slot * self._interval

    def look(self, now: float) -> bool:
        """Whether a beat is due; slots that ended unserved have become missed."""
        passed = self._passed(now)
        self._missed += passed
        self._slot += passed
        return now >= self.due()

    def served(self) -> None:
        """The slot that was due at the last look is done with."""
        self._slot += 1

    def skipped(self) -> None:
        """The slot that was due at the last look will not be served."""
        self._slot += 1
        self._missed += 1

    def missed(self, now: float) -> int:
        """How many were missed until now."""
        return self._missed + self._passed(now)

    def _passed(self, now: float) -> int:
        if self._first is None:
            return 0
        return max(0, int((now - self._first) / self._interval) - self._slot)


class Backoff:
    """How long to wait after each failure: `first`, twice that, ... `most`, each by a random share of 0.5 to 1.

    It starts over only after a connection that lasted at least as long as the last wait (before its share was taken)
    and one interval: a server that accepts and closes at once does not make an agent connect without end.
    """

    __slots__ = ("_base", "_connected_at", "_first", "_interval", "_most", "_random")

    def __init__(self, first: float, most: float, interval: float, seed: int | None) -> None:
        self._first = first
        self._most = max(first, most)
        self._interval = interval
        self._random = random.Random(seed)
        self._base = 0.0
        self._connected_at: float | None = None

    def connected(self, now: float) -> None:
        """A connection stands, or a new one took the place of one that ended as it should."""
        if self._connected_at is None:
            self._connected_at = now

    def failed(self, now: float) -> float:
        """There is no connection, or it broke: how long to wait."""
        lasted = 0.0 if self._connected_at is None else now - self._connected_at
        self._connected_at = None
        if self._base == 0 or lasted >= max(self._base, self._interval):
            self._base = self._first
        else:
            self._base = min(2 * self._base, self._most)
        return self._base * self._random.uniform(0.5, 1)
