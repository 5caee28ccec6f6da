# SPDX-License-Identifier: MIT
"""Several monitors on one Redis: what is old is deleted, what is long is read and written in small parts, and what
is urgent does not wait for it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.model import State
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.store.kept import Retention
from heartfelt.monitor.store.redis import forgetting, history, instances
from heartfelt.monitor.store.redis.events import PART_MS
from tests.monitor.redis.storing import Told, all_changes, joined, put, run, until
from tests.monitor.store.values import DAY_MS, NOON_MS, Clock, change, event

ODD = ["{", "{a}{b}", "a\nb\r\n", "*?[a-z]", "", "\x00\xff", "\u00fc\U0001f49a", "x" * 500]


def test_only_the_one_that_leads_deletes_what_is_old(monitors, monkeypatch):
    monkeypatch.setattr(forgetting, "SLICE_ROWS", 100)
    leads = [False]
    wall = Clock()
    (one,) = monitors(1, wall_ms=wall, leads=lambda: leads[0], retention=Retention(events_ms=DAY_MS))

    async def body():
        for n in range(250):
            one.put_event(event(n))
        one.put_event(event(0, received_ms=NOON_MS + PART_MS, time_ms=-(1 << 60)))  # old by its own clock only
        await one.flush()
        one._writer._forget_at = 0.0
        one.put_event(event(7))
        await one.flush()
        assert sum((await one.count_events(EventFilter())).values()) == 252
        wall.ms += DAY_MS + PART_MS
        leads[0] = True

        def deleted():
            one._writer._forget_at = 0.0
            one._writer.wake()
            return one.health().removed >= 251

        await until(deleted, "old events are deleted")
        (left,) = await one.events(EventFilter(), before=None, limit=9)
        assert left.event.time_ms == -(1 << 60)
        assert one.health().ok

    run(body())


def test_the_oldest_is_deleted_while_all_is_too_large(monitors):
    (one,) = monitors(1, retention=Retention(file_bytes=300_000), wall_ms=Clock())

    async def body():
        for n in range(3000):
            one.put_event(event(n))
        await one.flush()

        def small():
            one._writer._forget_at = 0.0
            one._writer.wake()
            return one._forgetting.bytes and one._forgetting.bytes <= 300_000

        await until(small, "it is small enough")
        left = await one.events(EventFilter(), before=None, limit=5000)
        assert 0 < len(left) < 3000
        assert left[0].event.time_ms == NOON_MS + 2999
        assert one.health().removed == 3000 - len(left)

    run(body())


def test_a_filter_by_number_and_the_cursor_of_an_event_whose_part_is_older(monitors):
    (one,) = monitors(1, wall_ms=Clock())

    async def body():
        put = [event(-n * PART_MS // 4) for n in range(40)]  # in ten parts, on all shards
        for each in put:
            one.put_event(each)
        await one.flush()
        found, before = [], None
        while page := await one.events(EventFilter(), before=before, limit=3):
            found += page
            before = page[-1].number
        assert [stored.event for stored in found] == put
        assert len({stored.number for stored in found}) == 40
        assert max(stored.number for stored in found) == await one.newest_event()
        assert [
            s.event for s in await one.events(EventFilter(start_ms=NOON_MS - PART_MS), before=None, limit=9)
        ] == put[:5]

    run(body())


def test_readers_do_not_wait_for_the_writer(monitors):
    async def body():
        (one,) = monitors(1)
        held = asyncio.Event()
        loop = asyncio.get_running_loop()

        def job(outcome):
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result()

        writing = asyncio.create_task(one._writer.do(job))
        await all_changes(one)
        assert not writing.done()
        held.set()
        await writing

    run(body())


def test_more_changes_of_a_service_than_its_list_has(monitors, monkeypatch):
    monkeypatch.setattr(history, "SEQS_OF_SERVICE", 20)
    one, two = monitors(2)

    async def body():
        await joined(one, *(f"a{n}" for n in range(30)))
        await joined(two, *(f"b{n}" for n in range(30)))
        await joined(two, "c", service="rare")
        found = [c for c in await all_changes(one) if c.service == "shop"]
        assert await all_changes(one, service="shop") == found
        pages, before = [], None
        while page := await all_changes(two, service="shop", before=before, limit=7):
            pages += page
            before = page[-1].seq
        assert pages == found
        assert [c.instance_id for c in await all_changes(one, service="rare")] == ["c"]

    run(body())


def test_deliveries_of_a_monitor_that_no_longer_leads_are_left_to_the_one_that_does(monitors):
    async def body():
        one, two = monitors(2)
        await one.lead(5)
        one.put_delivery("t", "k1", 1)
        await one.flush()
        await two.lead(6)
        one.put_delivery("t", "k2", 2)
        one.put_told("t", {("shop", "a"): ("k2",)})
        await one.flush()
        assert one.health().ok
        assert one.health().waiting == 0
        two.put_delivery("t", "k2", 2)
        await two.flush()
        assert [d.key for d in await one.deliveries("t", None, 9)] == ["k2", "k1"]
        assert await one.told() == {}

    run(body())


def test_long_queries_do_not_hold_up_documents_and_deliveries(monitors):
    async def body():
        (one,) = monitors(1)
        held = threading.Event()
        queries = [asyncio.create_task(one._reading.read(lambda: held.wait(30))) for _ in range(9)]
        await one.put_document("kind", "a", 1)
        assert await one.get_document("kind", "a") == 1
        assert await one.next_deliveries(NOON_MS, 9) == []
        assert not any(query.done() for query in queries)
        held.set()
        await asyncio.gather(*queries)

    run(body())


def test_an_error_while_old_data_are_deleted_is_reported_and_not_repeated_at_once(monitors, monkeypatch):
    async def body():
        (one,) = monitors(1, retention=Retention(events_ms=1))
        calls = []

        def fails():
            calls.append(1)
            raise ValueError("planted")

        monkeypatch.setattr(one._forgetting, "step", fails)
        one._writer._forget_at = 0.0
        one.put_event(event(1))
        await until(lambda: calls and not one.health().ok, "the error")
        assert "planted" in one.health().error
        await one.flush()
        assert one.health().ok
        assert len(calls) == 1

    run(body())


def test_a_change_waits_for_the_row_that_belongs_to_it(monitors, monkeypatch):
    async def body():
        told = Told()
        (one,) = monitors(1, listener=told)
        (row,) = await joined(one, "a")
        one.put_change(change(0, id=row.id, instance_id="a", old=State.NEW, new=State.UP))
        await one.flush()  # as if it had been called before the change
        assert len(await all_changes(one)) == 1
        row.state = State.UP
        one.put_instance(row)
        await one.flush()
        assert len(await all_changes(one)) == 2
        one.put_change(change(0, id=row.id, instance_id="a", old=State.UP, new=State.LOST))
        monkeypatch.setattr(instances, "ROW_S", 0.0)
        await until(lambda: one.health().refused == 1, "it is given up")
        assert one.health().ok

    run(body())


def test_what_is_urgent_does_not_wait_until_much_is_written(monitors, monkeypatch):
    monkeypatch.setattr(instances, "AT_ONCE", 10)

    async def body():
        (one,) = monitors(1)
        rows = await joined(one, *(f"i{n}" for n in range(200)))
        change_, during = one.leases.change, []

        def slowly(writes):
            if not during:
                reserved = asyncio.run_coroutine_threadsafe(one.reserve([("shop", "new")]), loop)
                reserved.add_done_callback(lambda done: during.append(one.health().waiting))
                asked.append(reserved)
                ends_s = time.monotonic() + 10
                while not one._writer._jobs._urgent and time.monotonic() < ends_s:
                    time.sleep(0.001)
                during.append(None)
            return change_(writes)

        loop, asked = asyncio.get_running_loop(), []
        one.leases.change = slowly
        for row in rows:
            put(one, row, State.NEW, State.UP)
        await one.flush()
        assert asked[0].done()
        assert during[1] > 100  # most of it was still to be written

    run(body())


def test_what_cannot_be_read_is_left_out_and_counted(monitors, redis_server, link_to):
    async def body():
        (one,) = monitors(1, wall_ms=Clock())
        (row,) = await joined(one, "a")
        for n in range(3):
            one.put_event(event(n))
        await one.flush()
        link, keys = link_to(redis_server.url), one._keys
        link.call(0, "XADD", keys.shard(0, "ev"), f"{1 << 46}-0", "c", b"\xc1")
        part = NOON_MS // PART_MS
        members = link.call(0, "ZRANGE", keys.shard(part % keys.shards, "events", part), 0, 0)
        link.call(0, "ZADD", keys.shard(part % keys.shards, "events", part), NOON_MS, members[0][:-3] + b"\xff")
        assert [c.id for c in await all_changes(one)] == [row.id]
        assert len(await one.events(EventFilter(), before=None, limit=9)) == 3
        assert one.health().damaged_rows == 2
        assert one.health().ok

    run(body())


def test_large_events_are_written_and_read_in_small_parts(monitors):
    async def body():
        (one,) = monitors(1, wall_ms=Clock())
        put = [event(n, info={"name": "x", "text": f"{n}" * 20_000}) for n in range(120)]
        for each in put:
            one.put_event(each)
        await one.flush()
        assert [s.event for s in await one.events(EventFilter(), before=None, limit=200)] == put[::-1]
        assert len(await one.events(EventFilter(names=("x",)), before=None, limit=200)) == 120
        assert sum((await one.count_events(EventFilter())).values()) == 120

    run(body())
