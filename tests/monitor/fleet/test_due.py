# SPDX-License-Identifier: MIT
"""A hold compares what arrives with what was due: one-shot pings, silences, starts of the monitor, and leaks."""

from __future__ import annotations

import random
import re
import zlib

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import HoldState, State
from heartfelt.monitor.reasons import english
from tests.monitor.fleet.world import World, saved

HOLD = HoldPolicy()


@pytest.fixture
def world(make_world):
    return make_world(policy=Policy(hold=HOLD))


def fleet(n, service="web"):
    return [f"{service}/{k}" for k in range(n)]


# -- pings


@pytest.mark.parametrize("via", ["ping", "udp"])
@pytest.mark.parametrize("each", [1, 2])
def test_checks_that_ping_and_never_again_are_each_lost_at_their_own_time(world, via, each):
    names = fleet(400, "check")
    joined = {}
    for n, name in enumerate(names):
        for _ in range(each):
            world.beat(name, via=via, timeout_ms=60_000)
        joined[name] = world.wall_ms()
        if n % 50 == 49:
            world.advance(1)
    for _ in range(70):
        world.advance(1)
    assert world.holds == []
    lost = {f"{change.service}/{change.instance_id}": change for change in world.changes if change.new is State.LOST}
    assert {name: change.time_ms - joined[name] for name, change in lost.items()} == dict.fromkeys(names, 60_000)


def test_keys_that_beat_by_name_again_and_again_are_held_together(world):
    names = fleet(400, "cron")
    for _ in range(3):
        for name in names:
            world.beat(name, via="udp")
        world.advance(30)
    world.advance(31)
    assert (world.hold.state, world.hold.held) == (HoldState.HOLDING, 400)


# -- silences


@pytest.mark.parametrize("size", [2, 3, 9])
def test_a_silence_is_held_however_few_they_are(world, size):
    names = [f"s{n}/1" for n in range(size)]
    world.join(*names, interval_ms=10_000, timeout_ms=30_000)
    world.run(60, beating=names, every=10)
    world.run(40)
    assert world.lost() == []
    assert world.hold.held == size
    assert english(world.hold.reason).endswith(
        f"in which {size} instances should have sent one: the monitor's network may be down"
    )
    world.run(20, beating=names, every=10)
    assert {world.state(name) for name in names} == {State.UP}
    assert world.lost() == []


@pytest.mark.parametrize("terms", [{}, {"every_ms": 300_000}])
def test_a_silence_of_keys_whose_timeout_passes_before_they_are_late_is_held(world, terms):
    """Their period is learned, or set with the usual grace."""
    names = fleet(12)
    world.join(*names, via="ping", by_key=True, **terms)
    world.run(3600, beating=names, every=300, step=25)
    n = len(world.changes)
    world.run(600, step=25)
    assert (world.told(since=n).count(State.LOST), world.hold.held) == (0, 12)
    world.run(325, beating=names, every=300, step=25)
    assert world.told(since=n).count(State.LOST) == 0
    assert {world.state(name) for name in names} == {State.UP}
    world.run(600, beating=names[1:], every=300, step=25)
    assert world.told(since=n).count(State.LOST) == 1  # one loss, while the others are heard
    assert world.state(names[0]) is State.LOST


def test_after_a_silence_each_has_the_time_for_its_next_beat(world):
    names = fleet(12)
    world.join(*names, interval_ms=300_000, timeout_ms=900_000)
    world.run(900, beating=names, every=300, step=25)
    world.run(1000, step=25)
    assert world.hold.held == 12
    world.run(325, beating=names, every=300, step=25)
    assert world.lost() == []
    assert {world.state(name) for name in names} == {State.UP}


def test_one_loss_while_the_others_are_not_due_is_told_at_once(world):
    hourly = [f"job{n}/1" for n in range(50)]
    world.join(*hourly, interval_ms=3_600_000, timeout_ms=3 * 3_600_000)
    world.join("web/1", interval_ms=10_000, timeout_ms=30_000)
    world.run(31, step=0.5)
    assert world.lost() == ["web/1"]
    assert world.holds == []


