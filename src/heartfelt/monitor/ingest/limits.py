# SPDX-License-Identifier: MIT
"""How fast a client may beat: a token bucket for each address, of which a bounded number is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["ClientRates"]

MOST_CLIENTS = 20_000


class ClientRates:
    """`take` counts beats of a client against its rate.

    A bucket holds what comes in one second, and may go into debt by one message: so a large batch is taken as a
    whole, and the client waits afterwards. At most `most_clients` buckets are kept, of the clients that joined last
    or were limited; one that was forgotten starts anew with a full bucket, which is what an idle one would have by
    then. O(1) each.
    """

    __slots__ = ("_buckets", "_clock", "_most", "_rate", "forgotten", "limited")

    def __init__(
        self, rate: float, *, most_clients: int = MOST_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if rate <= 0 or most_clients < 1:
            raise ValueError(f"rate and most_clients must be above 0, not {rate} and {most_clients}")
        self._rate = rate
        self._most = most_clients
        self._clock = clock
        self._buckets: dict[str, list[float]] = {}  # address -> [beats it may send, when that was so]
        self.limited = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """How long the client has to wait before the next message is taken; 0.0: not at all. Counts nothing."""
        bucket = self._buckets.get(client)
        if bucket is None:
            return 0.0
        left = bucket[0] + (self._clock() - bucket[1]) * self._rate
        return 0.0 if left > 0 else (1.0 - left) / self._rate

    def take(self, client: str, n: int = 1) -> float:
        """0.0 if n beats may be taken now, else how many seconds the client has to wait before they are; then nothing
        is counted against it."""
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
        self._buckets[client] = self._buckets.pop(client)  # the first to be forgotten is one that keeps to its rate
        return (1.0 - left) / self._rate

    def owe(self, client: str, n: int) -> float:
        """The same for what was read already, and is taken whatever it costs: how long to read no more."""
        wait = self.take(client, n)
        if wait > 0:
            self._buckets[client][0] -= n
        return self.wait_s(client)
