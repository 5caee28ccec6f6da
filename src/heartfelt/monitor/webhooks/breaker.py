# SPDX-License-Identifier: MIT
"""Decides whether a target may be called now, or has failed so often that it gets a break."""

from __future__ import annotations

from collections import deque

import msgspec

__all__ = ["Breaker", "BreakerSettings", "Pace"]


class BreakerSettings(msgspec.Struct, kw_only=True, frozen=True):
    failures: int = 5
    """How many failures in a row open it."""
    open_ms: int = 30_000
    """How long it is open at first; doubles each time the probe fails too."""
    most_open_ms: int = 600_000


class Breaker:
    """closed -> open after `failures` in a row -> half-open, one probe, after `open_ms` -> closed, or open again."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self.failures = 0
        self.opened = 0
        self.open_until_ms: int | None = None
        self._open_ms = settings.open_ms

    def wait_ms(self, now_ms: int) -> int:
        """Returns how long to wait; 0: it may be called. A clock that is set back does not keep it open longer."""
        if self.open_until_ms is None:
            return 0
        return max(0, min(self.open_until_ms - now_ms, self._settings.most_open_ms))

    def state(self, now_ms: int) -> str:
        if self.open_until_ms is None:
            return "closed"
        return "open" if self.wait_ms(now_ms) else "half-open"

    def succeeded(self) -> None:
        self.failures = 0
        self.open_until_ms = None
        self._open_ms = self._settings.open_ms

    def failed(self, now_ms: int) -> None:
        self.failures += 1
        if self.open_until_ms is not None:  # the probe
            self._open_ms = min(2 * self._open_ms, self._settings.most_open_ms)
        elif self.failures < self._settings.failures:
            return
        self.opened += 1
        self.open_until_ms = now_ms + self._open_ms


class Pace:
    """Allows at most `limit` calls within a minute: a chat robot that is called more often goes silent for ten."""

    _MINUTE_MS = 60_000

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: deque[int] = deque()

    def wait_ms(self, now_ms: int) -> int:
        while self._calls and not now_ms - self._MINUTE_MS < self._calls[0] <= now_ms:
            self._calls.popleft()
        return 0 if len(self._calls) < self._limit else self._calls[0] + self._MINUTE_MS - now_ms

    def called(self, now_ms: int) -> None:
        self._calls.append(now_ms)
