# SPDX-License-Identifier: MIT
"""Decides whether a target may be called now, or gets a break because it failed too often."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

__all__ = ["Breaker", "BreakerSettings", "Pace"]


class BreakerSettings(msgspec.Struct, kw_only=True, frozen=True):
    failures: int = 5
    """How many failures in a row open it, if they are of several messages."""
    messages: int = 3
    """How many messages those are at least: one that fails again and again says nothing about others."""
    open_ms: int = 30_000
    """How long it is open at first; doubles each time the probe fails too."""
    most_open_ms: int = 60_000
    """No message waits longer than this because others failed."""


class Breaker:
    """closed -> open after `failures` in a row -> half-open, one probe, after `open_ms` -> closed, or open again.

    Each call is named by the number of its delivery.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self.failures = 0
        self.opened = 0
        self.open_until_ms: int | None = None
        self._open_ms = settings.open_ms
        self._probe: int | None = None
        self._failed: set[int] = set()
        """The messages that failed, as many as matter."""

    def wait_ms(self, now_ms: int) -> int:
        """Returns how long to wait; 0: it may be called. A clock that is set back does not keep it open longer."""
        if self.open_until_ms is None:
            return 0
        return max(0, min(self.open_until_ms - now_ms, self._settings.most_open_ms))

    def room(self, now_ms: int) -> int | None:
        """Returns how many calls may begin; None: any number."""
        if self.open_until_ms is None:
            return None
        return 0 if self.wait_ms(now_ms) or self._probe is not None else 1

    def state(self, now_ms: int) -> str:
        if self.open_until_ms is None:
            return "closed"
        return "open" if self.wait_ms(now_ms) else "half-open"

    def began(self, number: int) -> None:
        if self.open_until_ms is not None:
            self._probe = number

    def ended(self, number: int) -> None:
        """The call is over, or was not made."""
        if self._probe == number:
            self._probe = None

    def succeeded(self) -> None:
        self.failures = 0
        self.open_until_ms = None
        self._open_ms = self._settings.open_ms
        self._failed.clear()

    def failed(self, now_ms: int, number: int) -> None:
        if self.open_until_ms is not None and self._probe != number:
            return  # a call that began before it opened
        self.failures += 1
        if len(self._failed) < self._settings.messages:
            self._failed.add(number)
        if self.open_until_ms is not None:
            self._open_ms = min(2 * self._open_ms, self._settings.most_open_ms)
        elif self.failures < self._settings.failures or len(self._failed) < self._settings.messages:
            return
        self.opened += 1
        self.open_until_ms = now_ms + self._open_ms


class Pace:
    """Allows a limited number of calls within each of some spans of time: a chat robot that is called more often goes
    silent for minutes."""

    def __init__(self, limits: Sequence[tuple[int, int]]) -> None:
        """limits: pairs of a number of calls and a span in ms, the longest span first."""
        self._limits = limits
        self._calls: deque[int] = deque()
        self._held_until_ms: int | None = None

    def hold(self, now_ms: int, for_ms: int) -> None:
        """Allows no call for this long, because the target asked for that."""
        self._held_until_ms = max(now_ms + for_ms, self._held_until_ms or 0)

    def wait_ms(self, now_ms: int) -> int:
        """Returns how long to wait until one call is allowed; 0: none."""
        span_ms = self._limits[0][1]
        while self._calls and not now_ms - span_ms < self._calls[0] <= now_ms:
            self._calls.popleft()
        waits = [0 if self._held_until_ms is None else self._held_until_ms - now_ms]
        for limit, span_ms in self._limits:
            if len(self._calls) >= limit:
                waits.append(self._calls[-limit] + span_ms - now_ms)
        return max(waits)

    def room(self, now_ms: int) -> int:
        """Returns how many calls are allowed now."""
        if self.wait_ms(now_ms) > 0:
            return 0
        return min(limit - sum(at_ms > now_ms - span_ms for at_ms in self._calls) for limit, span_ms in self._limits)

    def called(self, now_ms: int) -> None:
        self._calls.append(now_ms)

    def not_called(self) -> None:
        """Takes back the last `called`."""
        if self._calls:
            self._calls.pop()
