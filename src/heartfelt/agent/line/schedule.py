# SPDX-License-Identifier: MIT
"""When to beat, and when to reconnect. Neither clock nor thread: callers pass the time, in seconds."""

from __future__ import annotations

import random

__all__ = ["Backoff", "Schedule"]


class Schedule:
    """A fixed rate of beats, from the first one on: slot n is due at `first + n * interval`.

    A slot that is not served before the next one begins is missed. After a stall, therefore, one beat is due, not many.
    """

    __slots__ = ("_first", "_interval", "_missed", "_slot")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._slot = 0  # the first slot that is neither served nor missed
        self._missed = 0

    @property
    def begun(self) -> bool:
        return self._first is not None

    def begin(self, now: float) -> None:
        """Makes the first beat due now."""
        self._first = now

    def due(self) -> float:
        """Returns when the next slot to be served begins, or has begun; infinite before `begin`."""
        return float("inf") if self._first is None else self._first + self._slot * self._interval

    def look(self, now: float) -> bool:
        """Returns whether a beat is due; counts slots that ended unserved as missed."""
        passed = self._passed(now)
        self._missed += passed
        self._slot += passed
        return now >= self.due()

    def served(self) -> None:
        """Marks the slot that was due at the last look as served."""
        self._slot += 1

    def skipped(self) -> None:
        """Marks the slot that was due at the last look as missed."""
        self._slot += 1
        self._missed += 1

    def missed(self, now: float) -> int:
        """Returns how many slots were missed until now."""
        return self._missed + self._passed(now)

    def _passed(self, now: float) -> int:
        if self._first is None:
            return 0
        return max(0, int((now - self._first) / self._interval) - self._slot)


class Backoff:
    """The waits after failures: `first`, twice that, ... `most`, each multiplied by a random factor from 0.5 to 1.

    They start over only after a connection that lasted at least one interval and as long as the last wait (without the
    factor): a server that accepts connections and closes them at once does not make an agent reconnect all the time.
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
        """Notes a connection; a new one that replaces one that ended normally does not count as another."""
        if self._connected_at is None:
            self._connected_at = now

    def failed(self, now: float) -> float:
        """Notes that connecting failed or the connection broke; returns how long to wait."""
        lasted = 0.0 if self._connected_at is None else now - self._connected_at
        self._connected_at = None
        if self._base == 0 or lasted >= max(self._base, self._interval):
            self._base = self._first
        else:
            self._base = min(2 * self._base, self._most)
        return self._base * self._random.uniform(0.5, 1)
