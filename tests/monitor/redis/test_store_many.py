# SPDX-License-Identifier: MIT
"""Several monitors on one Redis: what each stores, and what the others see of it."""

from __future__ import annotations

import itertools
import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.model import RunResult, State
from heartfelt.monitor.store import EventFilter, HeatCell, WatchedTime
from heartfelt.monitor.store.redis.leases import Accepted, Owned, Refused
from heartfelt.monitor.store.redis.store import AskedLoss
from tests.monitor.redis.storing import Told, a_prefix, all_changes, joined, make_store, put, run, until
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, a_run, change, event, instance

ODD = ["{", "{a}{b}", "a\nb\r\n", "*?[a-z]", "", "\x00\xff", "\u00fc\U0001f49a", "x" * 500]


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