def test_one_loss_between_bursts_is_told_at_once(world):
    names = fleet(50)
    world.join(*names, interval_ms=60_000, timeout_ms=150_000)
    for _ in range(5):
        for name in names:
            world.beat(name)
        world.run(60, step=1)
    for _ in range(3):
        for name in names[1:]:
            world.beat(name)
        world.run(60, step=1)
    assert world.lost() == names[:1]
    assert world.holds == []


def test_agents_that_reconnect_after_a_short_cut_have_the_time_for_it(world):
    """The cut is over before a timeout ends. One agent waits for longer than its timeout before it connects again."""
    names = [f"s{n}/1" for n in range(6)]
    world.join(*names, interval_ms=10_000, timeout_ms=30_000)
    world.run(60, beating=names, every=10)
    world.run(20)
    world.run(25, beating=names[1:], every=10)
    assert world.lost() == []
    assert world.hold.held == 1
    world.run(40, beating=names[1:], every=10)
    assert world.lost() == names[:1]  # it had 30 s to settle, and as long as the cut


def test_a_silence_is_held_once(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(longest_ms=20_000)))
    names = fleet(4)
    world.join(*names[:2], interval_ms=10_000, timeout_ms=30_000)
    world.join(*names[2:], interval_ms=10_000, timeout_ms=120_000)
    world.run(30, beating=names, every=10)
    world.run(125, step=1)
    assert sorted(world.lost()) == names
    assert world.registry.stats()["holds"] == 1


# -- starts


def restarted(make_world, world, down_s, policy=HOLD):
    rows = [world.registry.row(one) for one in world.registry.instances()]
    new = make_world(policy=Policy(hold=policy), wall_ms=world.wall_ms() + round(down_s * 1000))
    new.registry.restore(saved(rows, next_id=100))
    return new


def test_agents_on_tcp_have_the_time_to_reconnect_after_a_start(world, make_world):
    names = fleet(3)
    world.join(*names, via="sermant", interval_ms=10_000)
    world.run(30, beating=names, every=10)
    new = restarted(make_world, world, 80)
    new.run(20, step=1)
    new.beat(names[0], via="sermant")
    new.run(60 + 180 + 10 - 21, beating=names[:1], every=10, step=1)
    assert new.lost() == []
    assert {new.state(name) for name in names[1:]} == {State.LATE}
    new.run(2, beating=names[:1], every=10, step=1)
    assert sorted(new.lost()) == names[1:]
    assert new.why().startswith(
        "no heartbeat since the monitor started 4 min 10 s ago (timeout 1 min, and 3 min 10 s to reconnect)"
    )
    new.run(30, step=1)  # once it is back it has its own timeout
    assert new.state(names[0]) is State.LATE
    new.run(40, step=1)
    assert new.state(names[0]) is State.LOST


@pytest.mark.parametrize("size", [1, 4, 30])
@pytest.mark.parametrize("via", ["http", "sermant"])
def test_as_long_as_none_has_come_back_losses_are_held(world, make_world, size, via):
    names = fleet(size)
    world.join(*names, via=via, interval_ms=10_000)
    world.run(30, beating=names, every=10)
    new = restarted(make_world, world, 80)
    extra_s = 190 if via == "sermant" else 0
    new.run(extra_s + 62, step=1)
    assert new.lost() == []
    assert new.hold.held == size
    assert english(new.hold.reason) == (
        f"the monitor has started, and none of the {size} instances that it knew has come back yet"
    )
    new.run(211 + size, step=1)  # with an end
    assert sorted(new.lost()) == sorted(names)
    assert new.hold.state is HoldState.NONE


def test_once_some_have_come_back_the_others_are_lost_at_their_time(world, make_world):
    names = fleet(4)
    world.join(*names, interval_ms=10_000)
    new = restarted(make_world, world, 80)
    new.run(62, beating=names[1:], every=10, step=1)
    assert new.lost() == names[:1]
    assert new.holds == []


def test_the_time_to_reconnect_is_a_setting(world, make_world):
    world.join("web/1", "web/2", via="sermant", interval_ms=10_000)
    new = restarted(make_world, world, 80, HoldPolicy(reconnect_ms=20_000))
    new.run(91, beating=["web/2"], every=10, step=1)
    assert new.lost() == ["web/1"]


