# SPDX-License-Identifier: MIT
"""A LOST instance is kept as the last of its service if the whole fleet has no other."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.kept import LOOK_MS
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.model import State
from tests.monitor.cluster.counting import Counting, lost
from tests.monitor.fleet.world import NO_HOLD

POLICY = Policy(lease_timeout_ms=6000, lease_cache_ms=20_000, hold=NO_HOLD)
LOOK_S = LOOK_MS / 1000


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(3, policy=POLICY)


@pytest.fixture
def counting(fleet):
    return Counting(fleet)


def states(fleet):
    return {one.instance_id: one.state for node in fleet.nodes for one in node.registry.instances()}


def kept(fleet):
    """The events that tell that an instance is kept."""
    return [one.instance_id for node in fleet.nodes for one in node.events if one.info["name"] == "INSTANCE_KEPT"]


def test_the_last_one_of_a_monitor_is_forgotten_while_others_beat_elsewhere(fleet, counting):
    who = [(node, [f"i-{node.id}"]) for node in fleet.nodes]
    counting.run(8, who)
    counting.run(40, who[1:])
    assert lost(fleet) == ["i-a"] and kept(fleet) == []
    assert states(fleet) == {"i-b": State.UP, "i-c": State.UP}


def test_of_a_service_that_is_lost_everywhere_one_is_kept(fleet, counting):
    who = [(node, [f"i-{node.id}"]) for node in fleet.nodes]
    counting.run(8, who)
    counting.advance(60)
    assert states(fleet) == {"i-a": State.LOST} and kept(fleet) == ["i-a"]
    counting.advance(5 * LOOK_S)
    assert kept(fleet) == ["i-a"]  # once
    counting.beat(fleet.nodes[1], "new", interval_ms=60_000)
    counting.advance(LOOK_S + 1)
    assert states(fleet) == {"new": State.NEW}
    assert [new for _, name, _, new, _ in fleet.truth.history if name == ("shop", "i-a")][-1] is State.REMOVED


def test_the_one_that_is_lost_last_is_kept_wherever_it_is(fleet, counting):
    who = [(node, [f"i-{node.id}"]) for node in fleet.nodes]
    counting.run(8, who)
    counting.run(16, who[1:])
    counting.run(4, who[2:])
    counting.advance(60)
    assert list(states(fleet).values()) == [State.LOST] and len(kept(fleet)) == 1


def test_paused_ones_and_those_that_have_left_do_not_count(fleet, counting):
    who = [(node, [f"i-{node.id}"]) for node in fleet.nodes]
    counting.run(8, who)
    _, b, c = fleet.nodes
    b.registry.pause(b.registry.find("shop", "i-b").id)
    counting.beat(c, "i-c", goodbye=True)
    counting.advance(40)
    assert states(fleet)["i-a"] is State.LOST and kept(fleet) == ["i-a"]


def test_nothing_is_forgotten_or_told_while_a_monitor_cannot_be_asked(fleet, counting):
    a, b, _ = fleet.nodes
    who = [(node, [f"i-{node.id}"]) for node in (a, b)]
    counting.run(8, who)
    counting.cut = [{a.id, b.id}]
    counting.run(60, who[1:])
    assert states(fleet) == {"i-a": State.LOST, "i-b": State.UP} and kept(fleet) == []
    counting.cut = []
    counting.run(2 * LOOK_S, who[1:])
    assert states(fleet) == {"i-b": State.UP}


def test_the_only_monitor_of_a_fleet_keeps_its_last_and_looks_when_another_has_come(fleet, counting):
    a, b, _ = fleet.nodes
    a.registry.owned.others.set_living(a.id, [a.id])
    counting.run(8, [(a, ["i-a"])])
    counting.advance(30)
    assert kept(fleet) == ["i-a"]
    a.registry.owned.others.set_living(a.id, [node.id for node in fleet.nodes])
    counting.run(2 * LOOK_S, [(b, ["i-b"])])
    assert states(fleet) == {"i-b": State.UP}
