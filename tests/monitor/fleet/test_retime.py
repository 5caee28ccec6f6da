# SPDX-License-Identifier: MIT
"""Another policy for a fleet that is known: timeouts count from the last beats."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import Limits, State
from tests.monitor.fleet.world import NO_HOLD


def use(world, **options):
    world.registry.use(Policy(hold=NO_HOLD, **options), Limits())
    world.registry.retime(world.registry.ids())


@pytest.mark.parametrize("timeout_s", [25, 40, 90, 300])
def test_the_new_timeout_counts_from_the_last_beat(world, timeout_s):
    world.beat()
    world.advance(20)
    use(world, lease_timeout_ms=timeout_s * 1000)
    world.advance(timeout_s - 20 - 1)
    assert world.state() is not State.LOST
    world.advance(2)
    assert world.state() is State.LOST


def test_a_timeout_that_has_passed_already_ends_at_once(world):
    world.beat()
    world.advance(50)
    use(world, lease_timeout_ms=10_000)
    world.advance(0.1)
    assert world.state() is State.LOST


def test_each_beat_after_it_starts_the_new_timeout(world):
    world.beat()
    world.beat()
    world.advance(4)
    use(world, lease_timeout_ms=30_000)
    for _ in range(5):
        world.advance(9)
        world.beat()
    world.advance(29)
    assert world.state() is State.UP
    world.advance(2)
    assert world.state() is State.LOST


def test_a_lost_one_stays_lost_and_its_next_life_has_the_new_timeout(world):
    world.beat()
    world.advance(61)
    assert world.state() is State.LOST
    use(world, lease_timeout_ms=20_000)
    world.advance(30)
    assert [one.new for one in world.changes if one.new is State.LOST] == [State.LOST]
    world.beat()
    world.beat()
    world.advance(19)
    assert world.state() is State.UP
    world.advance(2)
    assert world.state() is State.LOST


def test_a_paused_one_is_lost_by_the_new_timeout_when_it_is_resumed(world):
    world.beat()
    world.registry.pause(world.of("web/1").id)
    use(world, lease_timeout_ms=20_000)
    world.advance(30)
    assert world.state() is State.PAUSED
    world.registry.resume(world.of("web/1").id)
    world.poll()
    assert world.state() is State.LOST


def test_what_a_beat_asked_for_stays_and_services_have_their_own(world):
    world.beat("a/1", timeout_ms=50_000)
    world.beat("b/1")
    world.beat("c/1")
    use(world, lease_timeout_ms=30_000, services={"b": ServicePolicy(lease_timeout_ms=10_000, expected=True)})
    assert [world.of(one).lease_ms for one in ("a/1", "b/1", "c/1")] == [50_000, 10_000, 30_000]
    assert [world.of(one).expected for one in ("a/1", "b/1", "c/1")] == [False, True, False]
    assert world.rows[world.of("b/1").id].expected is True
    world.advance(11)
    assert [world.state(one) for one in ("a/1", "b/1", "c/1")] == [State.NEW, State.LOST, State.NEW]


def test_nothing_changes_if_the_policy_is_the_same(world):
    world.beat()
    world.beat()
    world.rows.clear()
    use(world)
    assert not world.rows
    assert world.of("web/1").plain
