# SPDX-License-Identifier: MIT
"""A monitor that starts again: nobody is lost before a full lease has passed, and nothing is forgotten."""

from __future__ import annotations

import msgspec

from heartfelt.monitor.fleet import restoring
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import Hold, HoldState, Level, State
from tests.monitor.fleet.world import EPOCH_MS, NO_HOLD, World, saved


def test_nobody_is_lost_before_one_full_lease_has_passed(world, restart):
    world.join("web/1", "web/2", interval_ms=3000)
    world.advance(59)
    assert world.state("web/1") is State.LATE
    new = restart(world, down_s=3600)
    assert new.changes == []
    new.advance(59.9)
    new.beat("web/2")
    new.advance(0.1)
    assert new.lost() == ["web/1"]
    assert new.last().level is Level.EMERGENCY
    assert new.why() == (
        "no heartbeat since the monitor started 1 min ago (timeout 1 min); "
        "last heartbeat from 10.0.0.7 at 2023-11-14 22:13:20Z"
    )
    assert new.state("web/2") is State.UP
    new.advance(59.8)
    assert new.state("web/2") is State.LATE
    new.advance(0.2)
    assert new.state("web/2") is State.LOST
    assert "since the monitor started" not in new.why()


def test_states_reasons_times_and_metadata_are_kept(world, restart):
    world.join("web/up", "web/lost", "web/left", "web/paused", interval_ms=3000, meta={"appName": "shop"})
    world.join("web/stuck", lag_ms=20_000)
    world.beat("web/new")
    world.registry.pause(world.of("web/paused").id)
    world.goodbye("web/left")
    for _ in range(30):
        world.advance(2)
        for name in ("web/up", "web/stuck"):
            world.registry.renew(world.of(name))
    world.beat("web/young")
    before = {row.instance_id: row for row in world.rows.values()}
    assert before["lost"].state is State.LOST
    new = restart(world, down_s=10)
    for instance_id, row in before.items():
        instance = new.of(f"web/{instance_id}")
        restored = new.registry.row(instance)
        assert restored == row
    assert new.registry.applications() == {"shop": 4, "web": 3}
    new.poll()
    assert new.changes == []
    assert new.rows == {}


def test_each_state_goes_on(world, restart):
    world.join("web/up", "web/lost", "web/left", "web/paused", "web/left2", interval_ms=3000)
    world.join("web/stuck", lag_ms=20_000)
    world.registry.pause(world.of("web/paused").id)
    world.goodbye("web/left")
    world.goodbye("web/left2")
    for _ in range(60):
        world.advance(1)
        for name in ("web/up", "web/stuck", "web/paused"):
            world.registry.renew(world.of(name))
    new = restart(world, down_s=10)
    new.clock.advance(1)
    for name in ("web/up", "web/lost", "web/left", "web/paused"):
        new.registry.renew(new.of(name))
    new.beat("web/stuck", lag_ms=0)
    new.poll()
    changes = {change.instance_id: change for change in new.changes}
    assert {name: (change.old, change.new) for name, change in changes.items()} == {
        "lost": (State.LOST, State.UP),
        "left": (State.LEFT, State.UP),
        "stuck": (State.STUCK, State.UP),
    }
    assert changes["lost"].outage_ms == changes["left"].outage_ms == 71_000
    assert new.changes[0].seq == world.last().seq + 1
    assert new.beat("web/fresh").id == world.registry._book.next_id
    new.advance(60)
    new.advance(3000)
    assert new.state("web/paused") is State.PAUSED
    assert new.state("web/left2") is None
    assert new.state("web/up") is None


def test_cache_times_go_on_but_leave_a_lease_to_come_back_in(world, restart):
    world.join("web/a", "web/b")
    world.keep_alive()
    world.goodbye("web/b")
    world.advance(60)
    world.advance(240)  # 300 s of 600 are over
    new = restart(world, down_s=100)
    new.advance(199)
    assert len(new.registry) == 3
    new.advance(1)
    assert len(new.registry) == 1
    late = restart(world, down_s=100_000)
    late.advance(59)
    assert len(late.registry) == 3
    late.advance(1)
    assert len(late.registry) == 1


def test_a_clock_that_was_set_back_while_it_was_down(world, restart):
    world.join("web/a")
    world.keep_alive()
    world.advance(60)
    new = restart(world, down_s=-1_000_000)
    new.advance(599)
    assert new.state("web/a") is State.LOST
    new.advance(1)
    assert new.state("web/a") is None
    world.join("web/b")
    set_back = restart(world, down_s=-1_000_000)
    set_back.advance(60)
    assert set_back.state("web/b") is State.LOST
    assert "no heartbeat since the monitor started 1 min ago" in set_back.why()


