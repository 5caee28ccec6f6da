# SPDX-License-Identifier: MIT
"""Gives Redis again what it has lost of this monitor's instances: it was emptied, or a replica without the last writes
has taken over. The writer has found out which (store/redis/restoring.py); the rows are here.

Beats are handled as before meanwhile. A few hundred instances are written at a time, so that nothing else waits long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import Run
from heartfelt.monitor.store import Keys, Who
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import TimedEvent

AT_ONCE = 500
LOOK_S = 1.0
"""How often it is looked whether Redis has what the fleet has once."""
RETRY_S = 0.1
_logger = logging.getLogger("heartfelt.monitor.cluster")


class Emptied:
    """Belongs to the loop's thread. finished: called when all is in Redis again."""

    def __init__(self, registry: Registry, store: RedisStore, finished: Callable[[], None]) -> None:
        self._registry, self._store, self._finished = registry, store, finished
        self.wake = TimedEvent()
        """Set when there is something to be restored."""
        self._began_s = 0.0
        self._found = self._written = 0
        self.is_restoring = False
        self.told: Callable[[], Mapping[str, Mapping[Who, Keys]] | None] = lambda: None
        """Returns what targets were told by this monitor; None: it did not lead when Redis was emptied."""
        self._fleet_emptied = 0

    def renewed(self, renewal: Renewal) -> None:
        """Notes what a renewal of the leases has found."""
        if not renewal.emptied:
            return
        if not self.is_restoring:
            self.is_restoring = True
            self._began_s, self._found, self._written = time.monotonic(), 0, 0
            _logger.error(
                "Redis has lost data of this fleet: %d instances of this monitor are written again, and their changes "
                "wait until then", renewal.emptied,
            )  # fmt: skip
        self._found += renewal.emptied
        self.wake.set()

    async def step(self) -> None:
        """Restores what there is to be restored. Raises StoreError."""
        try:
            await self._look()
        finally:  # it may be another server
            await self.restore()
            if self.is_restoring:  # a server cannot be reached now
                asyncio.get_running_loop().call_later(RETRY_S, self.wake.set)

    async def _look(self) -> None:
        await self._store.look_at_fleet()
        if (n := self._store.fleet_copy.emptied) != self._fleet_emptied:
            if (told := self.told()) is not None:
                await self._store.restore_told(told)
                self._store.put_hold(self._registry.hold())
            self._fleet_emptied = n

    async def restore(self) -> None:
        """Writes everything again that is missing. Raises StoreError."""
        pause = TimedEvent()
        while ids := self._store.leases.to_restore(AT_ONCE):
            rows = {id: None if (one := self._registry.get(id)) is None else one.row() for id in ids}
            n = await self._store.restore(rows)
            self._written += n
            for run in self._open_runs(ids):
                self._store.put_run(run)
            if not n:
                await pause.wait(RETRY_S)
        if self.is_restoring and not self._store.leases.is_emptied:
            self.is_restoring = False
            _logger.warning(
                "Redis has what it had lost again: %d of %d instances of this monitor were written within %.1f s",
                self._written, self._found, time.monotonic() - self._began_s,
            )  # fmt: skip
            self._finished()

    def _open_runs(self, ids: Iterable[int]) -> Iterable[Run]:
        return [run for id in ids for run in self._registry.jobs.open(id)]
