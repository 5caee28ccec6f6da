# SPDX-License-Identifier: MIT
"""FAILED: each way into it and out of it, with its level, its reason and the length of the failure."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy, ServicePolicy
from heartfelt.monitor.model import HoldState, Level, State
from heartfelt.monitor.reasons import english
from tests.monitor.fleet.world import EPOCH_MS, NO_HOLD, World, told

DAY = {"timeout_ms": 90_000_000}


@pytest.fixture
def up(world):
    """A world with a job whose timeout is a day."""
    world.join("job/a", via="ping", **DAY)
    assert world.state("job/a") is State.UP
    return world


def test_a_failed_run_is_told_at_once_and_the_next_success_with_the_length_of_the_failure(up):
    up.fail(status=3, text="reading\nno space left\n", duration_ms=1500)
    assert told(up) == (State.UP, State.FAILED, Level.EMERGENCY)
    assert up.why() == "its run failed with exit status 3 after 1.5 s: no space left"
    assert up.last().outage_ms is None
    assert (up.registry.totals().up, up.registry.totals().of(State.FAILED)) == (0, 1)
    assert up.rows[up.of("job/a").id].down_since_ms == up.wall_ms()
    up.advance(3600)
    up.ok()
    assert told(up) == (State.FAILED, State.UP, Level.IMPORTANT)
    assert up.why() == "succeeded again after 1 h"
    assert up.last().outage_ms == 3_600_000
    assert up.rows[up.of("job/a").id].down_since_ms is None
    assert up.registry.stats()["failures"] == 1


def test_what_fails_and_fails_is_told_once(up):
    for n in range(45):
        up.starts()
        up.advance(10)
        up.fail(status=n + 1)
    assert up.told("job/a") == [State.NEW, State.UP, State.FAILED]
    assert up.results() == ["FAILED"] * 45
    assert up.of("job/a").reason.args["status"] == 45  # as the list shows it
    up.ok()
    assert up.last().outage_ms == 440_000


def test_the_first_that_is_heard_of_a_job_may_be_its_failure(world):
    world.fail()
    assert world.told("job/a") == [State.NEW, State.FAILED]
    assert world.of("job/a").is_job and world.why() == "its run failed"


@pytest.mark.parametrize("before", [State.NEW, State.LATE, State.LOST, State.LEFT, State.STUCK])
def test_a_failure_leads_to_failed_from_any_state_without_another_in_between(world, before):
    world.beat("job/a", interval_ms=2000, timeout_ms=10_000)
    if before is not State.NEW:
        world.beat("job/a", lag_ms=20_000 if before is State.STUCK else None)
    if before is State.LEFT:
        world.goodbye("job/a")
    elif before in (State.LATE, State.LOST):
        world.advance(4 if before is State.LATE else 11)
    assert world.state("job/a") is before
    world.fail()
    assert told(world) == (before, State.FAILED, Level.EMERGENCY)
    world.advance(9.9)
    assert world.state("job/a") is State.FAILED  # its failure was a beat, too
    world.advance(0.1)
    assert told(world) == (State.FAILED, State.LOST, Level.EMERGENCY)


def test_a_failure_after_a_loss_belongs_to_the_same_outage(world):
    world.join("job/a", timeout_ms=10_000)
    world.advance(30)
    assert world.state("job/a") is State.LOST
    world.fail()
    world.advance(5)
    world.ok()
    assert (told(world), world.last().outage_ms) == ((State.FAILED, State.UP, Level.IMPORTANT), 35_000)


def test_a_loss_after_a_failure_belongs_to_the_same_outage(world):
    world.join("job/a", timeout_ms=10_000)
    world.fail()
    world.advance(30)
    assert told(world) == (State.FAILED, State.LOST, Level.EMERGENCY)
    world.ok()
    assert (told(world), world.last().outage_ms) == ((State.LOST, State.UP, Level.IMPORTANT), 30_000)
    assert english(world.last().reason) == "succeeded again after 30 s"


def test_progress_after_a_loss_shows_that_it_lives_not_that_it_works(world):
    world.join("job/a", timeout_ms=10_000)
    world.fail()
    world.advance(30)
    world.progress(rid="r")
    assert told(world) == (State.LOST, State.FAILED, Level.IMPORTANT)
    assert world.why() == "a run failed at 2023-11-14 22:13:20Z, and none has succeeded since"
    world.ok(rid="r")
    assert world.last().outage_ms == 30_000


def test_progress_of_a_run_does_not_end_a_failure_and_renews_the_timeout(world):
    world.join("job/a", timeout_ms=10_000)
    world.fail()
    for _ in range(5):
        world.advance(8)
        world.progress(rid="r", timeout_ms=60_000)
    assert world.state("job/a") is State.FAILED
    assert world.of("job/a").lease_ms == 10_000


def test_a_plain_ping_ends_a_failure(up):
    up.fail()
    up.advance(5)
    up.beat("job/a", via="ping")
    assert told(up) == (State.FAILED, State.UP, Level.IMPORTANT)


@pytest.mark.parametrize("via", ["udp", "http", "sermant"])
def test_another_plain_beat_ends_a_failure_while_no_run_is_open(up, via):
    up.starts(rid="a", timeout_ms=1000)
    up.starts(rid="b")
    up.advance(1)
    assert up.state("job/a") is State.FAILED
    for _ in range(3):
        up.advance(1)
        up.beat("job/a", via=via)
    assert up.state("job/a") is State.FAILED
    up.ok(rid="b")
    assert up.state("job/a") is State.UP
    up.fail(rid="c")
    up.advance(1)
    up.beat("job/a", via=via)  # nobody waits for the end of the hanging run any more
    assert told(up) == (State.FAILED, State.UP, Level.IMPORTANT)


def test_a_goodbye_ends_a_failure(up):
    up.fail()
    up.goodbye("job/a")
    assert told(up) == (State.FAILED, State.LEFT, Level.NORMAL)
    up.advance(5)
    up.beat("job/a")
    assert (up.last().old, up.last().outage_ms) == (State.LEFT, 5000)


def test_a_failed_instance_is_not_removed_by_time(up):
    up.fail()
    up.advance(80_000)
    assert up.state("job/a") is State.FAILED


def test_a_failed_instance_is_not_late(world):
    world.join("job/a", interval_ms=2000)
    world.fail()
    world.advance(30)
    assert world.state("job/a") is State.FAILED


def test_a_blocked_interpreter_shows_after_the_failure(up):
    up.fail()
    up.beat("job/a", lag_ms=50_000, via="http")
    assert told(up) == (State.FAILED, State.STUCK, Level.IMPORTANT)


# -- pauses


def test_a_failure_before_a_pause_is_not_told_again_after_it(up):
    up.fail()
    up.registry.pause(up.of("job/a").id)
    up.advance(5)
    up.registry.resume(up.of("job/a").id)
    assert told(up) == (State.PAUSED, State.FAILED, Level.NORMAL)
    assert up.why() == "resumed; its run failed"
    up.ok()
    assert up.last().outage_ms == 5000


def test_a_failure_in_a_pause_is_told_after_it(up):
    up.registry.pause(up.of("job/a").id)
    up.fail()
    assert up.state("job/a") is State.PAUSED
    up.advance(5)
    up.registry.resume(up.of("job/a").id)
    assert told(up) == (State.PAUSED, State.FAILED, Level.EMERGENCY)


def test_a_failure_and_its_recovery_in_a_pause_are_not_told(up):
    up.registry.pause(up.of("job/a").id)
    up.fail()
    up.advance(5)
    up.ok()
    up.registry.resume(up.of("job/a").id)
    assert told(up) == (State.PAUSED, State.UP, Level.NORMAL)


def test_a_recovery_in_a_pause_is_told_after_it(up):
    up.fail()
    up.registry.pause(up.of("job/a").id)
    up.advance(5)
    up.ok()
    up.registry.resume(up.of("job/a").id)
    assert told(up) == (State.PAUSED, State.UP, Level.IMPORTANT)
    assert up.of("job/a").down_since_ms is None


# -- bounds on durations


@pytest.mark.parametrize(
    ("duration_ms", "result", "why"),
    [
        (4999, "TOO_SHORT", "its run took only 4.9 s, which is shorter than the 5 s required"),
        (5000, "OK", None),
        (60_000, "OK", None),
        (60_001, "TOO_LONG", "its run took 1 min, which is longer than the 1 min allowed"),
    ],
)
def test_a_run_out_of_its_bounds_has_failed(world, duration_ms, result, why):
    world.join("job/a")
    world.ok(duration_ms=duration_ms, min_duration_ms=5000, max_duration_ms=60_000)
    assert world.results() == [result]
    assert world.state("job/a") is (State.UP if why is None else State.FAILED)
    if why is not None:
        assert (told(world)[2], world.why()) == (Level.EMERGENCY, why)


def test_a_services_bounds_apply_unless_a_beat_asks_for_others(make_world):
    services = {"job": ServicePolicy(min_duration_ms=1000, max_duration_ms=5000)}
    world = make_world(policy=Policy(hold=NO_HOLD, services=services))
    world.ok(duration_ms=6000)
    world.ok(duration_ms=500)
    world.ok(duration_ms=6000, max_duration_ms=10_000)
    world.ok(duration_ms=500, min_duration_ms=100)
    assert world.results() == ["TOO_LONG", "TOO_SHORT", "OK", "OK"]


def test_a_plain_ping_ends_the_run_without_an_id_and_its_bounds_apply(up):
    up.starts(min_duration_ms=5000)
    up.advance(2)
    up.beat("job/a", via="ping")
    assert up.results() == ["TOO_SHORT"] and up.state("job/a") is State.FAILED
    up.starts()
    up.advance(6)
    up.registry.renew(up.of("job/a"))  # as known pings are taken
    assert up.results() == ["TOO_SHORT", "OK"] and up.state("job/a") is State.UP
    up.beat("job/a", via="ping")
    assert up.of("job/a").plain and len(up.runs) == 2


# -- the hold


def test_the_loss_of_a_failed_instance_is_held_like_any_other(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(release_per_s=10)))
    names = [f"job/{n}" for n in range(12)]
    world.join(*names, interval_ms=3000, timeout_ms=20_000)
    world.fail("job/0")
    world.fail("job/1")
    world.run(5, beating=names)
    world.fail("job/0")
    world.fail("job/1")
    since = len(world.changes)
    world.run(30)
    assert world.hold.state is HoldState.HOLDING and world.hold.held == 12
    assert world.state("job/0") is State.FAILED and world.of("job/0").held
    assert State.LOST not in world.told(since=since)
    world.beat("job/0")
    assert world.hold.held == 11 and not world.of("job/0").held
    world.registry.release_hold("Ann")
    world.run(5)
    assert world.state("job/1") is State.LOST
    assert world.registry.totals().held == 0
    world.check()


# -- restarts


def test_a_restart_keeps_a_failure_and_its_timeout_runs(make_world):
    world = make_world()
    world.join("job/a", timeout_ms=10_000)
    world.fail()
    rows = list(world.rows.values())
    again = World(wall_ms=EPOCH_MS + 3_600_000)
    again.registry.restore(_saved(rows))
    assert again.state("job/a") is State.FAILED and again.changes == []
    again.advance(5)
    again.progress(rid="r")
    assert again.state("job/a") is State.FAILED
    again.advance(10)
    assert told(again) == (State.FAILED, State.LOST, Level.EMERGENCY)
    again.ok()
    assert again.last().outage_ms == 3_615_000
    again.close()


def _saved(rows, runs=(), next_run=1):
    from tests.monitor.fleet.world import saved

    return saved(rows, 100, 100, runs=runs, next_run=next_run)


@pytest.mark.parametrize("told_before", [True, False])
def test_a_restart_in_a_pause_keeps_whether_the_failure_was_told(make_world, told_before):
    world = make_world()
    world.join("job/a", timeout_ms=10_000)
    if told_before:
        world.fail()
    world.registry.pause(world.of("job/a").id)
    if not told_before:
        world.fail()
    again = World(wall_ms=EPOCH_MS + 60_000)
    again.registry.restore(_saved(list(world.rows.values())))
    again.registry.resume(again.of("job/a").id)
    assert told(again) == (State.PAUSED, State.FAILED, Level.NORMAL if told_before else Level.EMERGENCY)
    again.close()
