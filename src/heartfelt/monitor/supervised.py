# SPDX-License-Identifier: MIT
"""A monitor that is supervised: its start, which a signal may end, its reloads and its stop, and what systemd is told
about each of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.notify import Notifier, Pulse
from heartfelt.monitor.reload import Reload
from heartfelt.monitor.tasks import end_tasks

__all__ = ["Supervised"]

START_S = 15.0
"""How long a start may go on after a signal to stop, since a start that is cut off leaves the store to its recovery."""
RELOAD_END_S = 1.0
"""How long a reload may take to end at the stop."""
_logger = logging.getLogger("heartfelt.monitor")


class Supervised:
    """`await start()`, `ready()`, then `begin_stop()`, `await stop()`. Belongs to the loop's thread."""

    def __init__(self, monitor: Monitor, notifier: Notifier, load: Callable[[], MonitorConfig] | None) -> None:
        self._monitor = monitor
        self._notifier = notifier
        self._reload = Reload(monitor, load)
        self._pulse = Pulse(notifier, fault=monitor.fault, status=monitor.status)
        self._is_ready = False
        self._wanted = False
        self._reloading: asyncio.Task[None] | None = None
        self.hurrying = asyncio.Event()
        """Set by the second signal to stop."""
        monitor.more_stats["reload"] = self._reload.stats
        monitor.more_stats["notify"] = notifier.stats
        monitor.more_readings.append(self._reload.readings)
        monitor.more_readings.append(notifier.readings)

    async def start(self, stopping: asyncio.Event) -> bool:
        """Starts the monitor. Returns False if it was to stop before that was done, and has stopped."""
        self._notifier.send(STATUS="starting")
        start = asyncio.create_task(self._monitor.start(), name="start")
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not start.done():
            hurry = asyncio.create_task(self.hurrying.wait())
            await asyncio.wait((start, hurry), timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if not start.done():
                _logger.warning("the start is cut off by the stop")
                start.cancel()
                await asyncio.wait((start,), timeout=self._monitor.stopping.seconds)
                return False
        start.result()
        return True

    def ready(self) -> None:
        """Reports that all ports are open; does the reload that was asked for during the start."""
        self._is_ready = True
        self._notifier.ready(self._monitor.status())
        self._pulse.start()
        if self._wanted:
            self.reload()

    def reload(self) -> None:
        """Begins a reload. One that is asked for during the start or another reload follows that."""
        self._wanted = True
        if self._is_ready and self._reloading is None:
            self._reloading = asyncio.create_task(self._reload_all(), name="reload")

    async def _reload_all(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                self._notifier.reloading()
                try:
                    await self._reload.run()
                finally:
                    if self._is_ready:
                        self._notifier.ready(self._monitor.status())
        finally:
            self._reloading = None

    def hurry(self) -> None:
        """Makes the stop faster: requests under way are cut off, and each part that waits gets a moment only."""
        if not self.hurrying.is_set():
            _logger.warning("a second signal: the stop is cut short; what is queued is still written to the store")
        self.hurrying.set()
        self._monitor.stopping.hurry()

    def begin_stop(self, http_s: float) -> None:
        """Begins the stop. http_s: the most that the end of the HTTP server takes."""
        self._is_ready = False
        self._notifier.stopping(http_s + RELOAD_END_S + self._monitor.stopping.seconds)
        self._pulse.stop()
        self._monitor.begin_stop()  # so that no request delays the end

    async def stop(self) -> None:
        """Stops the monitor; see `Monitor.stop`. Idempotent."""
        self._is_ready = False
        self._pulse.stop()
        if self._reloading is not None:
            await end_tasks([self._reloading], seconds=RELOAD_END_S)
        await self._monitor.stop()
