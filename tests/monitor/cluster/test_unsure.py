# SPDX-License-Identifier: MIT
"""Owners that are not sure any more, and instances that come back before their former owner has heard that they were
away."""

from __future__ import annotations

import msgspec
import pytest

from heartfelt.monitor.fleet.owners import Forward, TakenOver
from heartfelt.monitor.ingest.raws import plain_raw
from heartfelt.monitor.model import State
from tests.monitor.cluster.test_owned import NAME, TIMEOUT, joined, text
from tests.monitor.cluster.truth import LEASE_S


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


def test_a_beat_that_was_passed_on_while_nobody_is_sure_counts_with_the_next_owner(make_fleet):
    fleet = make_fleet(3, policy=TIMEOUT)
    a, b, c = fleet.nodes
    joined(fleet, a)
    b.beat(text(10))
    fleet.settle()
    assert NAME in b.foreign.shadows.by_name
    fleet.truth.reachable = False
    fleet.advance(LEASE_S - 1.0)
    a.beat(text(11))
    heard_ms = fleet.truth.wall_ms()
    a.runs = False
    raw = plain_raw(a.registry.find(*NAME))
    b.foreign.doubt(NAME, "a")
    b.foreign.forwarded(Forward(owner="b", ids=[], ages_ms=[], raws=[raw]), "a")
    fleet.advance(1.5)
    fleet.truth.reachable = True
    fleet.turn()
    c.owners.take(NAME)  # it adopts
    c.turn()
    b.foreign.ask_again()
    fleet.settle()
    assert c.registry.find(*NAME).last_beat_ms == heard_ms
    assert State.LOST not in fleet.truth.told()
    a.late = True
    a.renew()


def test_an_instance_that_comes_back_replaces_what_was_known_of_it(fleet, nodes):
    """It was elsewhere, and came back, before this monitor has heard that it was away."""
    a, _ = nodes
    former = joined(fleet, a)
    row = msgspec.structs.replace(former.row())
    fleet.advance(4.0)
    assert former.state is State.LATE
    a.foreign.moved([TakenOver(row, 5000.0)], stopped=False)
    instance = a.registry.find(*NAME)
    assert instance is not former and instance.id == former.id
    assert instance.state is State.UP
    fleet.settle()
    assert a.registry.find(*NAME) is instance
    a.check()
