# SPDX-License-Identifier: MIT
"""Acknowledgements: nobody is told again of what somebody knows, until it recovers or the time is over."""

from __future__ import annotations

import pytest

from heartfelt.monitor.model import Ack, Level, State
from tests.monitor.fleet.world import told

NAME = "web/1"


@pytest.fixture
def lost(world):
    """A world in which web/1 is LOST and expected."""
    world.join(NAME, by_key=True, timeout_ms=60_000)
    world.advance(60)
    assert told(world) == (State.UP, State.LOST, Level.EMERGENCY)
    world.shown = []
    world.registry.on_ack.append(lambda instance: world.shown.append((instance.id, instance.ack)))
    return world


def ack(world, *, until_s=None, **fields):
    until_ms = None if until_s is None else world.wall_ms() + until_s * 1000
    given = {"by": "Ann", "why": "its disk is full", **fields}
    return world.registry.ack(world.of(NAME).id, until_ms=until_ms, **given)


@pytest.fixture
def failed(lost):
    """The world when a run of web/1 has failed besides."""
    lost.fail(NAME, status=3)
    assert told(lost) == (State.LOST, State.FAILED, Level.EMERGENCY)
    return lost


def test_it_is_shown_stored_and_recorded(lost):
    assert ack(lost, until_s=3600)
    now_ms = lost.wall_ms()
    known = Ack(by="Ann", why="its disk is full", at_ms=now_ms, until_ms=now_ms + 3_600_000)
    instance = lost.of(NAME)
    assert (instance.ack, instance.state) == (known, State.LOST)
    assert lost.stored[instance.id].ack == known
    assert lost.shown == [(instance.id, known)]
    (event,) = lost.events
    assert (event.service, event.instance_id, event.level, event.type) == ("web", "1", Level.NORMAL, "OPERATION")
    assert (event.info["name"], event.info["reason_code"]) == ("INSTANCE_ACKED", "acked")
    assert event.info["description"].startswith("acknowledged by Ann until 2023-11-14 23:")
    assert event.info["description"].endswith(": its disk is full")
    assert lost.told(since=len(lost.changes) - 1) == [State.LOST]  # and nothing more is told


@pytest.mark.parametrize("state", [State.NEW, State.UP, State.LATE, State.STUCK, State.LEFT, State.PAUSED])
def test_only_what_is_down_can_be_acknowledged(world, state):
    world.beat(NAME, interval_ms=3000)
    if state is not State.NEW:
        world.beat(NAME, lag_ms=20_000 if state is State.STUCK else 0)
    if state is State.LATE:
        world.advance(10)
    if state is State.LEFT:
        world.goodbye(NAME)
    if state is State.PAUSED:
        world.registry.pause(world.of(NAME).id)
    assert world.state(NAME) is state
    assert not ack(world)
    assert (world.of(NAME).ack, world.events) == (None, [])
    assert not world.registry.ack(999, by="Ann")


def test_a_recovery_ends_it_and_is_told(lost):
    ack(lost)
    lost.beat(NAME)
    assert told(lost) == (State.LOST, State.UP, Level.IMPORTANT)
    assert lost.of(NAME).ack is None is lost.stored[lost.of(NAME).id].ack
    assert lost.shown[-1] == (lost.of(NAME).id, None)
    lost.advance(60)
    assert told(lost) == (State.UP, State.LOST, Level.EMERGENCY)


def test_so_does_a_success_after_a_failure(failed):
    ack(failed)
    failed.progress(NAME, rid="1")
    assert failed.of(NAME).ack is not None
    failed.ok(NAME)
    assert told(failed) == (State.FAILED, State.UP, Level.IMPORTANT)
    assert failed.of(NAME).ack is None


def test_so_does_a_goodbye(lost):
    ack(lost, until_s=10)
    lost.goodbye(NAME)
    lost.advance(60)
    assert (lost.of(NAME).ack, lost.told()[-1]) == (None, State.LEFT)


def test_what_is_still_down_at_its_end_is_told_again(lost):
    ack(lost, until_s=3600)
    lost.advance(3599)
    assert lost.told()[-2:] == [State.UP, State.LOST]
    lost.advance(1)
    assert told(lost) == (State.LOST, State.LOST, Level.EMERGENCY)
    assert lost.why().startswith("the acknowledgement by Ann has ended (its disk is full); no heartbeat for 1 h 1 min")
    assert lost.of(NAME).ack is None is lost.stored[lost.of(NAME).id].ack
    lost.advance(10_000)
    assert lost.told()[-3:] == [State.UP, State.LOST, State.LOST]
    assert lost.of(NAME).since_ms < lost.last().time_ms  # it has been lost all the time


def test_one_takes_the_place_of_another(lost):
    ack(lost, until_s=10)
    ack(lost, by="Bob")
    lost.advance(100)
    assert lost.of(NAME).ack.by == "Bob"
    ack(lost, until_s=10)
    lost.advance(10)
    assert told(lost) == (State.LOST, State.LOST, Level.EMERGENCY)


def test_one_that_is_withdrawn_ends_without_a_word(lost):
    ack(lost, until_s=10)
    assert lost.registry.withdraw_ack(lost.of(NAME).id, by="Bob", why="it is not the disk")
    assert not lost.registry.withdraw_ack(lost.of(NAME).id)
    assert not lost.registry.withdraw_ack(999)
    assert lost.shown[-1] == (lost.of(NAME).id, None)
    assert lost.stored[lost.of(NAME).id].ack is None
    assert lost.events[-1].info["description"] == "acknowledgement withdrawn by Bob: it is not the disk"
    n = len(lost.changes)
    lost.advance(100)
    assert len(lost.changes) == n


