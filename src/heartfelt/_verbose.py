# SPDX-License-Identifier: MIT
"""verbose=True: logs each shard's work at DEBUG, once a second while there is any.

The workers themselves never touch Python; a small Python thread reads their counters.
"""

from __future__ import annotations

import math
import weakref
from logging import Logger
from typing import Protocol

from heartfelt._stats import HubStats, ShardStats
from heartfelt._threads import Latch, Thread

PERIOD_S = 1.0
LINE = (
    "shard %d: %d keys (%d lost), %d joins, %d timeouts, %d recoveries, %d removals, %d wake-ups, "
    "%d blocks looked at, %.6f s of CPU"
)


class ReportedHub(Protocol):
    """A hub as its reporter sees it."""

    _logger: Logger

    def stats(self) -> HubStats: ...


class Reporter:
    """Logs the work of the hub that owns it."""

    def __init__(self, hub: ReportedHub) -> None:
        self._told: tuple[ShardStats, ...] = ()
        self._stop = Latch()
        self._thread = Thread(_run, (weakref.ref(hub), self, self._stop), "heartfelt-verbose")
        self._thread.start()

    def stop(self, hub: ReportedHub) -> None:
        """Ends the thread, and logs what was not logged yet."""
        self._stop.set()
        if not self._thread.is_current():
            self._thread.join(math.inf)
        self.report(hub)

    def report(self, hub: ReportedHub) -> None:
        shards = hub.stats().shards
        told = self._told or (None,) * len(shards)
        for n, (now, before) in enumerate(zip(shards, told, strict=True)):
            if now == before:
                continue
            hub._logger.debug(
                LINE, n, now.keys, now.lost, now.joins, now.timeouts, now.recoveries, now.removals, now.wakeups,
                now.visits, now.cpu_time,
            )  # fmt: skip
        self._told = shards


def _run(hub_ref: weakref.ref[ReportedHub], reporter: Reporter, stop: Latch) -> None:
    while not stop.wait(PERIOD_S):
        hub = hub_ref()
        if hub is None:
            return
        reporter.report(hub)
        del hub
