# SPDX-License-Identifier: MIT
"""The viewers of the event stream: a queue for each, and what all queues together take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from heartfelt.monitor.tasks import TimedEvent

__all__ = ["COMMENT", "Backlogs", "Queued", "Viewer", "nothing_unsent"]

COMMENT = b": still here\n\n"
AT_ONCE_BYTES = 16 << 10
"""A viewer is handed about this much at a time: it is a copy, and waits in the connection's buffer."""
_ENTRY_BYTES = 8
_MESSAGE_BYTES = 120
"""Memory of an entry in a queue, and of a message besides its text."""


def nothing_unsent() -> int:
    """For a viewer whose connection's buffer is unknown."""
    return 0


class Queued:
    """A message in the queues of any number of viewers, which share it."""

    __slots__ = ("data", "holders")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.holders = 0


class Backlogs:
    """Memory taken by the queues of all viewers: `n_bytes`. A message is counted once, whoever waits for it."""

    __slots__ = ("n_bytes",)

    def __init__(self) -> None:
        self.n_bytes = 0

    def add(self, message: Queued) -> None:
        if not message.holders:
            self.n_bytes += len(message.data) + _MESSAGE_BYTES
        message.holders += 1
        self.n_bytes += _ENTRY_BYTES

    def remove(self, message: Queued) -> None:
        message.holders -= 1
        self.n_bytes -= _ENTRY_BYTES
        if not message.holders:
            self.n_bytes -= len(message.data) + _MESSAGE_BYTES


class Viewer:
    """One open stream: a bounded queue. `offer` never waits."""

    def __init__(
        self,
        topics: frozenset[str],
        most_bytes: int,
        backlogs: Backlogs,
        allowed: Callable[[], bool] | None = None,
        unsent: Callable[[], int] = nothing_unsent,
    ) -> None:
        self.topics = topics
        self.allowed = allowed
        self._unsent = unsent
        self._most_bytes = most_bytes
        self._backlogs = backlogs
        self._queue: deque[Queued] = deque()
        self.waiting = 0
        """Bytes of queued messages."""
        self._handed = 0  # bytes of which its connection has a copy
        self._wake = TimedEvent()
        self.closed = False
        self._is_over = False
        self.resyncs = 0

    def offer(self, message: Queued) -> bool:
        """Queues a message. False: it did not fit, and the queue was emptied; send a resync next."""
        if self._is_over:
            return True
        if self.waiting + len(message.data) > self._most_bytes:
            self.clear()
            self.resyncs += 1
            return False
        self._queue.append(message)
        self._backlogs.add(message)
        self.waiting += len(message.data)
        self._wake.set()
        return True

    def clear(self) -> None:
        for message in self._queue:
            self._backlogs.remove(message)
        self._queue.clear()
        self.waiting = 0

    def _hand(self, n_bytes: int) -> None:
        self._backlogs.n_bytes += n_bytes - self._handed
        self._handed = n_bytes

    def close(self) -> None:
        self.closed = True
        self._wake.set()

    def end(self) -> None:
        """Drops everything, because nobody will take it. Idempotent."""
        self._is_over = True
        self.clear()
        self._hand(0)

    async def take(self, timeout_s: float) -> bytes:
        """Returns queued messages, about AT_ONCE_BYTES; a comment after `timeout_s` without any; b"" when the viewer is
        closed and everything was taken."""
        self._hand(self._unsent())
        if not self._queue and not self.closed and not await self._wake.wait(timeout_s):
            return COMMENT
        parts: list[bytes] = []
        size = 0
        while self._queue and size < AT_ONCE_BYTES:
            message = self._queue.popleft()
            self._backlogs.remove(message)
            parts.append(message.data)
            size += len(message.data)
        self.waiting -= size
        if not self._queue:
            self._wake.clear()
        self._hand(self._unsent() + size)
        return b"".join(parts)