# -- leaks


def leaking(world, names, seconds, share, rng, every=20):
    """Each beat gets lost by this chance."""
    for _ in range(seconds):
        world.clock.advance(1)
        world.poll()
        for name in names:
            if round(world.clock.time()) % every == zlib.crc32(name.encode()) % every and rng.random() >= share:
                world.beat(name)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_a_leak_is_held_and_says_how_much_arrives(world, share):
    rng = random.Random(3)
    names = [f"s{n % 50}/{n}" for n in range(300)]
    world.join(*names, interval_ms=20_000, timeout_ms=60_000)
    leaking(world, names, 100, 0, rng)
    leaking(world, names, 600, share, rng)
    assert world.lost() == []
    assert world.registry.stats()["held_recovered"] > 0
    assert world.hold.scope == ""
    assert world.hold.until_ms is None
    arrives = re.match(r"only (\S+)% of the due heartbeats arrive", english(world.hold.reason))
    assert abs(float(arrives[1]) - 100 * (1 - share)) < 8  # and not what it was when the hold began
    leaking(world, names, 200, 0, rng)  # it is mended
    assert world.lost() == []
    assert world.hold.state is HoldState.NONE
    assert world.registry.stats()["holds"] == 1


def test_a_real_loss_in_a_leak_is_told_once_its_silence_is_no_chance(world):
    rng = random.Random(5)
    names = [f"s{n % 50}/{n}" for n in range(300)]
    world.join(*names, interval_ms=20_000, timeout_ms=60_000)
    leaking(world, names, 100, 0, rng)
    leaking(world, names, 300, 0.2, rng)
    leaking(world, names[1:], 100, 0.2, rng)
    assert world.of(names[0]).held
    leaking(world, names[1:], 260, 0.2, rng)
    assert world.lost() == names[:1]
    assert world.hold.state is HoldState.HOLDING


def test_a_cut_in_a_leak_is_a_hold_of_its_own(world):
    rng = random.Random(7)
    names = [f"s{n % 50}/{n}" for n in range(300)]
    world.join(*names, interval_ms=20_000, timeout_ms=60_000)
    leaking(world, names, 400, 0.3, rng)
    before = world.registry.stats()["holds"]
    leaking(world, names, 500, 1.0, rng)
    assert world.lost() == []
    assert world.registry.stats()["holds"] == before + 1
    assert english(world.hold.reason).startswith("no heartbeat from any instance")


def test_a_fleet_that_shrinks_is_no_leak(world):
    """A deployment without goodbyes: each old instance is lost, at its own time."""
    rng = random.Random(9)
    old, new = [f"s{n % 50}/{n}" for n in range(100)], [f"s{n % 50}/new{n}" for n in range(100)]
    world.join(*old, interval_ms=20_000, timeout_ms=60_000)
    leaking(world, old, 100, 0, rng)
    for n in range(100):
        world.join(new[n], interval_ms=20_000, timeout_ms=60_000)
        leaking(world, old[n + 1 :] + new[: n + 1], 10, 0, rng)
    leaking(world, new, 80, 0, rng)
    assert sorted(world.lost()) == sorted(old)
    assert world.holds == []


def test_a_few_that_always_miss_beats_hold_nothing(world):
    rng = random.Random(11)
    good, bad = [f"s{n % 50}/{n}" for n in range(200)], fleet(8, "flaky")
    world.join(*good, *bad, interval_ms=5_000, timeout_ms=60_000)
    for _ in range(400):
        leaking(world, good[1:], 1, 0, rng, every=1)
        leaking(world, bad, 1, 0.93, rng, every=1)
    assert good[0] in world.lost()
    assert world.holds == []


def test_the_hold_can_be_off(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(enable=False)))
    world.join("web/1", "web/2", interval_ms=10_000)
    new = World(policy=world.registry.policy)
    try:
        new.registry.restore(saved([world.registry.row(one) for one in world.registry.instances()], next_id=9))
        new.run(61, step=1)
        assert len(new.lost()) == 2
    finally:
        new.close()
