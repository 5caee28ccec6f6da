# SPDX-License-Identifier: MIT
"""100,000 instances: a call to poll whose time is up does no more than a round, whatever happens to all at once."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.expiry import CONTROL, NOTED, SLICE
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import HoldState, Limits, State
from tests.monitor.fleet.world import NO_HOLD

pytestmark = pytest.mark.time_limit(180, reason="100,000 instances: some 8 s of pure work, on a busy machine far more")

N = 100_000
BOUND = CONTROL + NOTED + 4 * SLICE


def fill(world, **fields):
    for n in range(N):
        world.beat(f"s{n % 50}/{n}", peer=f"10.0.{n % 100}.1", **fields)
    for instance in world.registry.instances():
        world.registry.renew(instance)
    world.changes.clear()


def test_all_are_lost_in_slices(make_world):
    world = make_world(policy=Policy(hold=NO_HOLD), limits=Limits(instances=N))
    fill(world)
    world.clock.advance(60)
    n_polls = 0
    while done := world.registry.poll():
        assert done <= BOUND
        n_polls += 1
    assert n_polls >= N // SLICE
    assert world.registry.totals().states == {State.LOST: N}
    assert len(world.changes) == N
    assert len(world.registry.dirty_beats()) == N
    assert world.registry.dirty_beats() == {}


def test_all_are_late_and_held_and_come_back(make_world):
    world = make_world(policy=Policy(hold=HoldPolicy()), limits=Limits(instances=N))
    fill(world, interval_ms=20_000)
    world.clock.advance(30)
    assert world.poll() <= BOUND
    assert world.registry.totals().of(State.LATE) == N
    world.clock.advance(30)
    assert world.poll() <= BOUND
    assert (world.hold.state, world.hold.held) == (HoldState.HOLDING, N)
    for instance in list(world.registry.instances()):
        world.registry.renew(instance)
    world.poll()
    assert world.hold.held == 0
    assert world.registry.totals().states == {State.UP: N}
    assert world.lost() == []
