# SPDX-License-Identifier: MIT
"""Pauses: nobody is told, and what is true at their end is."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import HoldState, Level, State
from tests.monitor.fleet.world import EPOCH_MS, told


def test_paused_is_silent(world):
    world.join("web/1", interval_ms=3000)
    assert world.registry.pause(world.of("web/1").id)
    assert told(world) == (State.UP, State.PAUSED, Level.NORMAL)
    world.advance(5000)
    assert world.told("web/1") == [State.NEW, State.UP, State.PAUSED]
    world.beat()
    assert world.state() is State.PAUSED


def test_resumed_while_it_beats(world):
    world.join("web/1", interval_ms=3000)
    id = world.of("web/1").id
    world.registry.pause(id)
    world.advance(3000)
    world.beat()
    assert world.registry.resume(id)
    assert told(world) == (State.PAUSED, State.UP, Level.NORMAL)
    assert not world.registry.resume(id)
    assert not world.registry.resume(999)
    assert not world.registry.pause(999)


def test_resumed_after_an_interval_was_missed(world):
    world.join("web/1", interval_ms=3000)
    world.registry.pause(world.of("web/1").id)
    world.advance(10)
    world.registry.resume(world.of("web/1").id)
    assert world.state() is State.LATE
    world.advance(50)
    assert world.state() is State.LOST


def test_resumed_when_the_lease_has_run_out(world):
    world.keep_alive()
    world.join("web/1")
    world.registry.pause(world.of("web/1").id)
    world.advance(300)
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.LOST, Level.EMERGENCY)
    assert world.why().startswith("resumed; no heartbeat for 5 min (timeout 1 min)")
    world.advance(540)
    assert world.state() is None


def test_a_loss_told_before_the_pause_is_not_an_emergency_again(world):
    world.join("web/1")
    world.advance(60)
    world.registry.pause(world.of("web/1").id)
    world.advance(10_000)  # and it is not removed meanwhile
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.LOST, Level.NORMAL)


def test_a_loss_that_goes_on_after_a_pause_and_a_restart_is_one_loss(world, restart):
    world.join("web/1", by_key=True, timeout_ms=60_000)
    world.advance(60)
    world.registry.pause(world.of("web/1").id)
    new = restart(world, down_s=3600)
    new.advance(60)
    new.registry.resume(new.of("web/1").id)
    assert told(new) == (State.PAUSED, State.LOST, Level.NORMAL)
    assert new.why() == (
        "resumed; no heartbeat for 1 h 2 min (timeout 1 min); last heartbeat from 10.0.0.7 at 2023-11-14 22:13:20Z"
    )
    assert (world.registry.stats()["losses"], new.registry.stats()["losses"]) == (1, 0)


def test_a_recovery_in_a_pause_is_told_at_its_end(world):
    world.join("web/1")
    world.advance(60)
    world.registry.pause(world.of("web/1").id)
    world.beat()
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.UP, Level.IMPORTANT)
    world.advance(60)
    assert world.lost() == ["web/1", "web/1"]


def test_a_loss_recovery_and_loss_in_a_pause_is_an_emergency_at_its_end(world):
    world.join("web/1")
    world.advance(60)
    world.registry.pause(world.of("web/1").id)
    world.beat()
    world.advance(100)
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.LOST, Level.EMERGENCY)


@pytest.mark.parametrize("failed", [False, True])
def test_an_outage_that_began_in_a_pause_is_no_longer_than_its_silence(world, failed):
    world.join("web/1", by_key=True, timeout_ms=60_000)
    world.advance(60)
    if failed:
        world.fail("web/1")
    world.registry.pause(world.of("web/1").id)
    world.advance(100)
    world.ok("web/1")
    world.advance(200)
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.LOST, Level.EMERGENCY)
    world.beat("web/1")
    assert told(world) == (State.LOST, State.UP, Level.IMPORTANT)
    assert world.last().outage_ms == 200_000


def test_goodbye_in_a_pause(world):
    world.join("web/1")
    world.registry.pause(world.of("web/1").id)
    world.goodbye("web/1")
    assert world.state() is State.PAUSED
    world.registry.resume(world.of("web/1").id)
    assert told(world) == (State.PAUSED, State.LEFT, Level.NORMAL)
    world.advance(600)
    assert world.state() is None


def test_a_pause_ends_by_itself(world):
    world.join("web/1")
    world.registry.pause(world.of("web/1").id, EPOCH_MS + 100_000)
    assert world.rows[world.of("web/1").id].paused_until_ms == EPOCH_MS + 100_000
    world.advance(99.9)
    assert world.state() is State.PAUSED
    world.beat()
    world.advance(0.1)
    assert told(world) == (State.PAUSED, State.UP, Level.NORMAL)
    assert world.why() == "pause ended; sends heartbeats"
    assert world.rows[world.of("web/1").id].paused_until_ms is None


def test_a_pause_may_be_made_longer_or_endless(world):
    world.join("web/1")
    id = world.of("web/1").id
    world.registry.pause(id, EPOCH_MS + 10_000)
    world.registry.pause(id, EPOCH_MS + 50_000)
    world.advance(49)
    assert world.state() is State.PAUSED
    world.registry.pause(id)
    world.advance(500)
    assert world.state() is State.PAUSED


def test_what_is_silent_at_the_end_of_a_pause_is_held_as_the_others_are(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy(longest_ms=120_000)))
    names = [f"web/{n}" for n in range(12)]
    world.join(*names, interval_ms=3000, timeout_ms=60_000)
    world.run(10, beating=names)
    world.fail("web/11")
    for name in ("web/0", "web/11"):
        world.registry.pause(world.of(name).id)
    world.run(70)
    assert world.hold.held == 10
    world.registry.resume(world.of("web/11").id)
    assert told(world) == (State.PAUSED, State.FAILED, Level.NORMAL)
    assert world.of("web/11").held
    world.registry.resume(world.of("web/0").id, by="Ann")
    assert told(world) == (State.PAUSED, State.LATE, Level.NORMAL)
    assert world.why().startswith("resumed by Ann; no heartbeat for ")
    assert "; the loss is held: " in world.why()
    assert (world.hold.held, world.registry.totals().of(State.LOST)) == (12, 12)
    world.beat("web/1")
    world.run(130)
    assert world.hold.state is HoldState.NONE
    assert "web/0" in world.lost()
    world.registry.pause(world.of("web/0").id)
    world.registry.resume(world.of("web/0").id)
    assert told(world) == (State.PAUSED, State.LOST, Level.NORMAL)