def test_it_outlives_a_restart_and_ends_in_its_time(lost, restart):
    ack(lost, until_s=100)
    new = restart(lost, down_s=30)
    assert new.of(NAME).ack == lost.of(NAME).ack
    new.advance(69)
    assert new.changes == []
    new.advance(1)
    assert told(new) == (State.LOST, State.LOST, Level.EMERGENCY)


def test_one_that_ended_while_the_monitor_was_down_ends_at_its_start(lost, restart):
    ack(lost, until_s=100)
    new = restart(lost, down_s=3600)
    new.advance(0.1)
    assert told(new) == (State.LOST, State.LOST, Level.EMERGENCY)


def test_after_a_restart_the_reason_has_the_whole_silence(lost, restart):
    ack(lost, until_s=100)
    new = restart(lost, down_s=3600)
    new.advance(0.1)
    assert new.why() == (
        "the acknowledgement by Ann has ended (its disk is full); no heartbeat for 1 h 1 min (timeout 1 min); "
        "last heartbeat from 10.0.0.7 at 2023-11-14 22:13:20Z"
    )


def test_a_failure_that_becomes_a_loss_is_not_told_while_it_is_acknowledged(failed):
    assert ack(failed, until_s=1000)
    failed.advance(60)
    assert told(failed) == (State.FAILED, State.LOST, Level.NORMAL)
    assert failed.of(NAME).ack is not None
    failed.fail(NAME)
    assert told(failed) == (State.LOST, State.FAILED, Level.NORMAL)
    failed.advance(60)
    failed.advance(880)
    assert told(failed) == (State.LOST, State.LOST, Level.EMERGENCY)


def test_a_failure_is_told_again_with_its_reason(failed):
    ack(failed, until_s=10)
    failed.advance(10)
    assert told(failed) == (State.FAILED, State.FAILED, Level.EMERGENCY)
    assert failed.why() == "the acknowledgement by Ann has ended (its disk is full); its run failed with exit status 3"


@pytest.mark.parametrize("restarts", [False, True])
def test_in_a_pause_it_stays_and_its_end_waits_for_the_pauses(lost, restart, restarts):
    ack(lost, until_s=100)
    lost.registry.pause(lost.of(NAME).id)
    lost.advance(50)
    if restarts:
        lost = restart(lost)
    lost.registry.resume(lost.of(NAME).id)
    assert told(lost) == (State.PAUSED, State.LOST, Level.NORMAL)
    lost.registry.pause(lost.of(NAME).id)
    lost.advance(200)
    if restarts:
        lost = restart(lost)
        lost.advance(1)
    assert lost.state(NAME) is State.PAUSED
    lost.registry.resume(lost.of(NAME).id, by="Ann")
    assert told(lost) == (State.PAUSED, State.LOST, Level.EMERGENCY)
    assert lost.why().startswith(
        "resumed by Ann; the acknowledgement by Ann has ended (its disk is full); no heartbeat"
    )
    assert lost.of(NAME).ack is None


def test_after_a_pause_it_ends_in_its_time(lost):
    ack(lost, until_s=100)
    lost.registry.pause(lost.of(NAME).id)
    lost.advance(50)
    lost.registry.resume(lost.of(NAME).id)
    lost.advance(49)
    assert lost.last().old is State.PAUSED
    lost.advance(1)
    assert told(lost) == (State.LOST, State.LOST, Level.EMERGENCY)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_failure_that_is_acknowledged_and_paused(failed, restart, restarts):
    ack(failed, until_s=10)
    failed.registry.pause(failed.of(NAME).id)
    failed.advance(20)
    if restarts:
        failed = restart(failed)
    failed.registry.resume(failed.of(NAME).id)
    assert told(failed) == (State.PAUSED, State.FAILED, Level.EMERGENCY)
    assert failed.why().endswith("; its run failed with exit status 3")


def test_a_failure_that_was_silent_in_a_pause_is_lost_and_untold_while_acknowledged(failed):
    ack(failed)
    failed.registry.pause(failed.of(NAME).id)
    failed.advance(100)
    failed.registry.resume(failed.of(NAME).id)
    assert told(failed) == (State.PAUSED, State.LOST, Level.NORMAL)


@pytest.mark.parametrize("end", ["beat", "goodbye"])
def test_a_recovery_in_a_pause_ends_it(lost, restart, end):
    ack(lost, until_s=1000)
    lost.registry.pause(lost.of(NAME).id)
    getattr(lost, end)(NAME)
    assert lost.of(NAME).ack is None
    assert lost.shown[-1] == (lost.of(NAME).id, None)
    new = restart(lost)
    assert new.of(NAME).ack is None
    new.advance(100)
    new.registry.resume(new.of(NAME).id)
    assert told(new)[1:] == ((State.LOST, Level.EMERGENCY) if end == "beat" else (State.LEFT, Level.NORMAL))


def test_an_ephemeral_one_is_forgotten_in_its_time_and_its_acknowledgement_with_it(world):
    world.keep_alive()
    world.join(NAME)
    world.advance(60)
    ack(world, until_s=3600)
    world.advance(540)
    assert world.state(NAME) is None
    n = len(world.changes)
    world.advance(4000)
    assert len(world.changes) == n
    world.join(NAME)
    world.registry.remove(world.of(NAME).id)


def test_the_last_of_its_service_that_is_kept_may_be_acknowledged(world):
    world.join(NAME)
    world.advance(60)
    world.advance(540)
    ack(world, until_s=10)
    assert world.of(NAME).reason.code == "kept_last"
    world.advance(10)
    assert told(world) == (State.LOST, State.LOST, Level.EMERGENCY)
    world.beat("web/2")
    assert world.state(NAME) is None
