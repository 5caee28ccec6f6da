# SPDX-License-Identifier: MIT
"""The store on Redis: the contract, and what only many machines have."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.store.redis import events
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.opening import make_link
from tests.monitor.redis.one_machine import Ids, OneMachine
from tests.monitor.redis.storing import a_prefix, make_store, run
from tests.monitor.store.contract import StoreContract
from tests.monitor.store.values import NOON_MS, Clock, instance


class TestRedisStore(StoreContract):
    stores_odd_values = True

    @pytest.fixture(autouse=True)
    def _server(self, redis_server):
        self.server = redis_server
        self.prefix = a_prefix()
        self.ids = Ids()

    def make(self, place, wall_ms):
        store = make_store(make_link(parse_address(self.server.url)), self.prefix, wall_ms=wall_ms)
        return OneMachine(store, self.ids)

    def say_what_is_few(self, monkeypatch, few):
        monkeypatch.setattr(events, "SLICE", few // 10)

    def scan_only(self, monkeypatch, count):
        monkeypatch.setattr(events, "TEXT_SCAN", count)

    def test_the_later_of_beat_and_row_counts(self, again, wall, monkeypatch):
        """Beats are stored as deadlines, by Redis' clock: this monitor's has to run, too."""
        begun_s = time.monotonic()
        monkeypatch.setattr(Clock, "__call__", lambda self: NOON_MS + int((time.monotonic() - begun_s) * 1000))
        store, saved = again()
        first, second, third = range(saved.next_id, saved.next_id + 3)
        for id in (first, second, third):
            store.put_instance(instance(id, last_beat_ms=NOON_MS - 50_000))
        run(store.flush())
        store.put_beats({first: NOON_MS - 40_000, second: NOON_MS - 30_000})
        store.put_beats({first: NOON_MS - 20_000})
        run(store.flush())
        store.put_instance(instance(second, last_beat_ms=NOON_MS - 10_000))
        ago = {row.id: round((NOON_MS - row.last_beat_ms) / 1000) for row in again()[1].instances}
        assert ago == {first: 20, second: 10, third: 50}


class TestRedisStoreOnACluster(TestRedisStore):
    @pytest.fixture(autouse=True)
    def _server(self, redis_cluster):
        self.server = redis_cluster
        self.prefix = a_prefix()
        self.ids = Ids()
