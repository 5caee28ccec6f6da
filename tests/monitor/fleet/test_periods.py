# SPDX-License-Identifier: MIT
"""Periods that are learned from the beats, where only a default timeout applies."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.model import State
from tests.monitor.fleet.world import NO_HOLD, saved

DAY = 86_400


@pytest.fixture
def world(make_world):
    return make_world(policy=Policy(lease_timeout_ms=60_000, lease_cache_ms=10 * DAY * 1000, hold=NO_HOLD))


def ping(world, *gaps, name="cron/1"):
    """A beat by a name alone after each gap, as by curl."""
    for gap in gaps:
        world.advance(gap)
        world.beat(name, via="ping")


def terms(world, name="cron/1"):
    found = world.of(name).terms
    return found.timeout_ms, found.period_ms, found.grace_ms, found.source.value


def lost_after(world):
    """The seconds until it is lost, to half a second."""
    n, half_seconds = len(world.lost()), 0
    while len(world.lost()) == n:
        world.advance(0.5)
        half_seconds += 1
    return half_seconds / 2


def test_a_cron_a_minute_is_never_lost_and_says_why(world):
    ping(world, 0, *[60.02, 60.06, 59.97, 60.04, 60.06] * 20)
    assert world.lost() == []
    assert terms(world) == (90_000, 60_000, 30_000, "learned")
    assert lost_after(world) == 90
    assert "(timeout 1 min 30 s: a heartbeat about every 1 min and a grace of 30 s, learned)" in world.why()


def test_one_beat_by_name_has_the_grace_of_the_default(world):
    ping(world, 0)
    assert terms(world) == (90_000, None, 30_000, "default")
    assert lost_after(world) == 90
    assert "(timeout 1 min 30 s: 1 min and a grace of 30 s, because its period is not known yet)" in world.why()


def test_an_agent_keeps_the_default(world):
    world.beat(meta={"hostName": "h"})
    world.advance(59.99)
    assert world.state() is State.NEW
    world.advance(0.01)
    assert world.state() is State.LOST


def test_an_agent_without_an_interval_is_learned_too(world):
    for gap in (0, 50, 50, 65, 50):
        world.advance(gap)
        world.beat(meta={"hostName": "h"})
    assert world.lost() == []
    assert terms(world, "web/1")[3] == "learned"


def test_beats_that_fit_the_default_change_nothing(world):
    ping(world, 0, *[10] * 30)
    assert terms(world) == (60_000, None, None, "default")
    assert lost_after(world) == 60


def test_a_burst_by_hand_teaches_nothing(world):
    ping(world, 0, 0.3, 0.3, *[60.05] * 10, *[0.3] * 30, *[60.05] * 10, *[0.2] * 200, *[60.05] * 5)
    assert world.lost() == []
    assert terms(world) == (90_000, 60_000, 30_000, "learned")


def test_a_longer_rhythm_is_learned_by_two_losses_that_agree(world):
    ping(world, 0, *[300] * 20)
    assert world.lost() == ["cron/1"] * 2
    assert terms(world) == (450_000, 300_000, 150_000, "learned")
    assert lost_after(world) == 450


def test_a_day_and_a_week(world):
    ping(world, 0, *[DAY + late for late in (0, 5, -60, 90, 30)], name="daily/1")
    assert world.told("daily/1").count(State.LOST) == 2
    assert terms(world, "daily/1")[1] == DAY * 1000
    ping(world, 0, *[7 * DAY] * 4, name="weekly/1")
    assert world.told("weekly/1").count(State.LOST) == 2


def test_an_outage_is_no_period(world):
    ping(world, 0, *[10] * 20, 600, *[10] * 200, 620, *[10] * 20, 600)
    assert world.lost() == ["cron/1"] * 3
    assert terms(world) == (60_000, None, None, "default")


def test_a_missed_run_is_a_loss_and_teaches_nothing(world):
    ping(world, 0, *[60.05] * 9, 120.1, *[60.05] * 9, 120.1, *[60.05] * 3)
    assert world.lost() == ["cron/1"] * 2
    assert terms(world) == (90_000, 60_000, 30_000, "learned")


def test_a_faster_rhythm_shortens_the_timeout_again(world):
    ping(world, 0, *[3600] * 8)
    assert terms(world)[:2] == (5_400_000, 3_600_000)
    ping(world, *[10] * 200)  # less than the period is no evidence
    assert terms(world)[1] == 3_600_000
    ping(world, *[10] * 1000)
    assert terms(world) == (60_000, None, None, "default")
    assert lost_after(world) == 60


def test_a_job_that_beats_while_it_runs_once_an_hour(world):
    for _ in range(30):
        ping(world, 3300, *[1] * 300)
    assert world.lost() == ["cron/1"] * 2
    assert terms(world)[0] > 4_900_000


def test_a_little_slower_rhythm_is_followed(world):
    ping(world, 0, *[60] * 9, *[80] * 20, *[110] * 20)
    assert world.lost() == []
    assert terms(world) == (165_000, 110_000, 55_000, "learned")


def test_a_clock_that_is_set_teaches_nothing(world):
    ping(world, 0, *[60.05] * 9)
    for step_ms in (3_600_000, -3_600_000, 20_000, -20_000):
        world.wall_offset_ms += step_ms
        ping(world, *[60.05] * 4)
        assert terms(world)[0] in (90_000, 96_000)  # it is followed as far as it might be the beats that changed
    assert world.lost() == []


def test_goodbyes_and_pauses_teach_nothing(world):
    ping(world, 0, *[10] * 9)
    for _ in range(3):
        world.goodbye("cron/1")
        ping(world, 55)
        world.registry.pause(world.of("cron/1").id)
        ping(world, 57)
        world.registry.resume(world.of("cron/1").id)
        ping(world, 10)
    assert terms(world) == (60_000, None, None, "default")


def test_a_pause_does_not_cut_a_learned_timeout(world):
    ping(world, 0, *[60.05] * 9)
    world.advance(50)
    world.registry.pause(world.of("cron/1").id)
    world.advance(30)
    world.registry.resume(world.of("cron/1").id)
    assert world.state("cron/1") is State.UP
    world.advance(10)
    assert world.state("cron/1") is State.LOST


def test_a_resume_before_the_end_of_the_default_is_read(world):
    ping(world, 0, *[60.05] * 9)
    world.registry.pause(world.of("cron/1").id)
    world.clock.advance(60)  # nobody has read that it is over
    world.registry.resume(world.of("cron/1").id)
    assert world.state("cron/1") is State.UP
    world.poll()
    world.advance(29.9)
    assert world.state("cron/1") is State.UP
    world.advance(0.1)
    assert world.state("cron/1") is State.LOST


def test_a_goodbye_before_the_end_of_the_default_is_read(world):
    ping(world, 0, *[60.05] * 9)
    world.clock.advance(60)
    world.goodbye("cron/1")
    world.advance(1000)
    assert world.state("cron/1") is State.LEFT
    ping(world, 0)
    assert lost_after(world) == 90


def test_a_restart_keeps_the_period_and_teaches_nothing(make_world, world):
    ping(world, 0, *[60.05] * 9)
    row = world.rows[1]
    assert row.period_ms == 60_000
    again = make_world(policy=world.registry.policy, wall_ms=world.wall_ms() + 85_000)
    again.registry.restore(saved([row], next_id=2))
    assert terms(again) == (90_000, 60_000, 30_000, "learned")
    again.advance(89.9)
    assert again.lost() == []
    ping(again, 0, *[60.05] * 3)
    assert again.lost() == []
    assert terms(again) == (90_000, 60_000, 30_000, "learned")
    assert lost_after(again) == 90


def test_a_restart_of_one_with_a_single_beat(make_world, world):
    ping(world, 0)
    again = make_world(policy=world.registry.policy, wall_ms=world.wall_ms() + 1000)
    again.registry.restore(saved([world.rows[1]], next_id=2))
    assert lost_after(again) == 90


def test_a_beat_just_after_the_default_is_read_sets_the_timer_back(world):
    ping(world, 0, *[60.05] * 9)
    for _ in range(5):
        world.advance(60)
        instance = world.of("cron/1")
        assert not instance.plain
        world.registry.renew(instance)
        assert instance.plain
    assert lost_after(world) == 90


def test_a_job_has_its_own_default_until_its_runs_come_regularly(world):
    world.starts("cron/1")
    assert terms(world) == (25 * 3_600_000, None, None, "default")
    for n in range(12):  # runs of 10 min, once an hour, which beat all the time
        world.starts("cron/1", rid=str(n))
        for _ in range(20):
            world.advance(30)
            world.progress("cron/1", rid=str(n))
        world.ok("cron/1", rid=str(n))
        world.advance(3000)
    assert terms(world) == (5_400_000, 3_600_000, 1_800_000, "learned")
    assert world.rows[1].period_ms == 3_600_000
    assert world.lost() == []
    world.advance(2399)
    assert world.state("cron/1") is State.UP
    world.advance(1)
    assert world.state("cron/1") is State.LOST


def test_failed_runs_come_regularly_too(world):
    for n in range(12):
        (world.fail if n % 3 else world.ok)("cron/1")
        world.advance(60.05)
    assert terms(world) == (90_000, 60_000, 30_000, "learned")


def test_runs_by_hand_do_not_teach_the_period_of_a_job(world):
    for gap in (1, 2, 1, 30, 1, 1, 7, 2, 1, 1, 1, 1, 1):
        world.advance(gap)
        world.ok("cron/1")
    assert terms(world)[0] == 25 * 3_600_000


def test_one_that_beat_before_it_reports_a_run_goes_on_so(world):
    ping(world, 0, *[10] * 20)
    world.fail("cron/1")
    assert terms(world) == (60_000, None, None, "default")
    ping(world, 10)
    world.advance(60)
    assert world.state("cron/1") is State.LOST
    world.ok("cron/2")
    assert terms(world, "cron/2")[0] == 25 * 3_600_000


def test_one_that_failed_waits_as_long_as_others(world):
    ping(world, 0, *[60.05] * 9)
    world.fail("cron/1")
    world.advance(89.9)
    assert world.state("cron/1") is State.FAILED
    world.advance(0.1)
    assert world.state("cron/1") is State.LOST
    assert world.of("cron/1").period_ms == 60_000


def test_an_explicit_timeout_is_kept_to_the_letter(world):
    world.beat("cron/1", via="ping", timeout_ms=60_000)
    ping(world, *[60.05] * 5)
    assert world.lost() == ["cron/1"] * 5
    assert terms(world) == (60_000, None, None, "beat")
