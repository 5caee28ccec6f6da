# SPDX-License-Identifier: MIT
"""Keys that end with a number, as svc/1: where there are some, /ping/svc/2 may be another key or an exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

__all__ = ["Numbered"]

MOST_DIGITS = 10
"""An exit status has no more."""


class HasName(Protocol):
    """An instance, or a shadow of one."""

    @property
    def service(self) -> str: ...
    @property
    def instance_id(self) -> str: ...


class Numbered:
    """Counts the instances of each service whose id is the service, "/" and a number. O(1)."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def join(self, instance: HasName) -> None:
        if _is_numbered(instance):
            self._counts[instance.service] += 1

    def join_alike(self, instances: Sequence[HasName]) -> None:
        """Counts instances of one service. O(instances)."""
        service = instances[0].service
        for one in instances:
            if one.instance_id.startswith(service):
                self.join(one)

    def leave(self, instance: HasName) -> None:
        if _is_numbered(instance):
            self._counts[instance.service] -= 1
            if not self._counts[instance.service]:
                del self._counts[instance.service]

    def has(self, service: str) -> bool:
        return service in self._counts


def _is_numbered(instance: HasName) -> bool:
    if not instance.instance_id.startswith(instance.service):
        return False
    name, _, number = instance.instance_id.rpartition("/")
    return name == instance.service and number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS
