# SPDX-License-Identifier: MIT
"""Monitors on one real Redis: an instance that moves, networks that are cut, a clean stop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster import ownership
from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.keys import ENTRY_BYTES, name_of
from heartfelt.monitor.store.redis.link import FLEET
from tests.monitor.cluster.many import doing, fleet_of, until

ROUNDED_MS = 5
"""Times are rounded on their way."""


def run(scenario):
    asyncio.run(scenario())


async def owned(one, name):
    (found,) = await one.monitor.store.lease_job(lambda leases: leases.find([name_of("shop", name)]))
    return found


def test_a_former_owner_that_is_cut_from_redis_is_told_of_a_move(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=30.0) as (a, b):
            a.beat("x")
            a.beat("y")
            await until(lambda: a.find("x") and a.find("y"))
            await a.monitor.store.flush()
            found = await owned(b, "x")
            await until(lambda: a.counts["disowned"] == 0)
            a.redis.cut()
            b.member.ownership._questions.move(("shop", "x"), found, consent=True)
            await until(lambda: b.find("x") is not None, "the move")
            await until(lambda: a.find("x") is None, "the notice")
            assert a.counts["told_moved"] == 1
            n = b.find("x").beats
            a.beat("x")  # its agent does not know of it, and the former owner cannot ask Redis
            await until(lambda: b.find("x").beats > n, "the beat that was forwarded")
            assert a.find("y") is not None
            a.redis.heal()
            await until(lambda: not a.member.ownership._questions.was_unreachable)
            assert a.owned() == {"y"} and b.owned() == {"x"}

    run(scenario)


def test_a_late_notice_of_a_move_does_not_take_what_has_come_back(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=30.0) as (a, b):
            a.beat("x")
            await until(lambda: a.find("x"))
            await a.monitor.store.flush()
            first = await owned(b, "x")
            b.member.ownership._questions.move(("shop", "x"), first, consent=True)
            await until(lambda: b.find("x") and not a.find("x"))
            a.member.ownership._questions.move(("shop", "x"), await owned(a, "x"), consent=True)
            await until(lambda: a.find("x") and not b.find("x"))
            a.member.ownership.forwarding._moved_away(b.member.id, [first.entry.pack()])
            assert a.find("x") is not None

    run(scenario)


def test_a_monitor_goes_on_while_a_notice_waits_for_one_that_is_not_connected(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(2, tmp_path, redis_server) as (a, b):
            peers, ownership = a.member.channel.peers, a.member.ownership
            b.channel.cut()
            await until(lambda: not peers.connected, "the cut")
            turns, send = [], ownership.forwarding.send

            def counted():
                turns.append(1)
                if len(turns) > 100:
                    raise asyncio.CancelledError  # ends the task: no other one has had its turn
                send()

            ownership.forwarding.send = counted
            ownership.forwarding.tell_moved(b.member.id, [b"x" * ENTRY_BYTES])
            await until(lambda: len(turns) >= 3, "the next turns")
            assert len(turns) < 100
            b.channel.heal()
            await until(lambda: not ownership.forwarding.has_unsaid, "the notice")

    run(scenario)


@pytest.mark.parametrize("by_redis", [True, False])
def test_what_a_former_owner_has_heard_does_not_wait_for_the_next_turn(tmp_path, redis_server, monkeypatch, by_redis):
    """It learns of the move half of `settle` before the loss is asked for at the latest, and a turn takes as long."""
    monkeypatch.setattr(ownership, "FORWARD_S", 30.0)

    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=30.0, cluster_settle=60.0) as (a, b):
            a.beat("x")
            b.beat("y")
            await until(lambda: a.find("x") and b.find("y"))
            a.beat("x")  # so that the next one changes nothing, which Redis would refuse
            await a.monitor.store.flush()
            await b.monitor.store.flush()
            a.beat("y")
            await until(lambda: len(a.monitor.intake.foreign.shadows))
            mine, renewals = a.member.ownership, []
            renewed, went = mine.renewed, mine.went
            mine.renewed, mine.went = renewals.append, lambda *_: None
            b.member.ownership._questions.move(("shop", "x"), await owned(b, "x"), consent=True)
            await until(lambda: b.find("x"), "the move")
            n = b.find("x").beats
            a.beat("x")  # it does not know yet that it is not the owner
            if by_redis:
                await until(lambda: any(one.moved for one in renewals), "the news")
            else:
                went([b.find("x").id], b.member.id)
            mine.renewed, mine.went = renewed, went
            for one in renewals:
                renewed(one)
            await until(lambda: b.find("x").beats > n, "the beat")

    run(scenario)


def test_monitors_that_cannot_reach_each_other_lose_nobody(tmp_path, redis_server):
    """Agents that changed to the other one, that beat to both in turn, and that end."""

    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=4.0) as (a, b):
            names = [f"i{n}" for n in range(20)]
            for name in [*names, "both", "ends"]:
                a.beat(name)
            await until(lambda: len(a.owned()) == 22)
            await a.monitor.store.flush()
            a.channel.cut()
            b.channel.cut()
            b.beat("ends")

            async def both():
                while True:
                    for one in (a, b):
                        one.beat("both")
                        await asyncio.sleep(0.5)

            async with doing(b.beating(1.0, *names), both()):
                await until(lambda: b.owned() >= set(names), "the moves")
                await until(lambda: "LOST" in [str(one.state.name) for one in (a.find("ends"), b.find("ends")) if one])
                await asyncio.sleep(2.0)
                moves = a.counts["moves_unasked"] + b.counts["moves_unasked"]
                a.channel.heal()
                b.channel.heal()
                await until(lambda: len(a.member.channel.peers.connected) == 1)
                await until(lambda: b.member.channel.peers.waiting()[0] == 0, "what had waited")
                await asyncio.sleep(1.0)
            assert await b.changes(State.LOST) == ["ends"]
            assert len(names) <= moves <= len(names) + 8  # the one that beats to both seldom changes its owner
            assert not a.owned() & b.owned()
            assert a.owned() | b.owned() == {*names, "both", "ends"}

    run(scenario)


def test_what_a_dead_monitors_agents_brought_along_before_its_lease_ended_shows_that_they_reach_the_fleet(
    tmp_path, redis_server
):
    """Otherwise the losses of the others, which fell silent with their monitor, would be held."""

    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=4.0, hold_enable=True) as (a, b):
            a.beat("x")
            await until(lambda: a.find("x"))
            await a.monitor.store.flush()
            a.channel.cut()
            b.channel.cut()
            async with doing(b.beating(1.0, "x")):
                await until(lambda: "x" in b.owned(), "the move")
            asking = b.monitor.registry.owned.asking
            asking.took_over(1)
            assert not asking.away

    run(scenario)


def test_a_goodbye_does_not_wait_for_an_owner_out_of_reach(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=30.0) as (a, b):
            a.beat("x")
            await until(lambda: a.find("x"))
            await a.monitor.store.flush()
            b.beat("x")
            await until(lambda: b.counts["forwarded"] == 1)
            b.channel.cut()
            a.channel.cut()
            await until(lambda: b.member.ownership._away.is_away(a.member.id))
            b.beat("x", goodbye=True)
            await until(lambda: (one := b.find("x")) is not None and one.state is State.LEFT, "the goodbye")

    run(scenario)


def test_a_goodbye_that_was_sent_just_before_its_owner_was_out_of_reach_is_taken_back(tmp_path, redis_server):
    """It lies in a connection over which nothing comes. The owner would tell a loss."""

    async def scenario():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=30.0) as (a, b):
            a.beat("x")
            await until(lambda: a.find("x"))
            await a.monitor.store.flush()
            b.beat("x")
            await until(lambda: b.counts["forwarded"] == 1)
            b.channel.cut()
            a.channel.cut()
            b.beat("x", goodbye=True)
            await until(lambda: b.member.channel.peers.waiting()[1], "the goodbye waits for its owner")
            assert not b.member.ownership._away.is_away(a.member.id)
            await until(lambda: (one := b.find("x")) is not None and one.state is State.LEFT, "the goodbye")
            assert b.counts["taken_back"] == 1
            b.beat("x")
            await until(lambda: b.find("x").state is State.UP)
            a.channel.heal()
            b.channel.heal()
            await until(lambda: a.find("x") is None and b.member.channel.peers.connected, "the move")
            assert b.find("x").state is State.UP  # the goodbye does not come again

    run(scenario)


def test_a_clock_that_jumps_ahead_holds_losses(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(1, tmp_path, redis_server, lease_timeout=1.0, hold_enable=True) as (a,):
            a.beat("x")
            await until(lambda: a.find("x"))
            thread = threading.Thread(target=a.member.link._on_jump, args=(60_000.0,))
            thread.start()
            thread.join()
            await until(lambda: a.registry.hold().held, "the hold")
            assert a.registry.hold().reason.code == "clock_jumped"

    run(scenario)


def test_a_clean_stop_loses_nothing_and_holds_up_nobody(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(3, tmp_path, redis_server, lease_timeout=30.0, cluster_lease=30.0) as (a, b, c):
            names = {f"i{n}" for n in range(50)}
            for name in names:
                a.beat(name)
            b.beat("of b")
            await until(lambda: len(a.owned()) == 50 and b.find("of b"))
            await b.monitor.store.flush()
            a.beat("of b")
            await until(lambda: a.counts["forwarded"] == 1)
            a.beat("of b", goodbye=True)
            a.beat("new")  # nobody has asked whose it is
            await a.monitor.stop()
            await until(lambda: b.owned() | c.owned() >= {*names, "new"}, "the adoption, long before its lease ends")
            await until(lambda: b.find("of b").state is State.LEFT, "the goodbye")
            assert await b.changes(State.LOST) == []
            assert not b.owned() & c.owned()
            n = {name: (b.find(name) or c.find(name)).beats for name in names}
            for name in names:
                b.beat(name)
            await until(lambda: all((b.find(name) or c.find(name)).beats > n[name] for name in names))

    run(scenario)


def test_beats_that_a_stopped_monitor_had_acknowledged_are_sent_again(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(3, tmp_path, redis_server, lease_timeout=30.0) as (a, b, c):
            for n in range(10):
                a.beat(f"i{n}")
            await until(lambda: len(a.owned()) == 10)
            await a.monitor.store.flush()
            began_ms = b.monitor.wall_ms()
            assert all(one.last_beat_ms < began_ms - ROUNDED_MS for one in a.registry.instances())
            for n in range(10):
                b.beat(f"i{n}")
            await until(lambda: a.counts["received"] == 10)
            a.redis.cut()  # what it has heard does not get there
            a.channel.cut()
            for channel in (b.channel, c.channel):
                channel.reset()
            a.member.channel.peers.set_peers({})
            await until(lambda: len(b.owned() | c.owned()) == 10, "the adoption")

            def last():
                return [(b.find(f"i{n}") or c.find(f"i{n}")).last_beat_ms - began_ms for n in range(10)]

            await until(lambda: min(last()) > -ROUNDED_MS, "the beats")
            a.redis.heal()

    run(scenario)


def test_claims_are_made_by_the_clock_of_the_fleet(tmp_path, redis_server):
    hour_ms = 3_600_000

    async def scenario():
        ahead = lambda: time.time_ns() // 1_000_000 + hour_ms  # noqa: E731
        async with fleet_of(1, tmp_path, redis_server, wall_ms=ahead) as (a,):
            await until(lambda: a.member.leading.leads)
            made = await a.monitor.webhooks.create({"kind": "generic", "url": "http://127.0.0.1:9/"})
            document = (await a.monitor.store.documents("webhook"))[made["id"]]
            assert abs(document["changed_ms"] - a.member.link.now_ms(FLEET)) < hour_ms / 2

    run(scenario)


def test_events_reach_the_monitor_that_leads(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(2, tmp_path, redis_server) as (a, b):
            await until(lambda: a.member.leading.leads or b.member.leading.leads, "a leader")
            leader, other = (a, b) if a.member.leading.leads else (b, a)
            before = leader.monitor.webhooks.stats()["offered_events"]
            other.registry.owned.jumped(1.0)
            other.registry.stalled(5000.0)  # which is an event
            await until(lambda: leader.monitor.webhooks.stats()["offered_events"] > before)
            stats = other.member.leading.stats()
            assert stats["events_sent"] >= 1 and stats["events_waiting"] == 0

    run(scenario)


def test_what_waits_to_be_written_is_known_until_redis_has_it(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(1, tmp_path, redis_server, lease_timeout=30.0) as (a,):
            a.beat("x")
            instance = await until(lambda: a.find("x"))
            await until(lambda: not a.member.ownership.is_unwritten(instance.id))
            a.redis.cut()
            a.beat("x", goodbye=True)
            assert a.member.ownership.is_unwritten(instance.id)
            await until(lambda: a.monitor.store.health().error, "the failure")
            assert a.member.ownership.is_unwritten(instance.id)
            a.redis.heal()
            await until(lambda: not a.member.ownership.is_unwritten(instance.id))

    run(scenario)


def test_the_state_of_redis_is_shown(tmp_path, redis_server):
    async def scenario():
        async with fleet_of(1, tmp_path, redis_server) as (a,):
            assert a.monitor.readiness().redis == "ok"
            shown = a.monitor.stats()["redis"]
            assert [one["up"] for one in shown["servers"]] == [True]
            assert shown["trouble"] is None and shown["servers_up"] == 1 and shown["commands"] > 0
            a.redis.cut()
            await until(lambda: "cannot be reached" in a.monitor.readiness().redis)
            assert a.monitor.stats()["redis"]["servers_down"] == 1
            figures = {metric.name: values for metric, values in a.member.readings()}
            assert figures["heartfelt_redis_servers_down"] == {(): 1}
            a.redis.heal()
            await until(lambda: a.monitor.readiness().redis == "ok")

    run(scenario)
