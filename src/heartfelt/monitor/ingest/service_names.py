# SPDX-License-Identifier: MIT
"""Remembers to which service an instance belongs, since the events of Sermant's agents name only the instance.

They may come before the first heartbeat of a connection, or long after the instance was removed: agents collect events
for up to 5 minutes.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ServiceNames"]


class ServiceNames:
    """Services by instance id, for instances of Sermant's agents. Remembers the last `most` instances that connected,
    also after their removal. O(1); belongs to the loop's thread."""

    __slots__ = ("_most", "_names", "forgotten")

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: dict[str, str] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._names)

    def learn(self, instance_id: str, service: str) -> None:
        self._names.pop(instance_id, None)
        if len(self._names) >= self._most:
            del self._names[next(iter(self._names))]
            self.forgotten += 1
        self._names[instance_id] = service

    def learn_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Learns (instance id, service), the newest last."""
        for instance_id, service in pairs:
            self.learn(instance_id, service)

    def of(self, instance_id: str) -> str | None:
        return self._names.get(instance_id)
