# SPDX-License-Identifier: MIT
"""Reads instances and their counts: the part of the registry for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.model import InstanceRow


class BookView:
    """Belongs to the loop's thread."""

    _book: Book

    def has_numbered(self, service: str) -> bool:
        """Returns whether the service has an instance whose id is the service, "/" and a number."""
        return self._book.numbered.has(service)

    def get(self, id: int) -> Instance | None:
        return self._book.by_id.get(id)

    def instances(self) -> Iterator[Instance]:
        """Iterates over all instances; read it at once, or copy it by list() (O(instances))."""
        return iter(self._book.by_id.values())

    def __len__(self) -> int:
        return len(self._book.by_id)

    def services(self) -> Mapping[str, ServiceCounts]:
        """Returns counts by state of each service. A live view: read it, do not write it. O(1)."""
        return self._book.counts.services

    def totals(self) -> ServiceCounts:
        """Returns counts by state of all instances. O(1)."""
        return self._book.counts.all

    def applications(self) -> Mapping[str, int]:
        """Returns the number of instances of each application: `appName`, or the service's name without one. O(1)."""
        return self._book.counts.apps

    def row(self, instance: Instance) -> InstanceRow:
        return instance.row()
