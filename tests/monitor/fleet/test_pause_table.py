# SPDX-License-Identifier: MIT
"""Each state before a pause, with all that may happen in it, across restarts, and however the pause ends.

The expected state and level at its end are computed again by a few plain rules.
"""

from __future__ import annotations

import itertools

import pytest

from heartfelt.monitor.model import Level, State

NAME = "web/1"
TIMEOUT_S, DOWN_S = 60, 5
BEFORE = (State.NEW, State.UP, State.LATE, State.STUCK, State.LOST, State.FAILED, State.LEFT)
TOLD = {State.LOST, State.FAILED, State.LEFT}
DOWN = {State.LOST, State.FAILED}
IN_PAUSE = (
    (),
    ("beat",),
    ("beat", "silence"),
    ("goodbye",),
    ("beat", "goodbye"),
    ("goodbye", "beat"),
    ("fail",),
    ("beat", "fail"),
    ("fail", "beat"),
)
RESTARTS = ("none", "before", "after", "before and after")
"""Whether the monitor restarts, before or after what happens in the pause."""
ENDS = ("by hand", "in time", "while it is down")


@pytest.fixture
def in_state(make_world):
    """in_state(state): a world whose instance is in that state, of which people were told."""

    def make_one(state):
        world = make_world()
        world.beat(NAME, interval_ms=3000 if state is State.LATE else None, timeout_ms=TIMEOUT_S * 1000)
        if state is not State.NEW:
            world.beat(NAME, lag_ms=20_000 if state is State.STUCK else 0)
        if state is State.LEFT:
            world.goodbye(NAME)
        if state is State.FAILED:
            world.fail(NAME, status=3)
        world.advance({State.LATE: 10, State.LOST: TIMEOUT_S}.get(state, 0))
        assert world.state(NAME) is state
        return world

    return make_one


def happens(world, what):
    if what == "beat":
        world.beat(NAME, lag_ms=0)
    elif what == "goodbye":
        world.goodbye(NAME)
    elif what == "fail":
        world.fail(NAME)
    else:
        world.advance(TIMEOUT_S + 1)


def at_the_end(before, in_pause, restarts):
    """The state and the level when the pause ends."""
    unheard = "after" in restarts or (restarts == "before" and not in_pause)
    last = in_pause[-1] if in_pause else None
    if last == "goodbye":
        return State.LEFT, Level.NORMAL
    if last == "fail":  # which is no news of what was down all the time
        return State.FAILED, Level.NORMAL if before in DOWN and in_pause == ("fail",) else Level.EMERGENCY
    if last is None and before in TOLD:
        return before, Level.NORMAL
    if last == "silence" and not unheard:
        return State.LOST, Level.EMERGENCY
    came_back = before in (DOWN if "fail" in in_pause else TOLD) or "goodbye" in in_pause
    level = Level.IMPORTANT if came_back else Level.NORMAL
    if unheard:
        return State.LATE, level  # a full timeout from the restart on
    if last is None and before in (State.LATE, State.STUCK):
        return before, Level.IMPORTANT if before is State.STUCK else Level.NORMAL
    return State.UP, level


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(
    ("in_pause", "restarts", "ends"),
    [one for one in itertools.product(IN_PAUSE, RESTARTS, ENDS) if one[2] != ENDS[2] or "after" in one[1]],
)
def test_what_is_true_at_its_end_is_told_and_nothing_twice(in_state, restart, before, in_pause, restarts, ends):
    world = in_state(before)
    takes_s = ("silence" in in_pause) * (TIMEOUT_S + 1) + (("before" in restarts) + ("after" in restarts)) * DOWN_S + 2
    world.registry.pause(world.of(NAME).id, None if ends == "by hand" else world.wall_ms() + takes_s * 1000)
    if "before" in restarts:
        world = restart(world, down_s=DOWN_S)
    for what in in_pause:
        happens(world, what)
    world.advance(1)
    if "after" in restarts:
        world = restart(world, down_s=600 if ends == "while it is down" else DOWN_S)
    assert world.state(NAME) is State.PAUSED
    n = len(world.changes)
    if ends == "by hand":
        world.registry.resume(world.of(NAME).id)
    else:
        world.advance(0.1 if ends == "while it is down" else 1)
    (change,) = world.changes[n:]
    assert (change.old, change.new, change.level) == (State.PAUSED, *at_the_end(before, in_pause, restarts))
