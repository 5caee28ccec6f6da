# SPDX-License-Identifier: MIT
"""How many deliveries wait for each target, and since when, as the store last reported it."""

from __future__ import annotations

import asyncio
import logging

from heartfelt.monitor.store import Backlog, Store
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.tasks import within

__all__ = ["Waiting"]

REFRESH_S = 1.0
"""How long a refresh waits for the store. A scrape must end even if the disk does not respond."""
_log = logging.getLogger("heartfelt.monitor.webhooks")


class Waiting:
    """`by_target` keeps its last values while the store fails: the ages that are computed from them go on growing."""

    def __init__(self, store: Store, *, refresh_s: float = REFRESH_S) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self._log = OutageLog(_log, "the store counts the waiting deliveries again")
        self.by_target: dict[str, Backlog] = {}
        self.errors = 0

    async def refresh(self) -> None:
        """Takes at most `refresh_s`. Raises nothing: a failure is counted, and logged once a minute."""
        try:
            self.by_target = await within(self._refresh_s, self._store.waiting_deliveries())
            self._log.worked()
        except Exception as error:
            self.errors += 1
            timed_out = isinstance(error, asyncio.TimeoutError)
            text = f"no answer within {self._refresh_s:g} s" if timed_out else str(error)
            self._log.failed(f"the store cannot count the waiting deliveries, metrics show the last numbers: {text}")
