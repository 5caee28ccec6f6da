# SPDX-License-Identifier: MIT
"""Slows down those who make instances join by the thousand, while the store has many of them to write.

What waits to be written takes memory, which stays with the process once it was used. Only lists of heartbeats wait,
after instances of theirs have joined, and for a bounded time. A store that cannot write, or does not get on, holds up
nobody. Heartbeats of known instances never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from heartfelt.monitor.tasks import TimedEvent

__all__ = ["MOST_S", "MOST_WAITING", "JoinPace", "WriteState"]

MOST_WAITING = 5_000
"""Instances that wait to be written before joins are slowed down."""
MOST_S = 2.0
"""How long a list waits in all."""
LOOK_S = 0.02


class WriteState(Protocol):
    """The part of the store's health that is about writing."""

    @property
    def ok(self) -> bool: ...
    @property
    def writes(self) -> int: ...
    @property
    def waiting_instances(self) -> int: ...


class JoinPace:
    """Belongs to the loop's thread. health: the store's; None: there is no store."""

    def __init__(self, health: Callable[[], WriteState] | None = None) -> None:
        self._health = health
        self._room = TimedEvent()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._stuck_at: int | None = None
        """The number of writes at which somebody waited in vain, and none had followed."""
        self.waits = 0
        """Waits of lists."""

    async def wait(self, most_s: float) -> float:
        """Waits until the store has room, at most `most_s`. Returns how long that took."""
        if self._health is None or not self._is_full(self._health()):
            return 0.0
        loop, writes = asyncio.get_running_loop(), self._health().writes
        began_s = loop.time()
        self.waits += 1
        self._waiting += 1
        try:
            while (left_s := most_s - (loop.time() - began_s)) > 0.0:
                if self._timer is None:
                    self._timer = loop.call_later(LOOK_S, self._look)
                await self._room.wait(left_s)
                if not self._is_full(self._health()):  # another one may have taken the room
                    break
            else:
                if self._health().writes == writes:
                    self._stuck_at = writes
        finally:
            self._waiting -= 1
        return loop.time() - began_s

    def _look(self) -> None:
        """Looks for all that wait, and wakes them once there is room."""
        self._timer = None
        if not self._waiting or self._health is None:
            return
        if self._is_full(self._health()):
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        else:
            self._room.set()
            self._room.clear()

    def _is_full(self, health: WriteState) -> bool:
        return health.ok and health.waiting_instances > MOST_WAITING and health.writes != self._stuck_at
