# SPDX-License-Identifier: MIT
"""Goodbyes that could not be forwarded are asked about again, and no beat is made of them."""

from __future__ import annotations

import pytest

from heartfelt.monitor.model import State
from tests.monitor.cluster.test_owned import NAME, TIMEOUT, joined, text


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


@pytest.mark.parametrize("set_ms", [-5, -1, 0, 1, 5])
def test_a_goodbye_that_is_taken_back_is_no_beat_that_overtakes_it(fleet, nodes, set_ms):
    """Its beat would be as old as the goodbye itself, by another clock, which may be corrected meanwhile."""
    a, b = nodes
    joined(fleet, a)
    b.beat(text(10))
    fleet.settle()
    fleet.truth.clock.advance(0.1)
    b.beat(text(11, goodbye=True))
    (forward,) = b.foreign.take_forwards()
    fleet.truth.clock.advance(0.5)
    now_ms = fleet.truth.now_ms
    fleet.truth.now_ms = lambda: now_ms() + set_ms
    b.foreign.again(forward.raws)
    b.owners.requests.clear()
    b.owners.take(NAME)
    fleet.settle()
    assert b.registry.find(*NAME).state is State.LEFT and b.foreign.stops_outdated == 0
    assert len(a.registry) == 0


def test_a_goodbye_of_a_shadow_that_was_not_heard_makes_no_beat(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    n = instance.beats
    b.intake.goodbye("shop", "shop-1", "sermant", "10.0.0.7")
    b.owners.pump()
    (forward,) = b.foreign.take_forwards()
    b.foreign.again(forward.raws)
    assert NAME not in b.foreign.shadows.by_name
    fleet.settle()
    assert instance.state is State.LEFT and instance.beats == n
