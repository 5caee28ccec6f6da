# SPDX-License-Identifier: MIT
"""Reads of the fleet's history, which need no writer and belong to no monitor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from heartfelt.monitor.model import Level, Run
from heartfelt.monitor.store import Delivery, EventCursor, EventFilter, HeatCell, StoredEvent, UptimeDay, Who
from heartfelt.monitor.store import Keys as DeliveryKeys
from heartfelt.monitor.store.kept import DAY_MS, Retention
from heartfelt.monitor.store.redis import days as times
from heartfelt.monitor.store.redis import documents, history
from heartfelt.monitor.store.redis.events import Events
from heartfelt.monitor.store.redis.fleet_copy import FleetCopy
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Link
from heartfelt.monitor.store.redis.outbox import RedisOutbox
from heartfelt.monitor.store.redis.reading import Reading
from heartfelt.monitor.store.redis.values import ValueDamage

READERS = 4
SERVERS = 2
"""Threads for documents and the outbox, which long queries must not hold up."""


class HistoryReader:
    """Part of `RedisStore`. keep: how long records are kept. is_closing: queries end then."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        name: str,
        claimer: str,
        keep: Callable[[], Retention],
        is_closing: Callable[[], bool],
        wall_ms: Callable[[], int],
        answer_s: float,
        logger: logging.Logger,
    ) -> None:
        self._link, self._keys = link, keys
        self._keep = keep
        self._wall_ms = wall_ms
        self._reading = Reading(name, READERS, answer_s=answer_s, logger=logger)
        self._serving = Reading(name, SERVERS, answer_s=answer_s, logger=logger)
        self._outbox = RedisOutbox(link, keys, logger=logger, claimer=claimer)
        self._damage = ValueDamage(logger)
        self.fleet_copy = FleetCopy(link, keys, logger)
        self._events = Events(link, keys, self._damage, is_closing)
        self._changes = history.ChangeHistory(link, keys, self._damage, is_closing)

    async def events(self, which: EventFilter, *, before: EventCursor | int | None, limit: int) -> list[StoredEvent]:
        return await self._reading.read(lambda: self._events.page(which, before, limit))

    async def newest_event(self) -> int:
        return await self._reading.read(self._events.newest)

    async def count_events(self, which: EventFilter) -> dict[Level, int]:
        return await self._reading.read(lambda: self._events.count(which))

    async def uptime(self, services: tuple[str, ...], days: int) -> list[UptimeDay]:
        today = self._wall_ms() // DAY_MS
        return await self._reading.read(lambda: times.uptime(self._link, self._keys, services, days, today))

    async def heat(self, services: tuple[str, ...], start_ms: int, end_ms: int) -> list[HeatCell]:
        hours = self._keep().heat_ms // times.HOUR_MS + 2
        return await self._reading.read(lambda: times.heat(self._link, self._keys, services, start_ms, end_ms, hours))

    async def runs(self, id: int, *, before: int | None, limit: int) -> list[Run]:
        return await self._reading.read(lambda: history.runs(self._link, self._keys, id, before, limit))

    # -- documents

    async def get_document(self, kind: str, name: str) -> Any | None:
        return await self._serving.read(lambda: documents.document(self._link, self._keys, kind, name))

    async def documents(self, kind: str) -> dict[str, Any]:
        found = await self._serving.read(lambda: self.fleet_copy.look(kind))
        return documents.decoded(found.items())

    # -- the outbox

    async def next_deliveries(self, now_ms: int, limit: int, room: Mapping[str, int] | None = None) -> list[Delivery]:
        return await self._serving.read(lambda: self._outbox.next_deliveries(now_ms, limit, room))

    async def finish_delivery(
        self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str, tried: bool = True
    ) -> None:
        finish = self._outbox.finish_delivery
        await self._serving.read(lambda: finish(number, ok=ok, retry_at_ms=retry_at_ms, answer=answer, tried=tried))

    async def hasten_deliveries(self, target: str, now_ms: int) -> None:
        await self._serving.read(lambda: self._outbox.hasten_deliveries(target, now_ms))

    async def delivery_states(self, target: str, keys: Iterable[str]) -> dict[str, str]:
        wanted = list(keys)
        return await self._serving.read(lambda: self._outbox.delivery_states(target, wanted))

    async def told(self) -> dict[str, dict[Who, DeliveryKeys]]:
        return await self._serving.read(self._outbox.told)

    async def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]:
        return await self._serving.read(lambda: self._outbox.deliveries(target, before, limit))
