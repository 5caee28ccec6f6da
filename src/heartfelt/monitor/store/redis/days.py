# SPDX-License-Identifier: MIT
"""Uptime of days, and the heat map. Both are sums over the monitors: each adds what it knows of its own instances."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from heartfelt.monitor.store import HEAT_CELLS, HeatCell, UptimeDay
from heartfelt.monitor.store.kept import DAY_MS
from heartfelt.monitor.store.pending import DayFigures
from heartfelt.monitor.store.queries import text_of
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Command, Link
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import DONE_MS, checked, pack, pairs_of, unpack
from heartfelt.monitor.store.rows import day_of, slices

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
AT_ONCE = 200
"""Services in one call of a script, and keys in one request."""
ADD_DAYS, ADD_HEAT = load("add_days"), load("add_heat")
CELL_BYTES = 8
_CELL = struct.Struct("<II")
_MINUTES_KEPT = 3


def _day_key(keys: Keys, day: int) -> tuple[int, str]:
    shard = day % keys.shards
    return shard, keys.shard(shard, "day", day)


def _hour_key(keys: Keys, hour: int) -> tuple[int, str]:
    shard = hour % keys.shards
    return shard, keys.shard(shard, "heat", hour)


class AddTimes:
    """Makes the commands that add to days and minutes. Belongs to the writer's thread."""

    def __init__(self, keys: Keys, writer_id: str) -> None:
        self._keys = keys
        self._writer_id = writer_id
        self._calls = 0
        self._added: dict[int, dict[str, tuple[int, int]]] = {}
        """By minute: what was added to each service."""

    def days(self, days: Mapping[tuple[int, str], DayFigures], expires_ms: int) -> Iterator[tuple[Command, int]]:
        """Yields commands, and how many days of services each has. Raises one of BAD_VALUE."""
        by_day: dict[int, list[tuple[str, DayFigures]]] = {}
        for (day, service), figures in days.items():
            by_day.setdefault(day, []).append((text_of(service), figures))
        for day, some in by_day.items():
            for part in slices(some, AT_ONCE):
                words: list[Any] = []
                for service, figures in part:
                    times = [round(seconds * 1000) for seconds in figures[:4]]
                    words += (service.encode(), pack([*times, *map(int, figures[4:])]))
                shard, key = _day_key(self._keys, day)
                yield self._command(ADD_DAYS, shard, key, [expires_ms + DAY_MS, *words]), len(part)

    def minute(
        self, minute_ms: int, counts: dict[str, tuple[int, int]], expires_ms: int
    ) -> Iterator[tuple[Command, int]]:
        """Counts what this monitor puts twice once: the larger total, the smaller up."""
        minute = minute_ms // MINUTE_MS
        added = self._added.setdefault(minute, {})
        while len(self._added) > _MINUTES_KEPT:
            del self._added[min(self._added)]
        differences: list[tuple[bytes, int, int]] = []
        for service, (total, up) in counts.items():
            old = added.get(service)
            new = (total, up) if old is None else (max(total, old[0]), min(up, old[1]))
            old = old or (0, 0)
            added[service] = new
            if new != old:
                differences.append((text_of(service).encode(), new[0] - old[0], new[1] - old[1]))
        shard, key = _hour_key(self._keys, minute // 60)
        for part in slices(differences, AT_ONCE):
            words = [word for one in part for word in one]
            yield self._command(ADD_HEAT, shard, key, [expires_ms + HOUR_MS, minute % 60, *words]), len(part)

    def _command(self, script: Any, shard: int, key: str, words: Iterable[Any]) -> Command:
        self._calls += 1
        done = self._keys.shard(shard, "done", script.name, self._writer_id)
        return Command(shard, (script, self._calls, DONE_MS, *words), (done, key))


# -- reading: blocks, any thread


def uptime(link: Link, keys: Keys, services: tuple[str, ...], days: int, today: int) -> list[UptimeDay]:
    found: list[UptimeDay] = []
    for some in slices(list(range(today, today - days, -1)), AT_ONCE):
        for day, values in zip(some, _hashes(link, services, [_day_key(keys, day) for day in some]), strict=True):
            for service in sorted(values):
                *times, losses, failures = unpack(values[service])
                seconds = [ms / 1000 for ms in times]
                found.append(day_of((day, service.decode(), *seconds, losses, failures)))
    return found


def heat(
    link: Link, keys: Keys, services: tuple[str, ...], start_ms: int, end_ms: int, most_hours: int
) -> list[HeatCell]:
    """most_hours: for how many hours before the end there may be cells."""
    found: list[HeatCell] = []
    if end_ms < start_ms:
        return found
    first, last = -(-start_ms // MINUTE_MS), end_ms // MINUTE_MS
    hours = list(range(last // 60, max(first // 60, last // 60 - most_hours) - 1, -1))
    for some in slices(hours, 24):
        for hour, values in zip(some, _hashes(link, services, [_hour_key(keys, hour) for hour in some]), strict=True):
            found += _cells(hour, values, first, last)
            if len(found) >= HEAT_CELLS:
                return found[:HEAT_CELLS]
    return found


def _cells(hour: int, values: dict[bytes, bytes], first: int, last: int) -> list[HeatCell]:
    cells = []
    for service, data in values.items():
        name = service.decode()
        for at in range(len(data) // CELL_BYTES):
            minute = hour * 60 + at
            total, up = _CELL.unpack_from(data, at * CELL_BYTES)
            if total and first <= minute <= last:
                cells.append(HeatCell(service=name, minute_ms=minute * MINUTE_MS, total=total, up=up))
    cells.sort(key=lambda cell: (-cell.minute_ms, cell.service))
    return cells


def _hashes(link: Link, services: tuple[str, ...], where: list[tuple[int, str]]) -> list[dict[bytes, bytes]]:
    """Returns the fields of hashes: all, or those of some services."""
    names = sorted({text_of(service).encode() for service in services})
    if not names:
        return [
            dict(pairs_of(one)) for one in checked(link.execute(Command(at, ("HGETALL", key)) for at, key in where))
        ]
    found = checked(link.execute(Command(at, ("HMGET", key, *names)) for at, key in where))
    return [{name: data for name, data in zip(names, one, strict=True) if data is not None} for one in found]
