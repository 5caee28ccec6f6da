# SPDX-License-Identifier: MIT
"""Periodic work: last beats and uptime to the store, rates, counts of each minute, reloading of tokens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.history import RateHistory
from heartfelt.monitor.metric import counter
from heartfelt.monitor.store import Store, StoreError
from heartfelt.monitor.tasks import end_tasks
from heartfelt.monitor.web.stream import Stream

if TYPE_CHECKING:
    from heartfelt.monitor.cluster.relay import Relay

CHECKPOINT_S = 0.5
RELOAD_S = 2.0
END_S = 1.0
"""How long its tasks may take to end."""
MINUTE_MS = 60_000
MOST_PUBLISHED_BEATS = 5000
"""The most beats in one message of the stream."""
FAULTS = counter("heartfelt_upkeep_faults", "Exceptions in the monitor's periodic work")
_logger = logging.getLogger("heartfelt.monitor")


class Upkeep:
    """`start()`, `await stop()`, which takes at most `end_s`.

    An error in the work is logged and counted in `faults`, and the work goes on.

    events_taken: how many events agents have sent so far. observe_lag_s: called twice a second with how late the event
    loop ran the timer.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: Store,
        stream: Stream | Relay,
        rates: RateHistory,
        events_taken: Callable[[], int],
        reload_tokens: Callable[[], Awaitable[None]],
        observe_lag_s: Callable[[float], None],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
        checkpoint_s: float = CHECKPOINT_S,
        reload_s: float = RELOAD_S,
        end_s: float = END_S,
    ) -> None:
        self._registry = registry
        self._store = store
        self._stream = stream
        self._rates = rates
        self._events_taken = events_taken
        self._reload_tokens = reload_tokens
        self._observe_lag_s = observe_lag_s
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._checkpoint_s, self._reload_s = checkpoint_s, reload_s
        self.end_s = end_s
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self._minute = wall_ms() // MINUTE_MS
        self.faults = 0
        self.left_running = 0

    def start(self) -> None:
        self._running = True
        self._tasks = [
            asyncio.create_task(
                self._repeat(self._checkpoint_s, self._checkpoint, measured=True), name="upkeep checkpoint"
            ),
            asyncio.create_task(self._repeat(self._reload_s, self._reload_tokens), name="upkeep tokens"),
        ]

    async def stop(self) -> None:
        self._running = False
        tasks, self._tasks = self._tasks, []
        self.left_running += len(await end_tasks(tasks, seconds=self.end_s))
        self.checkpoint()
        self.keep_uptime(complete=True)

    async def _repeat(self, every_s: float, work: Callable[[], Awaitable[None]], *, measured: bool = False) -> None:
        loop = asyncio.get_running_loop()
        while self._running:
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            if measured:
                self._observe_lag_s(max(0.0, loop.time() - due))
            try:
                await work()
            except Exception:  # one error must not end the work that keeps the store up to date
                self.faults += 1
                _logger.exception("the monitor's periodic work failed; it continues")

    async def _checkpoint(self) -> None:
        self.checkpoint()
        self.sample_rates()
        self.keep_uptime(complete=self.count_minute())

    def checkpoint(self) -> None:
        """Writes and publishes the last beat of each instance that has beaten since the last call."""
        beats = self._registry.dirty_beats()
        if not beats:
            return
        if self._stream.watched:
            published = list(beats.items())
            for begin in range(0, len(published), MOST_PUBLISHED_BEATS):
                self._stream.publish("beats", published[begin : begin + MOST_PUBLISHED_BEATS])
        self._store.put_beats(beats)

    def sample_rates(self) -> None:
        now_s = self._now_s()
        if self._rates.is_due(now_s):
            figures = self._registry.stats()
            events = figures["changes"] + self._events_taken()
            self._rates.sample(now_s, self._wall_ms(), int(figures["beats"]), int(events))

    def count_minute(self) -> bool:
        """At the first call in a new minute, stores how many instances of each service are watched, and how many are
        up. Returns whether it is the first call."""
        minute = self._wall_ms() // MINUTE_MS
        if minute == self._minute:
            return False
        self._minute = minute
        counts = self._registry.uptime.counts()
        if counts:
            self._store.put_counts(minute * MINUTE_MS, counts)
        return True

    def keep_uptime(self, *, complete: bool) -> None:
        """Stores the uptime of services with a change, or, if `complete`, of all until now. Those of all are stored
        once a minute, so `kill -9` loses at most a minute, which is then not watched."""
        self._registry.uptime.publish(complete=complete)

    async def store_uptime(self) -> None:
        """Returns when the uptime of all services until now can be read from the store, or the store cannot be
        written."""
        self.keep_uptime(complete=True)
        with contextlib.suppress(StoreError):  # its health says so; what was stored before can still be read
            await self._store.flush()
