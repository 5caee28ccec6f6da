# SPDX-License-Identifier: MIT
"""The last ones: a LOST instance is not forgotten if all others of its service have left, or are paused.

Otherwise a service that is down as a whole would vanish after the cache time. It is kept until another instance of its
service comes, or somebody removes it. Nothing is scanned: a service's counts say whether an instance is its last one.
"""

from __future__ import annotations

from heartfelt.monitor.fleet import own_events, reasons
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.model import UNWATCHED, Level, State


class Kept:
    """Belongs to the loop's thread."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._ids: dict[str, int] = {}
        """Service -> id of its last one, if that is kept beyond its cache time."""

    def is_last(self, instance: Instance) -> bool:
        """Returns whether all other instances of its service have left, or are paused: nobody sees these down."""
        counts = self._book.counts.services[instance.service]
        if self._book.uptime.is_elsewhere(instance.service):
            return False
        return counts.total - sum(map(counts.of, UNWATCHED)) == 1

    def keep(self, instance: Instance, now_ms: int) -> None:
        self._ids[instance.service] = instance.id
        self._book.move(instance, State.LOST, reasons.kept_last(instance), Level.NORMAL, now_ms)
        event = own_events.of_instance(now_ms, instance, "INSTANCE_KEPT", instance.reason)
        self._book.publish(self._book.on_event, event)

    def no_longer(self, instance: Instance) -> None:
        """Notes that it is LOST no more."""
        if self._ids.get(instance.service) == instance.id:
            del self._ids[instance.service]

    def outdated_by(self, instance: Instance) -> Instance | None:
        """Returns the one that was kept, and is no longer, since `instance` of the same service has come."""
        kept = self._book.by_id.get(self._ids.pop(instance.service, 0)) if self._ids else None
        return None if kept is instance else kept
