# SPDX-License-Identifier: MIT
"""Expected instances stay lost until they beat or are removed by hand; so does the last one of a service."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import ExpectedBy, Level, State
from tests.monitor.fleet.world import NO_HOLD, told

YEAR_S = 366 * 86_400
KEPT = "kept as the last instance of service web that has not left"


def policy(**services):
    return Policy(hold=NO_HOLD, services={name: ServicePolicy(**fields) for name, fields in services.items()})


def test_what_beats_by_its_key_stays_lost_until_it_beats(world):
    world.keep_alive("jobs")
    world.join("jobs/nightly", by_key=True)
    world.advance(60)
    world.advance(YEAR_S)
    assert world.state("jobs/nightly") is State.LOST
    assert world.told("jobs/nightly") == [State.NEW, State.UP, State.LOST]
    world.beat("jobs/nightly", by_key=True)
    assert told(world) == (State.LOST, State.UP, Level.IMPORTANT)


def test_or_until_it_is_removed_by_hand(world):
    world.join("jobs/nightly", by_key=True)
    world.advance(60)
    assert world.registry.remove(world.of("jobs/nightly").id, "given up", by="Ann")
    assert told(world) == (State.LOST, State.REMOVED, Level.NORMAL)
    assert world.why() == "removed by hand, by Ann: given up"


def test_an_expected_one_that_left_is_forgotten_like_any_other(world):
    world.join("jobs/nightly", by_key=True)
    world.goodbye("jobs/nightly")
    world.advance(600)
    assert world.state("jobs/nightly") is None


def test_an_expected_one_that_was_lost_and_says_goodbye_is_forgotten(world):
    world.join("jobs/nightly", by_key=True)
    world.advance(60)
    world.goodbye("jobs/nightly")
    world.advance(600)
    assert world.state("jobs/nightly") is None


@pytest.mark.parametrize(
    ("service", "beat", "expected", "by"),
    [
        ({}, {}, False, ExpectedBy.SERVICE),
        ({}, {"by_key": True}, True, ExpectedBy.KEY),
        ({}, {"expected": True}, True, ExpectedBy.BEAT),
        ({"expected": True}, {}, True, ExpectedBy.SERVICE),
        ({"expected": False}, {"by_key": True}, False, ExpectedBy.KEY),
        ({"expected": True}, {"expected": False}, False, ExpectedBy.BEAT),
        ({"expected": False}, {"by_key": True, "expected": True}, True, ExpectedBy.BEAT),
        ({}, {"by_key": True, "expected": False}, False, ExpectedBy.BEAT),
    ],
)
def test_the_beat_decides_then_the_service_then_how_it_beats(make_world, service, beat, expected, by):
    world = make_world(policy=policy(web=service))
    world.keep_alive()
    world.beat("web/1", **beat)
    assert (world.of("web/1").expected, world.of("web/1").expected_by) == (expected, by)
    world.beat("web/1")  # which says nothing
    assert world.of("web/1").expected is expected
    assert world.stored[world.of("web/1").id].expected is expected
    world.advance(60)
    world.advance(540)
    assert world.state("web/1") is (State.LOST if expected else None)


def test_a_later_beat_may_decide_otherwise(world):
    world.keep_alive()
    world.join("web/1", by_key=True)
    world.beat("web/1", expected=False)
    world.beat("web/1", by_key=True)
    assert not world.of("web/1").expected
    world.advance(60)
    world.advance(540)
    assert world.state("web/1") is None
    world.join("web/2")
    world.beat("web/2", by_key=True)
    assert world.of("web/2").expected


def test_the_last_of_its_service_is_kept_when_its_time_is_over(world):
    world.join("web/1")
    world.advance(60)
    world.advance(539)
    assert world.of("web/1").reason.code == "lost"
    world.advance(YEAR_S)
    assert world.state("web/1") is State.LOST
    assert world.told("web/1") == [State.NEW, State.UP, State.LOST]  # and people are not told again
    assert world.of("web/1").reason.code == "kept_last"
    assert world.stored[world.of("web/1").id].reason == world.of("web/1").reason
    (event,) = world.events
    assert (event.info["name"], event.level, event.instance_id) == ("INSTANCE_KEPT", Level.NORMAL, "1")
    assert event.info["description"].startswith("no heartbeat for 1 min (timeout 1 min)")
    assert event.info["description"].endswith(KEPT)


def test_it_is_removed_when_another_one_joins(world):
    world.join("web/1", "db/1")
    world.advance(60)
    world.advance(3600)
    world.beat("web/2")
    assert (world.state("web/1"), world.state("db/1")) == (None, State.LOST)
    assert told(world) == (State.LOST, State.REMOVED, Level.NORMAL)
    assert "it was kept as the last of its service until 2 sent one" in world.why()
    world.advance(60)
    world.advance(3600)
    assert world.state("web/2") is State.LOST  # now it is the last


def test_if_another_one_joins_before_its_time_is_over_it_stays_until_then(world):
    world.join("web/1")
    world.advance(60)
    world.keep_alive()
    world.advance(539)
    assert world.state("web/1") is State.LOST
    world.advance(1)
    assert world.state("web/1") is None


def test_those_that_left_do_not_count_and_one_that_comes_back_does(world):
    world.join("web/1", "web/2", timeout_ms=1000)
    world.goodbye("web/2")
    world.advance(1)
    world.advance(599)
    assert world.told("web/2")[-1] is State.REMOVED
    assert world.state("web/1") is State.LOST
    world.beat("web/2")
    world.goodbye("web/2")
    assert world.state("web/1") is None

    world.join("db/1", timeout_ms=1000)
    world.advance(1)
    world.join("db/2")
    world.goodbye("db/2")
    world.advance(599)
    assert [world.state("db/1"), world.state("db/2")] == [State.LOST, State.LEFT]
    world.beat("db/2")
    assert [world.state("db/1"), world.state("db/2")] == [None, State.UP]


def test_those_that_are_paused_do_not_count_until_they_are_resumed(world):
    for name in ("web/1", "web/2"):
        world.join(name, timeout_ms=100_000)
    world.advance(60)
    world.beat("web/2")
    world.registry.pause(world.of("web/2").id)
    world.advance(40)
    world.advance(600)
    assert world.of("web/1").reason.code == "kept_last"
    world.beat("web/2")
    assert world.state("web/1") is State.LOST
    world.registry.resume(world.of("web/2").id)
    assert [world.state("web/1"), world.state("web/2")] == [None, State.UP]


def test_of_several_that_are_lost_the_last_one_is_kept(world):
    names = [f"web/{n}" for n in range(50)]
    for name in names:
        world.join(name)
        world.advance(1)
    world.advance(60)
    world.advance(3600)
    assert [name for name in names if world.state(name) is not None] == names[-1:]


def test_a_kept_one_that_beats_leaves_or_is_paused_is_like_any_other_again(world):
    for end in (world.beat, world.goodbye, lambda name: world.registry.pause(world.of(name).id)):
        world.join("web/1")
        world.advance(60)
        world.advance(3600)
        assert world.of("web/1").reason.code == "kept_last"
        end("web/1")
        state = world.state("web/1")
        world.join("web/2")
        assert world.state("web/1") is state is not State.LOST
        for name in ("web/1", "web/2"):
            world.registry.remove(world.of(name).id)


def test_one_whose_run_fails_has_come_too(world):
    world.join("jobs/old", expected=False)
    world.advance(60)
    world.advance(3600)
    assert world.of("jobs/old").reason.code == "kept_last"
    world.fail("jobs/new")
    assert [world.state("jobs/old"), world.state("jobs/new")] == [None, State.FAILED]


def test_a_failed_one_is_never_removed_by_time(world):
    for name, by_key in (("jobs/a", True), ("jobs/b", False)):
        world.join(name, timeout_ms=31 * 86_400_000, by_key=by_key)
        world.fail(name)
    world.keep_alive("jobs")
    world.advance(30 * 86_400)
    assert [world.state(name) for name in ("jobs/a", "jobs/b")] == [State.FAILED] * 2
    world.advance(2 * 86_400)
    world.advance(3600)
    assert [world.state(name) for name in ("jobs/a", "jobs/b")] == [State.LOST, None]


def test_a_kept_one_may_be_removed_by_hand(world):
    world.join("web/1")
    world.advance(60)
    world.advance(3600)
    assert world.registry.remove(world.of("web/1").id)
    assert len(world.registry) == 0
    world.join("web/2")
    assert world.state("web/2") is State.UP


def test_a_restart_keeps_all_of_it(world, restart):
    world.join("jobs/nightly", by_key=True)
    world.join("web/last")
    world.join("db/1", "db/2")
    for _ in range(2):
        world.advance(60)
    world.advance(540)
    assert [world.state(name) for name in ("jobs/nightly", "web/last")] == [State.LOST] * 2
    new = restart(world, down_s=3600)
    new.advance(YEAR_S)
    new = restart(new)
    new.advance(YEAR_S)
    assert [new.state(name) for name in ("jobs/nightly", "web/last")] == [State.LOST] * 2
    assert sum(new.state(name) is State.LOST for name in ("db/1", "db/2")) == 1
    assert new.told() == []
    new.beat("web/2")
    assert new.state("web/last") is None
    new.beat("jobs/2")
    assert new.state("jobs/nightly") is State.LOST


def test_a_setting_of_the_service_that_has_changed_counts_from_the_restart_on(make_world, restart):
    world = make_world(policy=policy(web={"expected": True}))
    world.keep_alive()
    world.join("web/1")
    world.join("web/said", expected=True)
    world.join("db/key", by_key=True)
    world.keep_alive("db")
    world.advance(60)
    new = restart(world, policy=policy(db={"expected": False}))
    assert {name: new.of(name).expected for name in ("web/1", "web/said", "db/key")} == {
        "web/1": False, "web/said": True, "db/key": False,
    }  # fmt: skip
    new.advance(3600)
    assert [new.state(name) for name in ("web/1", "web/said", "db/key")] == [None, State.LOST, None]
