# SPDX-License-Identifier: MIT
"""The store on Redis: the contract, and what only many machines have."""

from __future__ import annotations

import itertools
import uuid

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.store.redis import events
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.opening import make_link
from heartfelt.monitor.store.redis.store import RedisStore
from tests.monitor.redis.fake_leases import FakeLeases
from tests.monitor.store.contract import StoreContract

SHARDS = 4
_prefixes = itertools.count()


def a_prefix():
    return f"store{next(_prefixes)}"


def make_store(server, prefix, *, shards=SHARDS, **options):
    link = make_link(parse_address(server.url))
    keys = Keys(prefix, shards)
    return RedisStore(link, keys, FakeLeases(link, keys), monitor_id=uuid.uuid4().hex, **options)


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server):
        self.server = redis_server
        self.prefix = a_prefix()

    def make(self, place, wall_ms):
        return make_store(self.server, self.prefix, wall_ms=wall_ms, lease_ms=lambda row: row.timeout_ms or 60_000)

    def say_what_is_few(self, monkeypatch, few):
        monkeypatch.setattr(events, "SLICE", few // 10)

    def scan_only(self, monkeypatch, count):
        monkeypatch.setattr(events, "TEXT_SCAN", count)
