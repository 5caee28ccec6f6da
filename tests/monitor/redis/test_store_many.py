# SPDX-License-Identifier: MIT
"""Several monitors on one Redis: what each stores, and what the others see of it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.model import RunResult, State
from heartfelt.monitor.store import EventFilter, HeatCell, WatchedTime
from heartfelt.monitor.store.kept import Retention
from heartfelt.monitor.store.redis import forgetting, history, instances
from heartfelt.monitor.store.redis.events import PART_MS
from heartfelt.monitor.store.redis.leases import Accepted, Owned, Refused
from heartfelt.monitor.store.redis.store import AskedLoss
from tests.monitor.redis.storing import Told, a_prefix, all_changes, joined, make_store, put, run, until
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, a_run, change, event, instance

ODD = ["{", "{a}{b}", "a\nb\r\n", "*?[a-z]", "", "\x00\xff", "\u00fc\U0001f49a", "x" * 500]


@pytest.fixture
def monitors(redis_server, link_to):
    """monitors(n, **options): open stores of n monitors that share a Redis."""
    prefix, made = a_prefix(), []

    def make(n, **options):
        some = [make_store(link_to(redis_server.url), prefix, **options) for _ in range(n)]
        for one in some:
            one.open()
        made.extend(some)
        return some

    make.keys = lambda: link_to(redis_server.url).call(0, "KEYS", f"{prefix}:*")
    yield make
    for one in made:
        one.close()


def test_each_sees_the_changes_of_all_in_one_order(monitors):
    async def body():
        told = [Told(), Told()]
        one, two = monitors(1, listener=told[0])[0], monitors(1, listener=told[1])[0]
        for n in range(10):
            await joined(one, f"a{n}")
            await joined(two, f"b{n}", service="mail")
        found = await all_changes(one)
        assert found == await all_changes(two)
        assert sorted(c.instance_id for c in found) == sorted(f"{x}{n}" for x in "ab" for n in range(10))
        assert [c.seq for c in found] == sorted((c.seq for c in found), reverse=True)
        assert [c.instance_id for c in await all_changes(two, service="mail", limit=3)] == [
            c.instance_id for c in found if c.service == "mail"
        ][:3]
        pages, before = [], None
        while page := await all_changes(one, before=before, limit=3):
            pages += page
            before = page[-1].seq
        assert pages == found
        await until(lambda: sum(len(t.changes) for t in told) == 20, "both were told")
        assert sorted(told[0].changes + told[1].changes, key=lambda c: -c.seq) == found

    run(body())


def test_a_name_is_one_monitors_and_the_other_learns_whose(monitors):
    async def body():
        told = Told()
        (one,), (two,) = monitors(1), monitors(1, listener=told)
        (row,) = await joined(one, "a")
        (owned,) = await two.reserve([("shop", "a")])
        assert isinstance(owned, Owned)
        assert (owned.entry.id, owned.owner, owned.lives) == (row.id, one.leases.monitor_id, True)
        two.put_instance(instance(row.id, instance_id="a"))  # a fault of the caller's
        await two.flush()
        await until(lambda: told.refusals, "the refusal")
        assert [(one.id, one.service, one.instance_id) for one in told.refusals] == [(row.id, "shop", "a")]
        assert two.health().ok
        assert [c.new for c in await all_changes(two)] == [State.NEW]

    run(body())


def test_what_was_moved_away_is_refused_with_all_that_waits(monitors):
    async def body():
        told = Told()
        (one,) = monitors(1, listener=told)
        (two,) = monitors(1)
        (row,) = await joined(one, "a")
        (owned,) = await two.reserve([("shop", "a")])
        (taken,) = await two.move([(b"4:shopa", owned, True)])
        assert two.heard([taken.entry.id]) == [row.id]
        put(one, row, State.NEW, State.LOST)
        with_mine = instance(row.id, instance_id="a", state=State.NEW)
        put(two, with_mine, State.NEW, State.UP)
        await one.flush()
        await two.flush()
        await until(lambda: told.refusals, "the refusal")
        ((refusal),) = told.refusals
        assert (refusal.id, refusal.instance_id, refusal.changes) == (row.id, "a", 1)
        assert [(c.old, c.new) for c in await all_changes(one)] == [(State.NEW, State.UP), (None, State.NEW)]
        assert one.health().waiting == 0
        assert one.health().ok

    run(body())


def test_a_loss_is_accepted_once_its_deadline_has_passed_and_recorded_once(monitors):
    async def body():
        (one,) = monitors(1)
        (row,) = await joined(one, "a")
        now_ms = time.time_ns() // 1_000_000
        lost = change(0, id=row.id, instance_id="a")
        gone = instance(row.id, instance_id="a", state=State.LOST)
        (early,) = await one.lose([AskedLoss(gone, lost, now_ms + 60_000)])
        assert early == Refused(early=True)
        (accepted,) = await one.lose([AskedLoss(gone, lost, now_ms - 1000)])
        assert isinstance(accepted, Accepted)
        one.put_change(change(accepted.seqs[0], id=row.id, instance_id="a"))  # as its fanout does
        one.put_instance(gone)
        await one.flush()
        found = await all_changes(one, id=row.id)
        assert [(c.seq, c.new) for c in found][:1] == [(accepted.seqs[0], State.LOST)]
        assert len(found) == 2
        (unknown,) = await one.lose([AskedLoss(instance(77), change(0, id=77), 1)])
        assert unknown == Refused()
        (day,) = [d for d in await one.uptime((), 10_000) if d.losses]
        assert day.losses == 1

    run(body())


def test_an_instance_that_only_joined_has_no_key_of_its_own(monitors):
    async def body():
        (one,) = monitors(1)
        rows = await joined(one, *(f"i{n}" for n in range(50)))
        for row in rows:
            put(one, row, State.NEW, State.UP)
        await one.flush()
        before = set(monitors.keys())
        assert not [key for key in before if b":hist:" in key or b":runs:" in key]
        found = await all_changes(one, id=rows[7].id)
        assert [(c.id, c.new) for c in found] == [(rows[7].id, State.UP), (rows[7].id, State.NEW)]
        put(one, rows[7], State.UP, State.LOST)
        await one.flush()
        new = {key.split(b":")[2] for key in {*monitors.keys()} - before}
        assert new == {b"hist", b"day", b"done"}
        for n in range(60):
            put(one, rows[7], State.LOST, State.UP, outage_ms=n)
        await one.flush()
        found = await all_changes(one, id=rows[7].id, limit=50)
        assert [c.outage_ms for c in found] == list(range(59, 9, -1))
        put(one, rows[7], State.UP, State.REMOVED)
        await one.flush()
        assert not [key for key in {*monitors.keys()} if b":hist:" in key]
        found = await all_changes(one, id=rows[7].id)
        assert len(found) == 64  # from the stream, as long as that has them

    run(body())


def test_after_a_restart_the_changes_of_an_instance_are_found_by_its_times(redis_server, link_to):
    async def body():
        prefix = a_prefix()
        one = make_store(link_to(redis_server.url), prefix)
        one.open()
        now_ms = time.time_ns() // 1_000_000
        (entry, other) = await one.reserve([("shop", "a"), ("shop", "b")])
        for e, name in ((entry, "a"), (other, "b")):
            row = instance(e.id, instance_id=name, first_seen_ms=now_ms, since_ms=now_ms, last_beat_ms=now_ms)
            put(one, row, None, State.NEW)
            put(one, row, State.NEW, State.UP)
        await one.flush()
        one.close()
        again = make_store(link_to(redis_server.url), prefix)
        saved = again.open()
        try:
            assert {row.instance_id for row in saved.instances} == {"a", "b"}
            found = await all_changes(again, id=entry.id)
            assert [(c.id, c.new) for c in found] == [(entry.id, State.UP), (entry.id, State.NEW)]
        finally:
            again.close()

    run(body())


def test_names_and_texts_of_any_characters(monitors):
    async def body():
        (one,) = monitors(1)
        for service in ODD:
            await joined(one, *ODD, service=service)
        found = await all_changes(one)
        assert {(c.service, c.instance_id) for c in found} == {(a, b) for a in ODD for b in ODD}
        for service in ODD:
            assert len(await all_changes(one, service=service)) == len(ODD)
            one.put_event(event(1, service=service, instance_id=service, ip=service, info={"name": service}))
            one.put_uptime({(20_000, service): WatchedTime(1.0, 1.0, 1.0, 1.0)})
            one.put_counts(MINUTE_MS, {service: (2, 1)})
            await one.put_document("kind", service, {"a": service})
        await one.flush()
        for service in ODD:
            for which in (EventFilter(services=(service,)), EventFilter(names=(service,), ips=(service,))):
                (found,) = await one.events(which, before=None, limit=9)
                assert found.event.instance_id == service
            assert [c.service for c in await one.heat((service,), 0, MINUTE_MS)] == [service]
        assert await one.documents("kind") == {service: {"a": service} for service in ODD}
        days = await one.uptime((), time.time_ns() // 1_000_000 // DAY_MS - 20_000 + 1)
        assert {d.service for d in days if d.day == "2024-10-04"} == set(ODD)

    run(body())


def test_what_monitors_count_of_the_same_minute_and_day_is_added(monitors):
    async def body():
        stores = monitors(3, wall_ms=Clock())
        day = NOON_MS // DAY_MS
        for n, one in enumerate(stores, 1):
            one.put_counts(NOON_MS, {"shop": (10 * n, 9 * n)})
            one.put_counts(NOON_MS, {"shop": (10 * n - 1, 9 * n - 1)})  # told twice: the larger, the smaller
            one.put_uptime({(day, "shop"): WatchedTime(float(n), n / 2, 0.001, 0.0)})
            await one.flush()
        assert await stores[0].heat((), NOON_MS, NOON_MS) == [
            HeatCell(service="shop", minute_ms=NOON_MS, total=60, up=51)
        ]
        (found,) = await stores[1].uptime((), 1)
        assert (found.watched_s, found.up_s, found.observed_s, found.available_s) == (6.0, 3.0, 0.003, 0.0)

    run(body())


def test_runs_of_an_instance_that_was_taken_over_are_known(monitors):
    async def body():
        one, two = monitors(2)
        (row,) = await joined(one, "a")
        open_run, ended = a_run(5, id=row.id, end_ms=None, result=RunResult.RUNNING), a_run(6, id=row.id)
        for each in (open_run, ended):
            one.put_run(each)
        await one.flush()
        assert await two.open_runs([row.id, 64]) == [open_run]
        assert await two.runs(row.id, before=None, limit=9) == [ended, open_run]

    run(body())


def test_run_numbers_of_monitors_differ(redis_server, link_to):
    prefix = a_prefix()
    stores = [make_store(link_to(redis_server.url), prefix) for _ in range(3)]
    numbers = [one.open().next_run for one in stores]
    for one in stores:
        one.close()
    assert numbers == sorted(numbers)
    assert all(b - a >= 1 << 32 for a, b in itertools.pairwise(numbers))


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
        monkeypatch.setattr(instances, "HALF_S", 0.0)
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
