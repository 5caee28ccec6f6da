# SPDX-License-Identifier: MIT
"""Availability of services whose instances beat to different monitors.

A service is observed while at least one instance of it is watched, and available while enough of them are up, wherever
they are. So one monitor of the fleet adds these times up for a service: its home, by rendezvous hashing of its name
over the living. The others send their counts there when they change, at most every SEND_S, and all of them when the
home may have changed. Watched and up times need none of that: they are added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from heartfelt.monitor.cluster.rendezvous import owner_of, spread
from heartfelt.monitor.fleet.uptime import UptimeMeter
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read

SEND_S = 0.5
AT_ONCE = 1000
"""Services in one notice."""
KIND = "watched"
FIGURES: Figures = {
    "sent": counter("heartfelt_availability_sent", "Counts of services that were sent to their homes"),
    "not_sent": counter("heartfelt_availability_not_sent", "Counts that could not be sent yet; they are sent again"),
    "homed": gauge("heartfelt_availability_homed", "Services of other monitors whose availability is measured here"),
}
_Counts = tuple[int, int]
_NONE = (0, 0)


def _key(service: str) -> bytes:
    return service.encode("utf-8", "surrogatepass")


class Availability:
    """Belongs to the loop's thread. own: this monitor's id. notify: sends a notice to a monitor; False: not now."""

    def __init__(self, own: str, meter: UptimeMeter, notify: Callable[[str, str, Any], bool]) -> None:
        self._own = own
        self._meter = meter
        meter.on_count = self.changed
        self._notify = notify
        self._living: tuple[str, ...] = (own,)
        self._changed: set[str] = set()
        self._all = False
        """All services are to be sent, since the living have changed."""
        self._sent: dict[str, tuple[str, _Counts]] = {}
        """Service -> its home and what was sent there, if that is another monitor."""
        self._of: dict[str, dict[str, _Counts]] = {}
        """Service -> monitor -> its counts, of services whose home this is."""
        self._timer: asyncio.TimerHandle | None = None
        self.counts = {"sent": 0, "not_sent": 0}

    def changed(self, service: str) -> None:
        """Notes that the counts of a service may have changed. O(1)."""
        self._changed.add(service)
        self._arm()

    def set_living(self, living: Iterable[str]) -> None:
        """Notes who lives. What monitors that are gone have sent counts no more."""
        self._living = tuple(sorted(living))
        for service, parts in list(self._of.items()):
            for peer in [one for one in parts if one not in self._living]:
                del parts[peer]
            self._apply(service)
        self._all = True
        self._arm()

    def took(self, peer: str, counts: Mapping[str, _Counts]) -> None:
        """Takes counts of another monitor."""
        for service, some in counts.items():
            parts = self._of.setdefault(service, {})
            if some == _NONE:
                parts.pop(peer, None)
            else:
                parts[peer] = some
            self._apply(service)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SEND_S, self.send)

    def send(self) -> None:
        """Sends what has changed: O(changes), or O(services) if the living have."""
        self._timer = None
        services = {*self._meter.counts(), *self._sent, *self._of} if self._all else self._changed
        self._changed, self._all = set(), False
        homes = spread([_key(service) for service in services], self._living)
        for home, names in homes.items():
            batch: dict[str, _Counts] = {}
            for name in names:
                service = name.decode("utf-8", "surrogatepass")
                counts = self._meter.count_of(service)
                before = self._sent.get(service)
                if before is not None and before[0] != home:
                    self._tell(before[0], {service: _NONE})
                    self._sent.pop(service, None)
                if home == self._own:
                    self._apply(service)
                    continue
                if service in self._of:
                    del self._of[service]
                self._meter.others(service, 0, 0, counts=False)
                if before != (home, counts):
                    batch[service] = counts
                if len(batch) == AT_ONCE:
                    self._tell(home, batch)
                    batch = {}
            if batch:
                self._tell(home, batch)

    def _tell(self, home: str, batch: dict[str, _Counts]) -> None:
        if home not in self._living:
            return
        if not self._notify(home, KIND, batch):
            self.counts["not_sent"] += len(batch)
            for service in batch:
                self._sent.pop(service, None)
                self.changed(service)
            return
        self.counts["sent"] += len(batch)
        for service, counts in batch.items():
            if counts == _NONE:
                self._sent.pop(service, None)
            else:
                self._sent[service] = home, counts

    def _apply(self, service: str) -> None:
        parts = self._of.get(service, {})
        watched, up = sum(one[0] for one in parts.values()), sum(one[1] for one in parts.values())
        is_home = owner_of(_key(service), self._living) == self._own
        self._meter.others(service, watched, up, counts=is_home)
        if not parts:
            self._of.pop(service, None)

    def stats(self) -> dict[str, int]:
        return self.counts | {"homed": len(self._of)}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
