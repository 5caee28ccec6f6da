# SPDX-License-Identifier: MIT
"""Each way from one state to another: its change, its level, its reason, its outage."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import Level, State
from heartfelt.monitor.reasons import english
from tests.monitor.fleet.world import NO_HOLD, told


def test_the_first_beat_joins_and_the_second_makes_it_up(world):
    instance = world.beat(interval_ms=3000, meta={"ip": ["10.1.1.1"], "appName": "shop"})
    assert told(world) == (None, State.NEW, Level.NORMAL)
    assert (world.last().id, world.last().ip) == (instance.id, "10.1.1.1")
    assert world.why() == "first heartbeat from 10.0.0.7 via http"
    world.clock.advance(3)
    world.registry.renew(instance)
    assert told(world) == (State.NEW, State.UP, Level.NORMAL)
    assert world.why() == "second heartbeat, 3 s after the first"
    assert world.registry.applications() == {"shop": 1}


def test_an_interval_missed_is_late_and_a_beat_ends_it(world):
    world.join("web/1", interval_ms=4000)
    world.advance(5.999)
    assert world.state() is State.UP
    world.advance(0.001)
    assert told(world) == (State.UP, State.LATE, Level.NORMAL)
    assert world.why() == (
        "no heartbeat for 6 s (interval 4 s, timeout 1 min); last heartbeat from 10.0.0.7 at 2023-11-14 22:13:20Z"
    )
    world.registry.renew(world.of("web/1"))
    assert told(world) == (State.LATE, State.UP, Level.NORMAL)
    assert world.last().outage_ms is None


def test_a_lease_that_runs_out_is_a_loss_and_a_beat_after_it_a_recovery(world):
    world.join("web/1")
    world.advance(59.999)
    assert world.state() is State.UP
    world.advance(0.001)
    assert told(world) == (State.UP, State.LOST, Level.EMERGENCY)
    assert world.why() == "no heartbeat for 1 min (timeout 1 min); last heartbeat from 10.0.0.7 at 2023-11-14 22:13:20Z"
    world.advance(12.5)
    world.beat()
    assert told(world) == (State.LOST, State.UP, Level.IMPORTANT)
    assert world.last().outage_ms == 72_500
    assert world.why() == "heartbeats again after 1 min 12 s of silence"
    world.advance(59.9)
    assert world.state() is State.UP


def test_late_and_lost_in_one_poll(world):
    world.join("web/1", interval_ms=3000)
    world.advance(61)
    assert world.told("web/1") == [State.NEW, State.UP, State.LATE, State.LOST]


def test_without_an_interval_nobody_is_late(world):
    world.join("web/1")
    world.join("web/2", interval_ms=40_000)  # 1.5 intervals are no less than the lease
    world.advance(59)
    assert [world.state("web/1"), world.state("web/2")] == [State.UP, State.UP]


def test_a_new_instance_may_be_lost(world):
    world.beat()
    world.advance(60)
    assert told(world) == (State.NEW, State.LOST, Level.EMERGENCY)


def test_a_beat_after_the_verdict_but_before_the_poll_prevents_the_loss(world):
    instance = world.beat(timeout_ms=60_000)
    world.beat()
    world.clock.advance(60)  # the hub has its verdict, which nobody has read
    world.registry.renew(instance)
    world.poll()
    assert world.told() == [State.NEW, State.UP]
    world.advance(60)
    assert world.state() is State.LOST


def test_a_beat_between_noting_and_deciding_prevents_the_loss(make_world):
    world = make_world()
    names = [f"web/{n}" for n in range(300)]
    world.join(*names)
    world.clock.advance(60)
    world.registry.poll()  # notes all, decides a slice
    left = [name for name in names if world.state(name) is State.UP]
    assert 0 < len(left) < 300
    for name in left:
        world.registry.renew(world.of(name))
    world.poll()
    assert {world.state(name) for name in left} == {State.UP}
    assert len(world.lost()) == 300 - len(left)


def test_a_verdict_that_was_read_is_decided_once(world):
    world.join("web/1")
    world.advance(60)
    world.advance(60)
    world.advance(60)
    assert world.lost() == ["web/1"]


def test_goodbye_leaves_at_once_and_a_beat_after_it_comes_back(world):
    world.join("web/1", interval_ms=3000)
    assert world.goodbye("web/1")
    assert told(world) == (State.UP, State.LEFT, Level.NORMAL)
    assert world.why().startswith("said goodbye; last heartbeat from 10.0.0.7 at ")
    world.advance(120)
    assert world.state() is State.LEFT
    world.beat()
    assert told(world) == (State.LEFT, State.UP, Level.IMPORTANT)
    assert world.why() == "came back after leaving, 2 min after its last heartbeat"
    assert world.last().outage_ms == 120_000
    world.advance(60)
    assert world.state() is State.LOST  # it is watched again


def test_goodbye_by_a_beat(world):
    world.join("web/1")
    assert world.beat("web/1", goodbye=True).state is State.LEFT
    assert world.beat("web/2", goodbye=True).state is State.REMOVED
    assert world.of("web/2") is None
    assert not world.goodbye("web/2")
    assert world.registry.stats()["goodbyes"] == 3


def test_a_lost_instance_may_leave(world):
    world.join("web/1")
    world.advance(60)
    world.goodbye("web/1")
    assert told(world) == (State.LOST, State.LEFT, Level.NORMAL)


def test_lost_and_left_instances_are_removed_after_the_cache_time(world):
    world.join("web/1", "web/2")
    world.keep_alive()
    world.goodbye("web/2")
    world.advance(60)
    world.advance(539.9)
    assert [world.state("web/1"), world.state("web/2")] == [State.LOST, State.LEFT]
    world.advance(0.1)
    assert len(world.registry) == 1
    assert {change.old for change in world.changes[-2:]} == {State.LOST, State.LEFT}
    assert {change.new for change in world.changes[-2:]} == {State.REMOVED}
    assert all("no heartbeat for 10 min (kept for 10 min)" in english(change.reason) for change in world.changes[-2:])
    assert set(world.registry.dirty_beats()) == {world.of("web/alive").id}
    assert world.beat().id == world.of("web/alive").id + 1  # ids are not used again


def test_who_comes_back_is_not_removed(world):
    world.join("web/1")
    world.advance(60)
    world.beat()
    for _ in range(20):
        world.advance(50)
        world.beat()
    assert world.state() is State.UP


def test_a_cache_time_that_was_up_before_the_beat_but_read_after_it(world):
    world.join("web/1")
    world.advance(60)
    world.clock.advance(541)
    world.beat()
    world.poll()
    assert world.state() is State.UP


def test_a_cache_time_that_was_up_before_the_goodbye_but_read_after_it(world):
    world.join("web/1")
    world.advance(60)
    world.clock.advance(541)
    world.goodbye("web/1")
    world.poll()
    assert world.state() is State.LEFT
    world.advance(600)
    assert world.state() is None


def test_stuck_and_back(world):
    world.join("web/1", interval_ms=3000, lag_ms=5)
    world.beat(lag_ms=10_001)
    assert told(world) == (State.UP, State.STUCK, Level.IMPORTANT)
    assert world.why() == "sends heartbeats, but its interpreter has not responded for 10 s (limit 10 s)"
    world.registry.renew(world.of("web/1"))  # a beat that does not tell
    assert world.state() is State.STUCK
    world.beat(lag_ms=4)
    assert told(world) == (State.STUCK, State.UP, Level.IMPORTANT)
    assert world.why() == "its interpreter responds again (within 4 ms)"


def test_stuck_is_lost_like_any_other_and_may_come_back_stuck(world):
    world.join("web/1", lag_ms=11_000)
    assert world.state() is State.STUCK
    world.advance(60)
    assert told(world) == (State.STUCK, State.LOST, Level.EMERGENCY)
    world.beat(lag_ms=72_000)
    assert told(world) == (State.LOST, State.STUCK, Level.IMPORTANT)
    assert world.last().outage_ms == 60_000


@pytest.mark.parametrize(
    ("policy", "interval_ms", "limit_ms"),
    [
        (Policy(hold=NO_HOLD), 20_000, 40_000),
        (Policy(hold=NO_HOLD, lease_stuck_after_ms=500), 20_000, 500),
        (
            Policy(hold=NO_HOLD, lease_stuck_after_ms=500, services={"web": ServicePolicy(lease_stuck_after_ms=90)}),
            20_000,
            90,
        ),
    ],
)
def test_when_it_is_stuck(make_world, policy, interval_ms, limit_ms):
    world = make_world(policy=policy)
    world.join("web/1", interval_ms=interval_ms, lag_ms=limit_ms)
    assert world.state() is State.UP
    world.beat(lag_ms=limit_ms + 1)
    assert world.state() is State.STUCK


def test_the_lease_is_the_beats_own_or_the_services_or_the_monitors(make_world):
    services = {"db": ServicePolicy(lease_timeout_ms=20_000, lease_cache_ms=50_000)}
    world = make_world(policy=Policy(lease_timeout_ms=30_000, lease_cache_ms=100_000, services=services, hold=NO_HOLD))
    world.join("web/1")
    world.join("db/1")
    world.join("db/2", timeout_ms=5_000)
    for service in ("web", "db"):
        world.keep_alive(service)
    when = {}
    for second in range(1, 101):
        world.advance(1)
        for change in world.changes:
            when.setdefault((change.service + "/" + change.instance_id, change.new), second)
    assert when["db/2", State.LOST] == 5
    assert when["db/1", State.LOST] == 20
    assert when["web/1", State.LOST] == 30
    assert when["db/1", State.REMOVED] == when["db/2", State.REMOVED] == 50
    assert when["web/1", State.REMOVED] == 100


def test_a_lease_beyond_the_bounds_is_bounded_and_counted(world):
    world.beat("web/1", timeout_ms=1)
    world.beat("web/2", timeout_ms=10**15)
    world.advance(1)
    assert world.lost() == ["web/1"]
    assert world.registry.stats()["leases_bounded"] == 2


def test_a_lease_longer_than_the_cache_time_is_seen_lost_before_it_is_removed(world):
    world.join("job/1", timeout_ms=7_200_000)
    world.keep_alive("job")
    world.advance(7200)
    assert world.state("job/1") is State.LOST
    world.advance(599)
    assert world.state("job/1") is State.LOST
    world.advance(1)
    assert world.state("job/1") is None


def test_a_beat_may_change_its_lease_and_interval(world):
    world.join("web/1", timeout_ms=10_000, interval_ms=2000)
    world.beat(timeout_ms=100_000, interval_ms=30_000)
    world.advance(44)
    assert world.state() is State.UP
    world.advance(1)
    assert world.state() is State.LATE
    world.advance(55)
    assert world.state() is State.LOST


def test_remove_by_hand_and_a_beat_of_who_was_kept(world):
    instance = world.beat(meta={"v": 1}, interval_ms=3000)
    assert world.registry.remove(instance.id, "scaled down")
    assert told(world) == (State.NEW, State.REMOVED, Level.NORMAL)
    assert world.why() == "removed by hand: scaled down"
    assert not world.registry.remove(instance.id, "again")
    world.advance(100)
    assert instance.state is State.REMOVED
    world.registry.renew(instance)  # an ingest that still had it
    again = world.of("web/1")
    assert again.id != instance.id
    assert (again.state, again.meta, again.interval_ms) == (State.NEW, {"v": 1}, 3000)
    world.registry.renew(instance)
    assert again.state is State.UP
    assert set(world.registry.dirty_beats()) == {again.id}


def test_a_listener_that_fails_harms_nobody(world, caplog):
    world.registry.on_change.insert(0, lambda change: 1 / 0)
    world.beat()
    assert [change.new for change in world.changes] == [State.NEW]
    assert world.registry.stats()["listener_errors"] == 1
    assert "ZeroDivisionError" in caplog.text
    world.registry.on_change.pop(0)
    world.registry._book.listener_errors = 0


def test_times_between_beats_are_kept_with_marks_for_missed_ones(world):
    instance = world.beat(interval_ms=3000)
    assert list(instance.gaps()) == []
    for seconds in (3, 3.1, 10, 2.9, 400.1):  # longer than 81 s: less exact
        world.advance(seconds)
        world.registry.renew(instance)
    assert list(instance.gaps()) == [(3.0, False), (3.1, False), (10.0, True), (2.9, False), (400.0, True)]
    for _ in range(120):
        world.advance(2)
        world.registry.renew(instance)
    assert list(instance.gaps()) == [(2.0, False)] * 120
    world.wall_offset_ms -= 5000  # the wall clock is set back
    world.registry.renew(instance)
    assert list(instance.gaps())[-1] == (0.0, False)


def test_the_interval_is_learned_from_the_agents_clock_if_it_tells_none(world):
    def at(time_ms, last_ms):
        world.beat(agent_time_ms=time_ms, agent_last_time_ms=last_ms)
        return world.of("web/1").interval_ms

    assert at(1_000_000, 0) is None
    assert at(1_003_000, 1_000_000) is None
    assert at(1_006_100, 1_003_000) == 3100  # two agree
    assert at(9_006_100, 1_006_100) == 3100  # it slept
    assert at(9_009_000, 9_006_100) == 3100
    assert at(9_019_000, 9_009_000) == 3100
    assert at(9_029_000, 9_019_000) == 10_000
    world.beat(interval_ms=4000)
    assert at(9_049_000, 9_029_000) == 4000  # what it tells itself counts
    assert at(9_069_000, 9_049_000) == 4000
    assert world.rows[world.of("web/1").id].interval_ms == 4000


def test_the_skew_is_the_median_of_three(world):
    skews = []
    for late_ms in (40, 50, 9000, 45, 42, -3_600_000, -3_600_000):
        world.beat(agent_time_ms=world.wall_ms() - late_ms)
        skews.append(world.of("web/1").skew_ms)
    assert skews == [-40, -45, -50, -50, -45, -42, 3_600_000]


def test_a_wall_clock_that_is_set_decides_nothing(world):
    world.join("web/1", interval_ms=3000)
    world.wall_offset_ms += 86_400_000
    world.poll()
    assert world.state() is State.UP
    world.beat()
    world.wall_offset_ms -= 2 * 86_400_000
    world.advance(60)
    assert world.state() is State.LOST
    assert world.why().startswith("no heartbeat for 1 min (timeout 1 min)")
    world.beat()
    assert world.last().outage_ms == 0  # unknown, but never negative


@pytest.mark.parametrize("seconds", [0.01, 81.91, 81.92, 300, 2621, 2622, 3600, 83_000, 90_000, 604_800, 2_600_000])
def test_a_time_between_beats_is_kept_to_a_256th_of_it(world, seconds):
    instance = world.beat(timeout_ms=2_678_400_000)
    world.advance(seconds)
    world.registry.renew(instance)
    ((kept, missed),) = instance.gaps()
    assert not missed
    assert seconds * 255 / 256 - 0.01 <= kept <= seconds
    world.goodbye("web/1")
    world.advance(400 * 86_400)
    assert world.state() is None
