# SPDX-License-Identifier: MIT
"""The outbox in Redis as a Store, as far as the outbox goes: with a queue of what is put, and coroutines."""

from __future__ import annotations

import asyncio
import contextlib

from heartfelt.monitor.model import Level
from heartfelt.monitor.store import Health
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.outbox import RedisOutbox
from heartfelt.monitor.store.rows import RANK, to_json
from tests.monitor.redis.plain_link import PlainLink


@contextlib.contextmanager
def outboxes(port, prefix, n=1):
    """Several outboxes of one fleet, each with a link of its own."""
    links = [PlainLink(port) for _ in range(n)]
    try:
        yield [RedisOutbox(link, Keys(prefix, 64)) for link in links]
    finally:
        for link in links:
            link.close()


class OutboxStore:
    def __init__(self, port, prefix, wall_ms):
        self.link = PlainLink(port)
        self.outbox = RedisOutbox(self.link, Keys(prefix, 64))
        self._wall_ms = wall_ms
        self._rows, self._told = [], []

    def open(self):
        return None

    def close(self):
        self._write()
        self.link.close()

    def health(self):
        return Health(
            ok=True, error=None, waiting=len(self._rows), dropped_changes=0, dropped_events=0, writes=0, bytes=0,
            last_written_ms=None,
        )  # fmt: skip

    def put_delivery(self, target, key, payload, *, subject="", level=Level.NORMAL):
        self._rows.append((target, key, to_json(payload), self._wall_ms(), subject, RANK[level]))

    def put_told(self, target, instances):
        self._told.append((target, instances))

    def _write(self):
        rows, self._rows = self._rows, []
        told, self._told = self._told, []
        self.outbox.put_deliveries(rows)
        for target, instances in told:
            self.outbox.put_told(target, instances)

    async def flush(self):
        await asyncio.to_thread(self._write)

    async def next_deliveries(self, now_ms, limit, room=None):
        return await asyncio.to_thread(self.outbox.next_deliveries, now_ms, limit, room)

    async def finish_delivery(self, number, **result):
        await asyncio.to_thread(self.outbox.finish_delivery, number, **result)

    async def drop_deliveries(self, target, answer, *, forget=False):
        await self.flush()
        return await asyncio.to_thread(self.outbox.drop_deliveries, target, answer, forget=forget)

    async def hasten_deliveries(self, target, now_ms):
        await asyncio.to_thread(self.outbox.hasten_deliveries, target, now_ms)

    async def delivery_states(self, target, keys):
        return await asyncio.to_thread(self.outbox.delivery_states, target, keys)

    async def told(self):
        return await asyncio.to_thread(self.outbox.told)

    async def waiting_deliveries(self):
        return await asyncio.to_thread(self.outbox.waiting_deliveries, lambda: list(self._rows))

    async def deliveries(self, target, before, limit):
        return await asyncio.to_thread(self.outbox.deliveries, target, before, limit)