def test_a_pause_ends_after_a_restart(world, restart):
    world.join("web/1", "web/2")
    for name in ("web/1", "web/2"):
        world.registry.pause(world.of(name).id, EPOCH_MS + 100_000)
    world.advance(10)
    new = restart(world, down_s=10)
    new.advance(79)
    assert new.state("web/1") is State.PAUSED
    new.beat("web/2")
    new.advance(1)
    assert (new.state("web/1"), new.state("web/2")) == (State.LOST, State.UP)
    over = restart(world, down_s=1000)
    over.advance(1)  # over while it was down; and nothing was heard of it yet
    assert over.state("web/1") is State.LATE
    assert "no heartbeat received yet" in over.why()
    over.advance(59)
    assert over.state("web/1") is State.LOST


def test_what_died_while_the_monitor_was_down_is_held_if_it_is_much_and_found(make_world, restart):
    policy = Policy(hold=HoldPolicy(longest_ms=100_000, release_per_s=100.0))
    world = make_world(policy=policy)
    names = [f"web/{n}" for n in range(40)]
    world.join(*names)
    new = restart(world, down_s=600, policy=policy)
    new.run(61, beating=names[30:])
    assert new.hold.held == 30
    new.run(101, beating=names[30:])
    assert sorted(new.lost()) == sorted(names[:30])


def test_a_hold_does_not_outlive_the_monitor(make_world, restart):
    policy = Policy(hold=HoldPolicy())
    world = make_world(policy=policy)
    world.join(*[f"web/{n}" for n in range(40)])
    world.advance(60)
    assert world.hold.state is HoldState.HOLDING
    new = restart(world, policy=policy)
    assert new.holds == [Hold()]
    assert [event.info["name"] for event in new.events] == ["HOLD_ENDED"]
    assert new.hold == Hold()
    assert new.changes == []
    assert new.registry.totals().of(State.LATE) == 40
    new.registry.renew(new.of("web/3"))
    assert (new.last().old, new.last().new) == (State.LATE, State.UP)


def test_an_instance_that_was_written_twice_comes_back_once(make_world):
    world = make_world(policy=Policy(hold=NO_HOLD))
    world.beat("web/1")
    row = world.registry.row(world.of("web/1"))
    new = World()
    try:
        new.registry.restore(saved([row, row]))
        assert len(new.registry) == 1
        assert new.beat("web/2").id == row.id + 1  # whatever next_id says
        new.check()
    finally:
        new.close()


def test_many_that_are_alike_are_restored_as_each_alone_would_be(world, make_world, monkeypatch):
    for n in range(6):
        for via in ("http", "sermant", "udp"):
            world.beat(f"web/{via}-{n}", via=via, interval_ms=3000 if n % 2 else None, meta={"appName": f"app-{n % 2}"})
        world.beat(f"asked/{n}", timeout_ms=1 if n % 2 else 90_000)
        world.beat(f"key/{n}", via="ping", meta={}, by_key=True)
    world.advance(2)
    for one in list(world.registry.instances())[::2]:
        world.registry.renew(one)
    rows = list(world.rows.values())

    def restored():
        new = make_world()
        new.registry.restore(saved(rows, next_id=100))
        figures = new.registry.stats()
        assert figures["instances"] == len(rows)
        timers = {
            name: sorted((key, watch.timeout) for key, watch in getattr(new.registry._timers, name).items())
            for name in ("lease", "late", "cache")
        }
        fields = [name for name in Instance.__slots__ if name != "packed"]
        told = [[getattr(one, name) for name in fields] for one in new.registry.instances()]
        known = {name: (one.total, one.states) for name, one in new.registry.services().items()}
        return figures, timers, told, known, new.registry.applications(), new.registry.uptime.counts()

    at_once = restored()
    monkeypatch.setattr(restoring, "_AT_ONCE", 3)
    assert restored() == at_once
    monkeypatch.setattr(restoring, "_PLAIN", frozenset())
    assert restored() == at_once


def test_a_row_that_is_no_instance_is_left_out_and_counted(world, make_world, caplog):
    world.join("web/1", "web/2")
    rows = list(world.rows.values())
    rows[0] = msgspec.structs.replace(rows[0], since_ms="yesterday")
    new = make_world()
    new.registry.restore(saved(rows, next_id=3))
    assert [one.instance_id for one in new.registry.instances()] == [rows[1].instance_id]
    assert new.registry.stats()["not_restored"] == 1
    assert f"instance {rows[0].id} is left out" in caplog.text
