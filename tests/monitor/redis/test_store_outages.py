# SPDX-License-Identifier: MIT
"""The store while Redis cannot be reached, or its answers are lost: nothing is counted twice, nothing waits for it, and
what is kept until then is bounded."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.errors import StoreError
from heartfelt.monitor.model import State
from heartfelt.monitor.store import EventFilter, WatchedTime
from heartfelt.monitor.store.pending import Bounds
from heartfelt.monitor.store.redis.link import FLEET, Command, Script, Unreachable
from tests.monitor.redis.storing import Told, a_prefix, all_changes, joined, make_store, put, run, until
from tests.monitor.store.values import DAY_MS, NOON_MS, Clock, a_run, event

DAY = NOON_MS // DAY_MS


class Losing:
    """A link that loses answers of scripts while it has a `draw`; half of the commands are executed all the same. dead:
    shards that cannot be reached at all."""

    def __init__(self, link):
        self.link = link
        self.dead = set()
        self.draw = None
        self.swallow = ""
        """A script whose answers are lost, though it is executed."""
        self.lock = threading.Lock()

    def __getattr__(self, name):
        return getattr(self.link, name)

    def execute(self, commands):
        commands = list(commands)
        with self.lock:
            is_done = self.swallow != "" or (not self.dead and self.draw is not None and self.draw.random() < 0.5)
            lost = set()
            for at, command in enumerate(commands):
                if command.shard in {commands[n].shard for n in lost} or self._loses(command):
                    lost.add(at)
        sent = [at for at in range(len(commands)) if is_done or at not in lost]
        replies = dict(zip(sent, self.link.execute([commands[at] for at in sent]), strict=True))
        gone = Unreachable("no answer", refused=bool(self.dead))
        return [gone if at in lost else replies[at] for at in range(len(commands))]

    def call(self, shard, *words, keys=()):
        (reply,) = self.execute([Command(shard, words, keys)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _loses(self, command):
        if command.shard in self.dead:
            return True
        if self.swallow and isinstance(command.words[0], Script) and command.words[0].name == self.swallow:
            return True
        return self.draw is not None and isinstance(command.words[0], Script) and self.draw.random() < 0.3


@pytest.fixture
def opened():
    stores = []

    def make(link, **options):
        stores.append(make_store(link, a_prefix(), **options))
        stores[-1].open()
        return stores[-1]

    yield make
    for one in stores:
        one.close()


async def flushed(store, seconds=30):
    ends_s = time.monotonic() + seconds
    while True:
        try:
            await store.flush()
            return
        except StoreError:
            assert time.monotonic() < ends_s, store.health().error


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_counted_twice_though_answers_are_lost(redis_server, link_to, opened, seed):
    link, told = Losing(link_to(redis_server.url)), Told()
    store = opened(link, wall_ms=Clock(), listener=told)

    async def body():
        rows = await joined(store, *(f"i{n}" for n in range(20)))
        draw = link.draw = random.Random(seed)
        n_events = n_times = 0
        for _ in range(15):
            for row in draw.sample(rows, 8):
                new = State.LOST if row.state is not State.LOST else State.UP
                put(store, row, row.state, new)
            for n in range(draw.randrange(20)):
                store.put_event(event(n))
                n_events += 1
            store.put_uptime({(DAY, "shop"): WatchedTime(1.0, 1.0, 0.5, 0.25)})
            store.put_counts(NOON_MS, {"shop": (5, 4)})
            store.put_delivery("t", f"k{n_times}", n_times)
            n_times += 1
            try:
                await store.flush()
            except StoreError:
                assert not store.health().ok
        link.draw = None
        await flushed(store)
        changes = [c for c in await all_changes(store) if c.old is not None]
        assert len(changes) == 15 * 8
        assert len({c.seq for c in told.changes}) == len(told.changes) == 15 * 8 + 20
        for row in rows:  # each goes on from where the last one left it
            mine = [c for c in reversed(changes) if c.id == row.id]
            assert all(a.new is b.old for a, b in itertools.pairwise(mine))
            assert not mine or mine[-1].new is row.state
        assert sum((await store.count_events(EventFilter())).values()) == n_events
        (day,) = await store.uptime((), 1)
        assert (day.watched_s, day.observed_s) == (n_times, n_times / 2)
        assert day.losses == sum(c.new is State.LOST for c in changes)
        (cell,) = await store.heat((), NOON_MS, NOON_MS)
        assert (cell.total, cell.up) == (5, 4)
        assert len(await store.deliveries("t", None, 99)) == n_times
        health = store.health()
        assert health.ok
        assert (health.waiting, health.refused, health.dropped_changes, health.dropped_events) == (0, 0, 0, 0)
        assert health.failures > 0

    run(body())


def test_one_shard_that_is_dead_holds_up_no_other(redis_server, link_to, opened):
    link = Losing(link_to(redis_server.url))
    store = opened(link, wall_ms=Clock())

    async def body():
        rows = await joined(store, *(f"i{n}" for n in range(40)))
        shard = {row.id: row.id % 64 for row in rows}
        link.dead = {shard[rows[0].id]}
        others = [row for row in rows if shard[row.id] not in link.dead]
        for row in rows:
            put(store, row, State.NEW, State.UP)
        with pytest.raises(StoreError, match="cannot be written"):
            await store.flush()
        client = make_store(link_to(redis_server.url), store._keys.prefix)

        def written():
            found = client._changes.page(None, None, 1000)
            return {c.id for c in found if c.new is State.UP} == {row.id for row in others}

        await until(written, "changes of the other shards")
        assert store.health().waiting > 0
        entries = await store.reserve([("shop", f"j{n}") for n in range(40)])  # is answered for the others
        assert 0 < sum(isinstance(one, Unreachable) for one in entries) < 40
        await store.put_document("kind", "a", 1)
        link.dead = set()
        await flushed(store)
        assert sum(c.new is State.UP for c in await all_changes(store)) == 40
        client._link.close()

    run(body())


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(redis_server, link_to, opened):
    link = Losing(link_to(redis_server.url))
    bounds = Bounds(changes=30, events=50, deliveries=10, runs=10, cells=10, days=10)
    store = opened(link, wall_ms=Clock(), bounds=bounds)

    async def body():
        (row,) = await joined(store, "a")
        await flushed(store)
        link.dead = {-1, *range(8)}
        for n in range(300):
            put(store, row, State.UP, State.LOST, outage_ms=n)
            store.put_event(event(n))
            store.put_delivery("t", f"k{n}", n)
            store.put_run(a_run(n + 1, id=row.id + 64 * n))
            store.put_counts(NOON_MS + n * 60_000, {"shop": (1, 1)})
            store.put_uptime({(DAY - n, "shop"): WatchedTime(1.0, 1.0, 1.0, 1.0)})
            if n % 50 == 0:
                with pytest.raises(StoreError):
                    await store.flush()
        with pytest.raises(StoreError):
            await store.flush()
        health = store.health()
        assert not health.ok
        assert health.waiting <= 2 * (30 + 50 + 10 + 10 + 10 + 10) + 20
        link.dead = set()
        await flushed(store)
        health = store.health()
        kept = [c.outage_ms for c in await all_changes(store) if c.outage_ms is not None]
        assert kept[0] == 299
        assert len(kept) + health.dropped_changes == 300
        n_events = sum((await store.count_events(EventFilter())).values())
        assert n_events + health.dropped_events == 300
        assert n_events > 0
        assert len(await store.deliveries("t", None, 999)) + health.dropped_deliveries == 300
        cells = await store.heat((), NOON_MS, NOON_MS + 300 * 60_000)
        assert len(cells) + health.dropped_counts == 300
        days = [day for day in await store.uptime((), 400) if day.watched_s]
        assert len(days) + health.dropped_days == 300
        assert health.ok

    run(body())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_put_waits_and_all_is_written_afterwards(make_redis, link_to, opened, how):
    server = make_redis()
    link = link_to(server.url, timeout_s=0.3)
    store = opened(link, wall_ms=Clock(), answer_s=2.0)

    async def body():
        rows = await joined(store, *(f"i{n}" for n in range(10)))
        if how == "stop":
            server.stop()
        else:
            server.end()
        slowest_s = 0.0
        for n in range(2000):
            begun_s = time.thread_time()
            row = rows[n % 10]
            put(store, row, State.UP, State.UP)
            store.put_event(event(n))
            store.put_beats({row.id: NOON_MS})
            slowest_s = max(slowest_s, time.thread_time() - begun_s)
        await until(lambda: not store.health().ok, "it is noticed")
        for read in (store.changes(id=None, service=None, before=None, limit=1), store.flush()):
            with pytest.raises(StoreError, match=r"reached|written|answer|time"):
                await read
        if how == "stop":
            server.cont()
        else:
            server.start()  # empty: what it knew is gone
        if how == "kill":
            await until(lambda: store.leases.is_emptied, "it is noticed that it is empty")
            by_id = {row.id: row for row in rows}
            while store.leases.is_emptied:
                await store.restore({id: by_id[id] for id in store.leases.to_restore(100)})
            await until(lambda: store.health().ok, "it is well again")
        await flushed(store)
        assert sum((await store.count_events(EventFilter())).values()) == 2000
        assert sum(c.old is State.UP for c in await all_changes(store, limit=5000)) == 2000

    run(body())


def test_a_stop_while_redis_is_gone_is_bounded_and_says_what_is_lost(make_redis, link_to, caplog):
    server = make_redis()
    store = make_store(link_to(server.url, timeout_s=0.2), a_prefix(), close_s=0.3, answer_s=1.0)
    store.open()
    server.end()
    store.put_event(event(1))
    begun_s = time.monotonic()
    store.close()
    assert time.monotonic() - begun_s < store.stop_s + 1
    assert store.left_running == 0
    assert "could not be written" in caplog.text
    assert not store.health().ok


def test_many_changes_of_one_instance_are_written_in_parts(redis_server, link_to, opened):
    link = Losing(link_to(redis_server.url))
    store = opened(link)

    async def body():
        (row, other) = await joined(store, "a", "b")
        link.dead = {row.id % 64, other.id % 64}
        for n in range(1000):
            put(store, row, State.UP, State.UP, outage_ms=n)
            put(store, other, State.UP, State.UP, outage_ms=n)
        put(store, other, State.UP, State.REMOVED)
        with pytest.raises(StoreError):
            await store.flush()
        link.dead = set()
        await flushed(store)
        found = await all_changes(store, limit=5000)
        assert [c.outage_ms for c in found if c.id == row.id] == [*range(999, -1, -1), None]
        of_other = [c.outage_ms for c in found if c.id == other.id]
        assert len(of_other) + store.health().dropped_changes == 1002
        assert next(c.new for c in found if c.id == other.id) is State.REMOVED
        assert [c.outage_ms for c in await all_changes(store, id=row.id, limit=50)] == list(range(999, 949, -1))

    run(body())


def test_it_does_not_try_all_the_time(redis_server, link_to, opened):
    link = Losing(link_to(redis_server.url))
    store = opened(link)

    async def body():
        await joined(store, "a")
        link.dead = {-1, *range(8)}
        store.put_event(event(1))
        await until(lambda: store.health().failures >= 2, "two attempts")
        begun_s, failures = time.monotonic(), store.health().failures
        await until(lambda: time.monotonic() > begun_s + 1, "a second")
        assert store.health().failures - failures <= 5
        link.dead = set()
        await flushed(store)

    run(body())


def test_what_waits_does_not_grow_with_the_rounds_while_one_server_is_away(redis_server, link_to, opened):
    link = Losing(link_to(redis_server.url))
    store = opened(link)

    async def test():
        rows = await joined(store, *(f"shop-{n}" for n in range(200)))
        stuck = next(row for row in rows if store._keys.shard_of_id(row.id) == 1)
        others = [row for row in rows if store._keys.shard_of_id(row.id) != 1]
        link.dead = {FLEET, 1}
        for n in range(8):
            store.put_event(event(n))
            put(store, stuck, State.NEW, State.UP)
            for row in others:
                put(store, row, State.NEW, State.UP)
            writes = store._writer.failures
            await until(lambda writes=writes: store._writer.failures > writes, "a round")
        chunks = store._writer.outgoing._chunks[FLEET]
        assert len(chunks) <= 3
        assert len(store._instances._order) <= 2 * 8 + 500
        link.dead = set()
        await flushed(store)
        assert store.health().dropped_changes == 0
        assert await store.newest_event() > 0

    run(test())


def test_a_bug_in_what_follows_a_job_leaves_no_caller_waiting(redis_server, link_to, opened, monkeypatch, caplog):
    store = opened(link_to(redis_server.url))

    def fails(done):
        raise ZeroDivisionError("on purpose")

    async def test():
        monkeypatch.setattr(store._writer, "_follow", fails)
        jobs = [store.lease_job(lambda leases: 7) for _ in range(3)]
        assert await asyncio.wait_for(asyncio.gather(*jobs), 10) == [7, 7, 7]

    run(test())
    assert "on purpose" in caplog.text


def test_times_that_cannot_be_stored_take_nothing_else_along(redis_server, link_to, opened):
    store = opened(link_to(redis_server.url))

    async def test():
        bad = WatchedTime(watched_s=float("nan"), up_s=0.0, observed_s=0.0, available_s=0.0)
        store.put_uptime({(DAY, "shop"): bad})
        store.put_delivery("t", "k", {"a": 1})
        await store.flush()
        assert len(await store.deliveries("t", None, 9)) == 1
        assert store.health().refused == 1

    run(test())
