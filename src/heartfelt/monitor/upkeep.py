# SPDX-License-Identifier: MIT
"""What the monitor does by the clock: beats to the store and the stream, counts of each minute, tokens read anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from heartfelt.monitor.metric import counter, histogram
from heartfelt.monitor.tasks import end_tasks

if TYPE_CHECKING:
    from heartfelt.monitor.monitor import Monitor

CHECKPOINT_S = 0.5
RELOAD_S = 2.0
END_S = 1.0
"""How long its tasks may take to end."""
MINUTE_MS = 60_000
MOST_TOLD_BEATS = 5000
FAULTS = counter("heartfelt_upkeep_faults", "Exceptions in the monitor's periodic work")
LOOP_LAG = histogram(
    "heartfelt_loop_lag_seconds",
    "Delay of the event loop, measured twice a second by a timer",
    unit="seconds",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
_logger = logging.getLogger("heartfelt.monitor")


class Upkeep:
    """`start()`, `await stop()`, which takes at most `end_s`."""

    def __init__(self, monitor: Monitor, *, end_s: float = END_S) -> None:
        self._monitor = monitor
        self.end_s = end_s
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self._minute = monitor.wall_ms() // MINUTE_MS
        self.faults = 0
        self.left_running = 0

    def start(self) -> None:
        self._running = True
        self._tasks = [
            asyncio.create_task(self._repeat(CHECKPOINT_S, self._checkpoint, measured=True), name="upkeep checkpoint"),
            asyncio.create_task(self._repeat(RELOAD_S, self._monitor.auth.reload), name="upkeep tokens"),
        ]

    async def stop(self) -> None:
        self._running = False
        tasks, self._tasks = self._tasks, []
        self.left_running += len(await end_tasks(tasks, seconds=self.end_s))
        self.checkpoint()

    async def _repeat(self, every_s: float, work: Callable[[], Awaitable[None]], *, measured: bool = False) -> None:
        loop = asyncio.get_running_loop()
        while self._running:
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            if measured:
                self._monitor.metrics.loop_lag.observe(max(0.0, loop.time() - due))
            try:
                await work()
            except Exception:  # one fault must not end what keeps the store up to date
                self.faults += 1
                _logger.exception("the monitor's upkeep failed; it goes on")

    async def _checkpoint(self) -> None:
        self.checkpoint()
        self.sample_rates()
        self.count_minute()

    def checkpoint(self) -> None:
        """The last beats of all that beat since the last time."""
        monitor = self._monitor
        beats = monitor.registry.dirty_beats()
        if not beats:
            return
        if monitor.stream.watched:
            told = list(beats.items())
            for begin in range(0, len(told), MOST_TOLD_BEATS):
                monitor.stream.publish("beats", told[begin : begin + MOST_TOLD_BEATS])
        monitor.store.put_beats(beats)

    def sample_rates(self) -> None:
        monitor = self._monitor
        now_s = monitor.uptime_s()
        if monitor.rates.is_due(now_s):
            figures = monitor.registry.stats()
            events = figures["changes"] + sum(monitor.intake.counters.events.values())
            monitor.rates.sample(now_s, monitor.wall_ms(), int(figures["beats"]), int(events))

    def count_minute(self) -> None:
        monitor = self._monitor
        minute = monitor.wall_ms() // MINUTE_MS
        if minute == self._minute:
            return
        self._minute = minute
        services = monitor.registry.services()
        monitor.store.put_counts(minute * MINUTE_MS, {name: (one.total, one.up) for name, one in services.items()})
