# SPDX-License-Identifier: MIT
"""The last ones: a LOST instance is not forgotten if all others of its service have left, or are paused.

Otherwise a service that is down as a whole would vanish after the cache time. It is kept until another instance of its
service comes, or somebody removes it. Nothing is scanned: a service's counts say whether an instance is its last one.

In a fleet of monitors the counts are the fleet's. The others are asked for theirs when the cache time ends, and every
LOOK_MS after that, since another instance may come elsewhere. While one of them does not answer, the instance stays,
and nobody is told that it is the last. If all monitors have LOST ones only, the one with the least id keeps its own:
otherwise each would forget its own because of the others'.
"""

from __future__ import annotations

import math

from heartfelt.monitor.fleet import own_events, reasons
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.others import Others
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.model import Level, State

LOOK_MS = 10_000
ANSWER_MS = 500
"""In which the other monitors answer."""


class Kept:
    """Belongs to the loop's thread."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.others: Others | None = None
        self._asked: dict[str, float] = {}
        """Service -> when the other monitors were asked for theirs."""
        self._ids: dict[str, int] = {}
        """Service -> id of its last one, if that is kept beyond its cache time."""

    def look_ms(self, instance: Instance, now_ms: float, wall_ms: int) -> int | None:
        """Handles the end of its cache time. None: it is forgotten. Otherwise it stays, and is to be looked at again
        after this time; 0: need not be."""
        if self._book.counts.services[instance.service].watched > 1:
            return None
        if self.others is None or not self.others.ids:
            self._keep(instance, wall_ms)
            return 0 if self.others is None else LOOK_MS
        return self._look_at_others(self.others, instance, now_ms, wall_ms)

    def _look_at_others(self, others: Others, instance: Instance, now_ms: float, wall_ms: int) -> int | None:
        service = instance.service
        asked_ms = self._asked.pop(service, -math.inf)
        found = others.watched(service, now_ms)
        if found is None:
            if now_ms - asked_ms < 2 * ANSWER_MS:  # one of them cannot be reached: it may have others
                return LOOK_MS
            others.want(service)
            self._asked[service] = now_ms
            return ANSWER_MS
        with_some = [monitor for monitor, one in found.items() if one.watched]
        if any(one.beating for one in found.values()) or (with_some and min(with_some) < others.own_id):
            return None
        if not with_some:
            self._keep(instance, wall_ms)
        return LOOK_MS  # those of the others are LOST, too, and are forgotten first

    def _keep(self, instance: Instance, now_ms: int) -> None:
        self._ids[instance.service] = instance.id
        if instance.reason.code == reasons.KEPT_LAST:  # as it was told before
            return
        self._book.move(instance, State.LOST, reasons.kept_last(instance), Level.NORMAL, now_ms)
        event = own_events.of_instance(now_ms, instance, "INSTANCE_KEPT", instance.reason)
        self._book.publish(self._book.on_event, event)

    def no_longer(self, instance: Instance) -> None:
        """Notes that it is LOST no more."""
        self._asked.pop(instance.service, None)
        if self._ids.get(instance.service) == instance.id:
            del self._ids[instance.service]

    def outdated_by(self, instance: Instance) -> Instance | None:
        """Returns the one that was kept, and is no longer, since `instance` of the same service has come."""
        kept = self._book.by_id.get(self._ids.pop(instance.service, 0)) if self._ids else None
        return None if kept is instance else kept
