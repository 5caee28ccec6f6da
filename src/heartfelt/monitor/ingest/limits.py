# SPDX-License-Identifier: MIT
"""Limits how fast a client may beat: a token bucket for each address, for a bounded number of addresses."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["ClientRates"]

MOST_CLIENTS = 20_000


class ClientRates:
    """`take` charges heartbeats to a client's bucket.

    A bucket holds the heartbeats of one second, and one message may overdraw it: a large batch is accepted as a whole,
    and the client waits afterwards. At most `most_clients` buckets are kept: those of the clients that joined or were
    limited most recently. A client whose bucket was dropped starts again with a full one, which an idle client would
    have by then anyway. O(1) each.
    """

    __slots__ = ("_buckets", "_clock", "_most", "_rate", "forgotten", "limited")

    def __init__(
        self, rate: float, *, most_clients: int = MOST_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if rate <= 0 or most_clients < 1:
            raise ValueError(f"rate and most_clients must be above 0; got {rate} and {most_clients}")
        self._rate = rate
        self._most = most_clients
        self._clock = clock
        self._buckets: dict[str, list[float]] = {}  # address -> [heartbeats left, as of which time]
        self.limited = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """Returns how long the client must wait until its next message is accepted. Charges nothing."""
        bucket = self._buckets.get(client)
        if bucket is None:
            return 0.0
        left = bucket[0] + (self._clock() - bucket[1]) * self._rate
        return 0.0 if left > 0 else (1.0 - left) / self._rate

    def take(self, client: str, n: int = 1) -> float:
        """Charges n heartbeats and returns 0.0 if they may be accepted now. Otherwise charges nothing and returns how
        many seconds the client must wait."""
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
                self.forgotten += 1
            self._buckets[client] = [self._rate - n, now]
            return 0.0
        left = bucket[0] + (now - bucket[1]) * self._rate
        if left > self._rate:
            left = self._rate
        bucket[1] = now
        if left > 0:
            bucket[0] = left - n
            return 0.0
        bucket[0] = left
        self.limited += 1
        self._buckets[client] = self._buckets.pop(client)  # so clients within their rate are dropped first
        return (1.0 - left) / self._rate

    def charge(self, client: str) -> bool:
        """Charges one heartbeat and returns True if it may be accepted now. Otherwise changes nothing."""
        bucket = self._buckets.get(client)
        if bucket is None:
            return self.take(client) == 0.0
        now = self._clock()
        left = bucket[0] + (now - bucket[1]) * self._rate
        if left <= 0:
            return False
        bucket[0] = (left if left < self._rate else self._rate) - 1
        bucket[1] = now
        return True

    def owe(self, client: str, n: int) -> float:
        """Charges n heartbeats that are accepted in any case. Returns how long to read nothing more from the client."""
        wait = self.take(client, n)
        if wait > 0:
            self._buckets[client][0] -= n
        return self.wait_s(client)
