# SPDX-License-Identifier: MIT
"""Runs of jobs: their deadlines, their ends, several at once, restarts, and how many are kept in memory."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet import runs
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import Level, RunResult, State
from tests.monitor.fleet.world import EPOCH_MS, World, saved, told


@pytest.fixture
def up(world):
    world.join("job/a", via="ping", timeout_ms=90_000_000)
    return world


def test_a_first_start_registers_the_key_and_its_deadline_is_watched(world):
    world.starts(timeout_ms=1000)
    assert world.told("job/a") == [State.NEW]
    world.advance(0.999)
    assert world.state("job/a") is State.NEW
    world.advance(0.001)
    assert told(world) == (State.NEW, State.FAILED, Level.EMERGENCY)
    assert world.why() == (
        "the run that began at 2023-11-14 22:13:20Z has not ended; its deadline was 2023-11-14 22:13:21Z"
    )
    assert world.results() == ["OVERDUE"] and world.registry.stats()["runs_overdue"] == 1


def test_a_start_renews_nothing_and_its_timeout_is_not_the_keys(world):
    world.join("job/a", timeout_ms=10_000)
    world.advance(9)
    world.starts(timeout_ms=60_000)
    assert world.of("job/a").lease_ms == 10_000
    world.advance(1)
    assert world.state("job/a") is State.LOST


@pytest.mark.parametrize("hanging", ["a", "b"])
def test_of_two_runs_at_once_one_hangs(up, hanging):
    up.starts(rid="a", timeout_ms=20_000)
    up.starts(rid="b", timeout_ms=20_000)
    up.advance(5)
    up.ok(rid="b" if hanging == "a" else "a")
    assert up.state("job/a") is State.UP
    up.advance(14.9)
    assert up.state("job/a") is State.UP
    up.advance(0.1)
    assert up.state("job/a") is State.FAILED and f"(run {hanging})" in up.why()


def test_the_longest_duration_is_the_deadline_of_a_start_without_one(up):
    up.starts(max_duration_ms=5000)
    up.advance(5)
    assert up.state("job/a") is State.FAILED and "has not ended" in up.why()
    up.advance(1)
    up.ok()
    assert up.results() == ["TOO_LONG"] and up.state("job/a") is State.FAILED


def test_without_a_deadline_a_run_may_take_as_long_as_it_likes(up):
    up.starts()
    up.advance(80_000)
    assert up.results() == ["RUNNING"] and up.state("job/a") is State.UP


def test_a_good_end_after_the_deadline_of_its_start_is_a_success(up):
    up.starts(timeout_ms=1000)
    up.advance(10)
    assert up.state("job/a") is State.FAILED
    up.ok()
    assert told(up) == (State.FAILED, State.UP, Level.IMPORTANT)
    (run,) = up.runs.values()
    assert (run.result, run.duration_ms, run.end_ms - run.begin_ms) == (RunResult.OK, 10_000, 10_000)


def test_progress_moves_the_deadline_of_its_run_only(world):
    world.join("job/a", timeout_ms=600_000)
    world.starts(rid="a", timeout_ms=10_000)
    world.starts(rid="b", timeout_ms=100_000)
    for _ in range(5):
        world.advance(8)
        world.progress(rid="a", timeout_ms=10_000)
    world.progress(rid="a", text="4 of 9")
    assert world.of("job/a").lease_ms == 600_000
    world.advance(9.9)
    assert world.state("job/a") is State.UP
    world.advance(0.1)
    assert told(world) == (State.UP, State.FAILED, Level.EMERGENCY)
    assert world.why() == (
        "the run that began at 2023-11-14 22:13:20Z has not ended, and has shown no progress for 10 s (run a)"
    )
    assert world.runs[1].text == "4 of 9"


def test_progress_does_not_move_the_deadline_beyond_the_longest_duration(up):
    up.starts(rid="a", timeout_ms=3000, max_duration_ms=10_000)
    for _ in range(4):
        up.advance(2)
        up.progress(rid="a", timeout_ms=3000)
        assert up.state("job/a") is State.UP
    up.advance(1)
    up.progress(rid="a", timeout_ms=3000)
    up.advance(0.9)
    assert up.state("job/a") is State.UP
    up.advance(0.1)
    assert up.state("job/a") is State.FAILED and "its deadline was" in up.why()
    up.progress(rid="a", timeout_ms=3000)
    assert up.results() == ["OVERDUE"]


def test_a_run_that_shows_progress_after_all_is_watched_again(up):
    up.starts(rid="a", timeout_ms=3000)
    up.advance(5)
    up.progress(rid="a", timeout_ms=3000)
    assert up.results() == ["RUNNING"] and up.state("job/a") is State.FAILED
    up.ok(rid="b")
    assert up.state("job/a") is State.UP
    up.advance(3)
    assert up.state("job/a") is State.FAILED and "(run a)" in up.why()


def test_progress_of_a_run_whose_start_was_not_reported_begins_it(up):
    up.progress(rid="a", timeout_ms=3000)
    assert up.runs[1].begin_ms is None
    up.advance(3)
    assert up.why() == "the run has not ended, and has shown no progress for 3 s (run a)"


def test_progress_that_arrives_after_the_end_begins_nothing(up):
    up.starts(rid="a")
    up.ok(rid="a")
    assert up.progress(rid="a", timeout_ms=1000) is None
    up.advance(2)
    assert up.results() == ["OK"] and up.state("job/a") is State.UP


def test_a_start_that_is_repeated_does_not_move_the_deadline_of_a_job_that_hangs(up):
    for _ in range(4):
        up.starts(timeout_ms=7000)
        up.advance(2)
    assert up.state("job/a") is State.FAILED
    assert up.why().startswith("the run that began at 2023-11-14 22:13:20Z has not ended")


def test_the_start_of_the_next_run_leaves_the_hanging_one_in_the_list(up):
    up.starts(timeout_ms=2000)
    up.advance(10)
    up.starts(timeout_ms=60_000)
    up.advance(4)
    up.ok()
    assert up.results() == ["OVERDUE", "OK"] and up.state("job/a") is State.UP
    assert up.runs[2].duration_ms == 4000


def test_a_start_that_is_repeated_without_a_deadline_is_one_run(up):
    up.starts()
    up.advance(100)
    up.starts()
    up.advance(3)
    up.ok()
    assert [(run.result.value, run.duration_ms) for run in up.runs.values()] == [("OK", 3000)]


def test_an_end_without_a_start_is_a_run_too(up):
    up.fail(rid="z", status=9, text="x" * 5000 + "end")
    (run,) = up.runs.values()
    assert (run.rid, run.begin_ms, run.end_ms, run.status) == ("z", None, up.wall_ms(), 9)
    assert len(run.text) == 2000 and run.text.endswith("end")
    assert len(up.why()) < 300


def test_a_removed_instance_takes_its_runs_along(up):
    up.starts(timeout_ms=1000)
    up.registry.remove(up.of("job/a").id)
    up.advance(2)
    assert up.state("job/a") is None and up.registry.stats()["runs_open"] == 0
    up.check()


def test_it_is_a_job_once_it_has_reported_a_run(world):
    world.beat("job/a")
    assert not world.rows[world.of("job/a").id].is_job
    world.starts()
    assert world.rows[world.of("job/a").id].is_job


# -- a monitor that cannot hear


def test_silence_of_runs_proves_nothing_after_a_stall_but_a_deadline_is_a_deadline(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(settle_ms=30_000)))
    world.starts("job/a", rid="a", timeout_ms=10_000)
    world.progress("job/a", rid="a", timeout_ms=10_000)
    world.starts("job/b", timeout_ms=10_000)
    world.advance(9)
    world.registry.stalled(15_000)
    world.advance(2)
    assert (world.state("job/a"), world.state("job/b")) == (State.UP, State.FAILED)
    world.advance(27)
    assert world.state("job/a") is State.UP
    world.advance(2)
    assert world.state("job/a") is State.FAILED


# -- restarts


def restarted(world, down_s):
    again = World(wall_ms=world.wall_ms() + round(down_s * 1000))
    runs = [run for run in world.runs.values() if run.end_ms is None]
    again.registry.restore(saved(list(world.rows.values()), 100, 100, runs=runs, next_run=len(world.runs) + 1))
    assert again.changes == []
    return again


def test_a_deadline_goes_on_after_a_restart(up):
    up.starts(timeout_ms=100_000)
    up.advance(20)
    again = restarted(up, 10)
    again.advance(69.9)
    assert again.state("job/a") is State.UP
    again.advance(0.1)
    assert told(again)[1:] == (State.FAILED, Level.EMERGENCY)
    assert "the run that began at 2023-11-14 22:13:20Z has not ended" in again.why()
    again.ok()
    assert again.runs[1].duration_ms == 100_000
    again.close()


@pytest.mark.parametrize(("timeout_ms", "grace_s"), [(2000, 2), (600_000, 60)])
def test_a_deadline_that_passed_while_the_monitor_was_down_is_told_soon_after(up, timeout_ms, grace_s):
    up.starts(timeout_ms=timeout_ms)
    again = restarted(up, 3600)
    again.advance(grace_s - 0.1)
    assert again.state("job/a") is State.UP
    again.advance(0.1)
    assert again.state("job/a") is State.FAILED
    again.close()


def test_a_run_that_was_alive_may_show_it_again_after_a_restart(up):
    up.starts(rid="a", timeout_ms=300_000)
    up.progress(rid="a", timeout_ms=300_000)
    again = restarted(up, 3600)
    again.advance(299)
    again.progress(rid="a", timeout_ms=300_000)
    again.advance(200)
    assert again.state("job/a") is State.UP
    again.ok(rid="a")
    assert (again.runs[1].result, again.runs[1].number) == (RunResult.OK, 1)
    again.close()


def test_numbers_go_on_after_a_restart_and_a_late_end_is_recognised(up):
    up.starts(rid="a", timeout_ms=1000)
    up.advance(1)
    up.ok(rid="b")
    again = restarted(up, 5)
    again.ok(rid="c")
    again.ok(rid="a")
    assert sorted(again.runs) == [1, 3]
    assert again.runs[1].duration_ms == 6000
    again.beat("job/a", via="ping")
    assert again.state("job/a") is State.UP
    again.close()


def test_the_run_without_an_id_is_ended_by_a_ping_after_a_restart_too(up):
    up.starts()
    again = restarted(up, 5)
    again.beat("job/a", via="ping")
    again.beat("job/a", via="ping")
    assert [run.result.value for run in again.runs.values()] == ["OK"]
    assert again.registry.stats()["runs_open"] == 0
    again.close()


# -- bounds


def test_the_open_runs_of_a_key_are_bounded(up):
    for n in range(runs.MOST_OF_KEY + 5):
        up.starts(rid=str(n), timeout_ms=60_000)
    stats = up.registry.stats()
    assert (stats["runs_open"], stats["runs_dropped"]) == (runs.MOST_OF_KEY, 5)
    up.advance(60)
    assert up.registry.stats()["runs_overdue"] == runs.MOST_OF_KEY
    assert up.told("job/a") == [State.NEW, State.UP, State.FAILED]


def test_overdue_runs_make_room_first(up):
    up.starts(rid="old")
    up.starts(rid="hanging", timeout_ms=1000)
    up.advance(1)
    for n in range(runs.MOST_OF_KEY - 1):
        up.starts(rid=str(n))
    up.advance(5)
    up.ok(rid="old")
    assert up.runs[1].duration_ms == 6000
    up.ok(rid="hanging")
    assert up.runs[2].result is RunResult.OVERDUE and up.runs[max(up.runs)].begin_ms is None


def test_the_open_runs_of_all_are_bounded(world, monkeypatch):
    monkeypatch.setattr(runs, "MOST_OF_ALL", 50)
    for n in range(60):
        world.starts(f"job/{n}")
    stats = world.registry.stats()
    assert (stats["runs_open"], stats["runs_dropped"]) == (50, 10)
    assert world.of("job/0").in_run is False and world.of("job/59").in_run is True


def test_the_ends_that_are_remembered_are_bounded(world, monkeypatch):
    monkeypatch.setattr(runs, "MOST_ENDED", 20)
    for n in range(100):
        world.ok(rid=str(n))
    assert len(world.registry._life.runs._ended) == 20
    for n in range(100):
        world.starts(rid=str(n))
        world.ok(rid=str(n))
    assert len(world.registry._life.runs._ended) == 20


def test_ids_of_hubs_and_runs_do_not_meet(world):
    """A run's number may equal an instance's id."""
    world.beat("web/1", timeout_ms=5000)
    world.starts("job/a", timeout_ms=60_000)
    assert world.of("web/1").id == next(iter(world.runs))
    world.advance(6)
    assert (world.state("web/1"), world.state("job/a")) == (State.LOST, State.NEW)
    assert world.wall_ms() > EPOCH_MS
