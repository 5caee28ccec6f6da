# SPDX-License-Identifier: MIT
"""Pauses: nobody is told, and what is true at their end is."""

from __future__ import annotations

from heartfelt.monitor.model import Level, State
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
