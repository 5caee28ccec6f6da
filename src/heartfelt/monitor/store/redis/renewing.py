# SPDX-License-Identifier: MIT
"""Decides when the leases are renewed, and the pages written; gives the leases up at the end.

All leases are renewed eight times in a lease, four times while nothing is owned. What was moved away is looked for as
often as `settle` needs it, but only while something is owned, and by a command that costs less.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from heartfelt.monitor.store.pending import Dropped
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.instances import Instances
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.outcomes import Outcome

__all__ = ["Renewing"]


class Renewing:
    """Belongs to the writer's thread. tell: called with each renewal. watch_s: how often what was moved away is looked
    for."""

    def __init__(
        self, leases: Leases, instances: Instances, dropped: Dropped, tell: Callable[[Outcome], None], watch_s: float
    ) -> None:
        self._leases, self._instances, self._dropped = leases, instances, dropped
        self._tell, self._watch_s = tell, watch_s
        self._renew_s = max(leases.renew_s, watch_s)
        self._longer_s = max(0.0, 2 * leases.renew_s - self._renew_s)
        """How much later the leases are renewed while nothing is owned."""
        self._renew_at = self._watch_at = self._flushed_s = 0.0
        self._is_renewed = False
        """The last renewal has succeeded."""

    def start(self) -> None:
        self._flushed_s = now_s = time.monotonic()
        self._renew_at, self._watch_at = now_s + self._renew_s, now_s + self._watch_s

    def due_s(self) -> float:
        """Returns when something is to be done."""
        return min(self._due_s(), self._flush_at())

    def _due_s(self) -> float:
        if self._leases.must_watch:
            return min(self._renew_at, self._watch_at)
        return self._renew_at + self._longer_s if self._is_renewed else self._renew_at

    def _flush_at(self) -> float:
        return self._flushed_s + self._instances.flush_s  # which gets shorter when one with a short timeout joins

    def renew_soon(self) -> None:
        if not self._instances.ended:
            self._renew_at = self._watch_at = 0.0
            self._is_renewed = False

    def renew(self) -> None:
        """Renews the leases if it is time, and tells what went away before a job finds that it has come back."""
        now_s = time.monotonic()
        if now_s < self._due_s():
            return
        self._watch_at = now_s + self._watch_s
        renewal: Renewal | None
        if now_s >= self._renew_at:
            self._is_renewed = False
            renewal = self._leases.renew()
            self._renew_at, self._is_renewed = now_s + self._renew_s, True
        else:
            renewal = self._leases.watch()
        if renewal is None:
            return
        gone = (*renewal.moved, *renewal.dropped)
        self._dropped.changes += sum(self._instances.drop(entry.id) for _, entry in gone)
        found = Outcome()
        found.renewals.append(renewal)
        self._tell(found)

    def look(self) -> None:
        """Looks now for what was moved away. Raises Unreachable."""
        self._watch_at = 0.0
        self.renew()

    def flush(self, outcome: Outcome) -> None:
        """Writes the pages if it is time. Raises Unreachable."""
        if time.monotonic() >= self._flush_at():
            self._flushed_s = time.monotonic()
            self._instances.flush_pages(outcome)

    def give_up(self) -> None:
        """Writes the deadlines, and gives up the leases. Nothing of instances is written from then on."""
        if self._instances.ended:
            return
        self._instances.ended = True
        self._renew_at = self._watch_at = self._flushed_s = math.inf
        self._instances.flush_pages(Outcome())
        self._leases.stop()
