# SPDX-License-Identifier: MIT
"""Losses that come together: what is held, why, for how long, and how it is told in the end."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import HoldState, Level, State
from heartfelt.monitor.reasons import english

HOLD = HoldPolicy(longest_ms=120_000, release_per_s=10.0)


def fleet(n, service="web"):
    return [f"{service}/{k}" for k in range(n)]


@pytest.fixture
def world(make_world):
    return make_world(policy=Policy(hold=HOLD))


def detected(world):
    found = []
    world.registry.on_detected.append(lambda instance: found.append(f"{instance.service}/{instance.instance_id}"))
    return found


def test_what_was_held_or_paused_does_not_count_as_detected(world):
    found = detected(world)
    rack, rest = fleet(12), fleet(10, "db")
    at_interval(world, [*rack, *rest, "one/1", "one/2"])
    world.registry.pause(world.of("one/2").id)
    world.run(200, beating=rest)
    assert len(world.lost()) == 12 + 1
    assert world.hold.state is HoldState.NONE
    world.registry.resume(world.of("one/2").id)
    assert world.state("one/2") is State.LOST
    assert found == ["one/1"]


def at_interval(world, names, every=3):
    """They are UP, each at its own phase."""
    world.join(*names, interval_ms=every * 1000)
    world.run(10, beating=names)


def test_a_rack_that_dies_is_held_from_its_first_loss_on(world):
    rack, rest = fleet(12), fleet(10, "db")
    at_interval(world, rack + rest)
    world.run(59, beating=rest)
    assert world.lost() == []
    assert world.hold.state is HoldState.HOLDING
    assert world.hold.scope == "web"
    assert english(world.hold.reason).startswith(
        "12 of 12 instances of service web went silent within 8 s (more than 50%"
    )
    world.run(4, beating=rest)
    assert world.hold.held == 12
    assert {world.state(name) for name in rack} == {State.LATE}
    assert "the loss is held: 12 of 12" in english(world.of("web/3").reason)
    assert world.registry.services()["web"].held == 12
    since_ms, until_ms = world.hold.since_ms, world.hold.until_ms
    assert until_ms - since_ms == 120_000
    # ...until its latest end, and is then told, 10 a second
    world.run((until_ms - world.wall_ms()) / 1000, beating=rest)
    assert world.hold.state is HoldState.RELEASING
    assert len(world.lost()) <= 1
    world.run(1, beating=rest, step=0.1)
    assert 8 <= len(world.lost()) <= 11
    world.run(1, beating=rest)
    assert sorted(world.lost()) == sorted(rack)
    assert world.hold.state is HoldState.NONE
    assert {change.level for change in world.changes if change.new is State.LOST} == {Level.EMERGENCY}
    assert [hold.state for hold in world.holds if hold.held == 0][-1] is HoldState.NONE


def told_of_hold(world):
    return [(one.info["name"], one.level, one.service) for one in world.events if one.info["name"].startswith("HOLD")]


def test_a_hold_is_an_event_from_its_begin_to_its_end(world):
    rack, rest = fleet(12), fleet(10, "db")
    at_interval(world, rack + rest)
    world.run(63, beating=rest)
    began = world.events[-1]
    assert told_of_hold(world) == [("HOLD_BEGAN", Level.EMERGENCY, "web")]
    assert began.info["untilMs"] == world.hold.until_ms
    assert began.info["description"].startswith("losses are held until ")
    assert english(world.hold.reason) in began.info["description"]
    assert world.registry.release_hold("mary")
    assert told_of_hold(world)[1:] == [("HOLD_RELEASING", Level.IMPORTANT, "web")]
    assert world.events[-1].info["description"].startswith("released by mary; losses were held because 12 of 12")
    world.run(2, beating=rest)
    assert told_of_hold(world)[2:] == [("HOLD_ENDED", Level.NORMAL, "web")]
    assert world.hold.state is HoldState.NONE


def test_what_is_held_and_beats_again_was_never_lost(world):
    rack = fleet(20)
    at_interval(world, rack)
    world.run(63)
    assert world.hold.held == 20
    world.run(3, beating=rack)
    assert world.hold.held == 0
    assert {world.state(name) for name in rack} == {State.UP}
    world.run(20, beating=rack)
    assert world.hold.state is HoldState.NONE
    assert world.lost() == []
    assert world.registry.stats()["held_recovered"] == 20


def test_single_losses_are_told_at_once(world):
    names = fleet(20)
    at_interval(world, names)
    for k in range(3):
        stopped = names[: k + 1]
        world.run(70, beating=[name for name in names if name not in stopped])
        assert sorted(world.lost()) == sorted(stopped)
    assert world.holds == []
    late_by = [change.time_ms for change in world.changes if change.new is State.LOST]
    assert len(late_by) == 3


def test_losses_elsewhere_are_told_while_a_service_is_held(world):
    rack, rest = fleet(12), fleet(20, "db")
    at_interval(world, rack + rest)
    world.run(40, beating=rest)
    world.run(61, beating=rest[1:])
    assert world.hold.scope == "web"
    assert world.lost() == ["db/0"]


def test_a_second_service_widens_the_hold_to_all_with_the_same_end(world):
    web, db, rest = fleet(12), fleet(12, "db"), fleet(60, "cache")
    at_interval(world, web + db + rest)
    world.run(20, beating=db + rest)
    world.run(43, beating=rest)
    assert world.hold.scope == "web"
    until_ms = world.hold.until_ms
    world.run(20, beating=rest)
    assert world.hold.scope == ""
    assert told_of_hold(world) == [
        ("HOLD_BEGAN", Level.EMERGENCY, "web"),
        ("HOLD_WIDENED", Level.EMERGENCY, "heartfelt-monitor"),
    ]
    assert english(world.hold.reason).startswith(
        "many instances of service web went silent, then those of other services, db among them"
    )
    assert world.hold.held == 24
    assert abs(world.hold.until_ms - until_ms) <= 1
    assert world.lost() == []


def test_many_small_services_are_held_by_the_share_of_all(world):
    names = [f"s{k}/1" for k in range(20)]
    at_interval(world, names)
    world.run(63, beating=names[10:])
    assert world.hold.scope == ""
    assert english(world.hold.reason).startswith("10 of 20 instances of all services went silent")
    assert world.lost() == []


def test_a_network_that_fails_is_held_for_all_whoever_is_lost_first(world):
    names = fleet(12) + [f"s{k}/1" for k in range(20)]
    at_interval(world, [*names, "far/1"])
    world.run(63, beating=["far/1"])
    assert world.hold.scope == ""
    assert english(world.hold.reason).startswith("32 of 33 instances of all services went silent")
    assert world.hold.held == 32
    assert world.lost() == []


def test_losses_at_one_instant_of_instances_whose_interval_is_not_known(world):
    names = fleet(1000)
    world.join(*names)
    world.advance(60)
    assert world.hold.held == 1000
    assert world.lost() == []


def test_few_instances_are_never_a_share(world):
    at_interval(world, [*fleet(4), "far/1"])
    world.run(64, beating=["far/1"])
    assert sorted(world.lost()) == fleet(4)
    assert world.holds == []


def test_a_smaller_fleet_is_measured_by_its_new_size(make_world):
    # 30 of 40 go one after the other, as a deployment takes them down; of the 10 left, 6 at once are a share
    world = make_world(policy=Policy(hold=HOLD, lease_cache_ms=100_000_000))
    names = fleet(40)
    at_interval(world, names)
    left = names[:]
    while len(left) > 10:
        left.pop()
        world.run(10, beating=left)
    world.run(70, beating=left)
    assert len(world.lost()) == 30
    assert world.holds == []
    world.run(64, beating=left[:4])
    assert world.hold.held == 6


def test_what_was_told_within_the_window_counts_in_the_share_as_before(world):
    names = fleet(9)  # whose intervals are not known
    for name in names:
        world.join(name)
        world.advance(1)
    for name in names[4:]:
        world.beat(name)
    world.run(56, beating=names[4:])
    assert world.lost() == names[:4]  # one a second, four within 5 s: of nine, not of the six that are left
    assert world.holds == []


def test_a_real_scale_down_ends_and_is_told_once(world):
    names = fleet(30)
    at_interval(world, names)
    left = names[:5]
    world.run(64 + 120 + 4, beating=left)
    assert sorted(world.lost()) == sorted(names[5:])
    assert world.hold.state is HoldState.NONE
    n = len(world.changes)
    world.run(100, beating=left)
    assert len(world.changes) == n
    assert {world.state(name) for name in left} == {State.UP}


def test_goodbye_and_removal_and_pause_of_what_is_held(world):
    names = fleet(12)
    at_interval(world, names)
    world.run(64)
    assert world.hold.held == 12
    world.goodbye("web/1")
    world.registry.remove(world.of("web/2").id, "gone")
    world.registry.pause(world.of("web/3").id)
    world.poll()
    assert world.hold.held == 9
    world.run(125)
    assert len(world.lost()) == 9
    assert world.state("web/3") is State.PAUSED


def test_released_by_hand(world):
    names = fleet(12)
    at_interval(world, [*names, "far/1"])
    assert not world.registry.release_hold("alice")
    world.run(64, beating=["far/1"])
    assert world.registry.release_hold("alice")
    assert world.hold.state is HoldState.RELEASING
    assert english(world.hold.reason).startswith("released by alice; losses were held because 12 of 12")
    assert not world.registry.release_hold("bob")
    world.run(2, beating=["far/1"])
    assert sorted(world.lost()) == sorted(names)
    assert world.hold.state is HoldState.NONE


def test_what_was_released_is_not_held_again(world):
    names = fleet(12)
    at_interval(world, names)
    world.run(64)
    world.registry.release_hold("")
    world.run(3)
    assert len(world.lost()) == 12
    world.run(5, beating=names)  # they flap
    world.run(64)
    assert len(world.lost()) == 24
    assert world.registry.stats()["holds"] == 1


def test_after_a_while_they_may_be_held_again(world):
    names = fleet(12)
    at_interval(world, names)
    world.run(64)
    world.registry.release_hold("")
    world.run(3)
    world.run(125, beating=names)
    world.run(64)
    assert world.hold.held == 12
    assert len(world.lost()) == 12


def test_flapping_instances_do_not_make_a_hold(world):
    names = fleet(20)
    world.join(*names, timeout_ms=1000)
    flapping = names[0]
    for _ in range(40):
        world.run(1.5, beating=names[1:], every=0.5)
        world.registry.renew(world.of(flapping))
        world.poll()
    assert world.holds == []
    assert world.lost() == [flapping] * 40


def test_the_monitor_was_stalled(world):
    names = fleet(30)
    at_interval(world, names)
    world.run(58, beating=names[2:])
    world.registry.stalled(5200)
    assert (world.events[-1].info["name"], world.events[-1].level) == ("MONITOR_STALLED", Level.IMPORTANT)
    world.run(4, beating=names[2:])
    assert english(world.hold.reason) == "the monitor itself was stalled for 5.2 s"
    assert world.hold.held == 2
    world.run(27, beating=names[2:])  # 30 s to connect anew, and they are told
    assert sorted(world.lost()) == sorted(names[:2])
    assert world.hold.state is HoldState.NONE
    world.run(70, beating=names[3:])
    assert world.lost()[2:] == [names[2]]


def test_a_short_stall_holds_nothing(world):
    names = fleet(18)
    at_interval(world, names)
    world.run(59, beating=names[1:])
    told = len(world.events)
    world.registry.stalled(900)
    assert len(world.events) == told  # it is only counted
    assert world.registry.stats()["stalls"] == 1
    world.run(3, beating=names[1:])
    assert world.lost() == names[:1]


@pytest.mark.parametrize("size", [1, 3])
def test_a_stall_is_held_however_few_they_are(world, size):
    names = fleet(size)
    at_interval(world, names)
    world.run(40)
    world.clock.advance(80)
    world.registry.stalled(80_000)
    world.run(40)
    assert world.hold.held == size
    assert world.lost() == []
    world.run(10, beating=names)
    assert {world.state(name) for name in names} == {State.UP}
    assert world.hold.state is HoldState.NONE


def test_a_long_stall_leaves_the_time_to_reconnect(world):
    """An agent that could not connect for 10 min may wait for 3 min more."""
    names = fleet(3)
    at_interval(world, names)
    world.clock.advance(600)
    world.registry.stalled(600_000)
    world.run(119)
    assert world.lost() == []  # the longest hold here is 120 s
    settled_ms = HoldPolicy().settle_ms + HoldPolicy().reconnect_ms
    assert world.registry._hold.outages._settled_ms - world.clock.time() * 1000 == settled_ms - 119_000


def test_the_network_was_silent(make_world):
    # A part of the fleet has a shorter timeout than the others: too few to be a share.
    world = make_world(policy=Policy(hold=HOLD, lease_timeout_ms=8000))
    names = [f"s{k % 40}/{k}" for k in range(80)]
    world.join(*names, interval_ms=3000)
    world.run(60, beating=names)
    for name in names[:8]:
        world.beat(name, timeout_ms=6500)
    for name in names[8:]:
        world.beat(name, timeout_ms=60_000)
    world.run(9)
    assert world.lost() == []
    assert world.hold.held == 8
    assert world.hold.scope == ""
    assert english(world.hold.reason).startswith(
        "no heartbeat from any instance for 5.5 s, in which 80 instances should have sent one"
    )
    assert "the monitor's network may be down" in english(world.hold.reason)
    # The beats are back: 30 s more for those that connect anew, and as long as nothing was heard.
    world.run(10, beating=names[3:])
    assert world.hold.held == 3
    assert world.hold.until_ms - world.wall_ms() <= 30_000 + 9_000 - 9_000
    world.run(35, beating=names[3:])
    assert sorted(world.lost()) == sorted(names[:3])


def test_a_silence_that_lasts_ends_too(make_world):
    world = make_world(policy=Policy(hold=HOLD))
    names = fleet(80)
    at_interval(world, names)
    world.run(64)
    assert world.hold.held == 80
    world.run(120 + 9)
    assert len(world.lost()) == 80
    assert world.hold.state is HoldState.NONE


def test_switched_off(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(enable=False)))
    world.join(*fleet(100))
    world.registry.stalled(5000)
    world.advance(60)
    assert len(world.lost()) == 100
    assert world.holds == []


# -- the machine alone
