# SPDX-License-Identifier: MIT
"""Whole monitors in one loop that share a real Redis, with networks between all of them that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor
from tests.monitor.redis.partition import Partition
from tests.monitor.redis.servers import free_port

PATIENCE_S = 20
_prefixes = itertools.count()


async def until(condition, what="it"):
    """Waits until the condition is true, and returns its value."""
    give_up = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < give_up, f"{what} did not come about"
        await asyncio.sleep(0.01)
    return value


class One:
    """A monitor, its way to Redis, and the way of the others to it."""

    def __init__(self, folder, redis_port, prefix, **options):
        port = free_port()
        self.redis, self.channel = Partition(redis_port), Partition(port)
        wall_ms = options.pop("wall_ms", None)
        settings = {
            "store": self.redis.url, "data": str(folder), "redis_prefix": prefix, "redis_shards": 2,
            "redis_timeout": 1.0, "http_port": 0, "tcp_enable": False, "udp_enable": False, "hold_enable": False,
            "cluster_host": "127.0.0.1", "cluster_port": port, "cluster_lease": 2.0,
            "cluster_advertise": f"127.0.0.1:{self.channel.port}", "webhooks_allow_private": True,
        }  # fmt: skip
        config = MonitorConfig(**(settings | options))
        self.monitor = Monitor(config) if wall_ms is None else Monitor(config, wall_ms=wall_ms)
        self.member = self.monitor.cluster
        self.registry = self.monitor.registry

    def beat(self, instance_id, service="shop", **fields):
        text = json.dumps({"service": service, "instanceId": instance_id, **fields}).encode()
        self.monitor.intake.take(text, "http", "10.0.0.7")

    def find(self, instance_id, service="shop"):
        return self.registry.find(service, instance_id)

    def owned(self):
        return {one.instance_id for one in self.registry.instances()}

    @property
    def counts(self):
        return self.member.ownership.stats()

    async def beating(self, every_s, *names):
        while True:
            for name in names:
                self.beat(name)
            await asyncio.sleep(every_s)

    async def changes(self, new=None):
        found = await self.monitor.store.changes(id=None, service=None, before=None, limit=1000)
        return [one.instance_id for one in found if new is None or one.new is new]

    async def stop(self):
        await self.monitor.stop()
        self.redis.end()
        self.channel.end()


@contextlib.asynccontextmanager
async def fleet_of(n, folder, redis_server, **options):
    """Yields monitors that all are connected."""
    prefix, made = f"many{next(_prefixes)}-{free_port()}", []
    try:
        for k in range(n):
            made.append(One(folder / str(k), redis_server.port, prefix, **options))
            await made[-1].monitor.start()
        await until(lambda: all(len(one.member.channel.peers.connected) == n - 1 for one in made), "all connections")
        yield made
    finally:
        for one in made:
            await one.stop()


@contextlib.asynccontextmanager
async def doing(*coroutines):
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
