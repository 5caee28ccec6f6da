# SPDX-License-Identifier: MIT
"""Holds go by the numbers of the fleet, wherever the instances of a service beat."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.listening import Intervals
from heartfelt.monitor.fleet.others import CensusAnswer, CensusPart, Others
from heartfelt.monitor.fleet.outages import Outages
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.fleet.shares import NO_TIMING
from heartfelt.monitor.model import HoldState
from heartfelt.monitor.reasons import english
from tests.monitor.cluster.counting import Counting, holds, lost

POLICY = Policy(lease_timeout_ms=6000)
BY_KEY = {"interval_ms": None}
"""Instances of which no interval is known: nothing shows that they are silent before their timeout ends."""


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(3, policy=POLICY)


@pytest.fixture
def counting(fleet):
    return Counting(fleet)


def parts(fleet, n, letter="i"):
    """`n` names for each node."""
    return [(node, [f"{letter}{k}-{node.id}" for k in range(n)]) for node in fleet.nodes]


def all_names(who):
    return sorted(name for _, names in who for name in names)


@pytest.mark.parametrize("more", [{}, BY_KEY], ids=["interval", "no interval"])
@pytest.mark.parametrize("n", [10, 2], ids=["10 of 30", "2 of 6"])
def test_a_service_that_goes_silent_everywhere_is_held_everywhere(fleet, counting, n, more):
    """With 2 of it each monitor has fewer than `hold.least`."""
    who, others = parts(fleet, n), parts(fleet, 30, "w")
    for _ in range(4):
        for node, names in who:
            counting.beat(node, *names, **more)
        counting.run(2, others, service="web")
    counting.run(12, others, service="web")
    assert lost(fleet) == []
    assert holds(fleet) == [(n, "share_of_service")] * 3
    assert {node.registry.hold().scope for node in fleet.nodes} == {"shop"}
    began = [one for node in fleet.nodes for one in node.events if one.type == "HOLD"]
    assert [(one.info["name"], one.info["fleet"]) for one in began] == [("HOLD_BEGAN", True)] * 3
    assert f"of {3 * n} instances of service shop" in english(fleet.nodes[0].registry.hold().reason)
    for node in fleet.nodes:
        node.registry.release_hold("me")
    for _ in range(3):
        counting.run(2, others, service="web")
    assert sorted(lost(fleet)) == all_names(who) and lost(fleet, "web") == []
    assert {node.registry.hold().state for node in fleet.nodes} == {HoldState.NONE}


def test_one_that_is_lost_where_nothing_is_held_joins_the_hold_and_not_after_its_release(fleet, counting):
    who, others = parts(fleet, 6), parts(fleet, 20, "w")
    a, _, c = fleet.nodes
    for _ in range(4):
        for node, names in who:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    rest = [(c, who[2][1])]
    for _ in range(6):
        for node, names in rest:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    assert [held for held, _ in holds(fleet)] == [6, 6, 0]
    rest = [(c, who[2][1][1:])]
    for _ in range(9):
        for node, names in rest:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    assert [held for held, _ in holds(fleet)] == [6, 6, 1] and lost(fleet) == []
    hold = c.registry.hold()
    assert hold.until_ms == pytest.approx(a.registry.hold().until_ms, abs=2)
    assert hold.since_ms == pytest.approx(a.registry.hold().since_ms, abs=2)
    c.registry.release_hold("me")  # which does not reach the others
    rest = [(c, who[2][1][2:])]
    for _ in range(9):
        for node, names in rest:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    assert lost(fleet) == who[2][1][:2]
    assert [held for held, _ in holds(fleet)] == [6, 6, 0]


def test_a_few_of_a_service_that_beat_to_one_monitor_are_told(fleet, counting):
    """6 of the 10 that this monitor has are a part of 30, and the rest of what it watches beats."""
    who, others = parts(fleet, 10), parts(fleet, 10, "w")
    for _ in range(4):
        for node, names in who:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    gone = who[0][1][:6]
    who[0] = (who[0][0], who[0][1][6:])
    for _ in range(6):
        for node, names in who:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    assert sorted(lost(fleet)) == gone
    assert [held for held, _ in holds(fleet)] == [0, 0, 0]


def test_what_a_monitor_that_is_cut_off_from_its_clients_watches_is_held(make_fleet):
    """6 of 24: neither much of the service nor of all, but all that it has."""
    fleet = make_fleet(4, policy=POLICY)
    counting = Counting(fleet)
    who = parts(fleet, 6)
    counting.run(8, who)
    counting.run(12, who[1:])
    assert lost(fleet) == []
    assert [held for held, _ in holds(fleet)] == [6, 0, 0, 0]
    counting.run(4, who)
    assert lost(fleet) == [] and holds(fleet)[0][0] == 0


def test_the_reason_says_that_it_is_one_monitor(make_fleet):
    fleet = make_fleet(4, policy=Policy(lease_timeout_ms=6000, hold=HoldPolicy(silence_ms=60_000)))
    counting = Counting(fleet)
    who = parts(fleet, 6)
    counting.run(8, who)
    counting.run(12, who[1:])
    hold = fleet.nodes[0].registry.hold()
    assert (hold.held, hold.scope, hold.reason.code) == (6, "shop", "share_of_monitor")
    assert "6 of 6 instances that this monitor watches" in english(hold.reason)
    assert holds(fleet)[1:] == [(0, "")] * 3  # its hold is no other's
    (began,) = (one for one in fleet.nodes[0].events if one.type == "HOLD")
    assert "fleet" not in began.info


def test_three_of_one_service_on_three_monitors_are_held_if_nobody_at_all_is_heard(fleet, counting):
    who = parts(fleet, 1)
    counting.run(8, who)
    counting.run(12, [])
    assert lost(fleet) == []
    assert holds(fleet) == [(1, "all_silent")] * 3
    counting.run(4, who)
    assert [held for held, _ in holds(fleet)] == [0, 0, 0] and lost(fleet) == []


def test_three_of_one_service_on_three_monitors_are_told_if_others_are_heard(fleet, counting):
    who, others = parts(fleet, 1), parts(fleet, 10, "w")
    for _ in range(4):
        for node, names in who:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    counting.run(12, others, service="web")
    assert sorted(lost(fleet)) == all_names(who)


def test_a_silence_of_one_with_a_single_instance_is_none_while_another_monitor_hears(fleet, counting):
    who = parts(fleet, 1)
    counting.run(8, who)
    counting.run(12, who[1:])
    assert lost(fleet) == who[0][1]


def test_without_an_answer_a_monitor_goes_by_its_own(fleet, counting):
    a, b, c = fleet.nodes
    counting.cut = [{a.id, b.id}, {a.id, c.id}, {b.id, c.id}]
    who, others = parts(fleet, 10), parts(fleet, 10, "w")
    for _ in range(4):
        for node, names in who:
            counting.beat(node, *names)
        counting.run(2, others, service="web")
    counting.run(12, others, service="web")
    assert counting.asked == 0
    assert lost(fleet) == [] and holds(fleet) == [(10, "share_of_service")] * 3
    assert not any(one.info.get("fleet") for node in fleet.nodes for one in node.events)


def test_nothing_is_asked_while_all_beat(fleet, counting):
    counting.run(30, parts(fleet, 3))
    assert counting.asked == 0


def test_nothing_is_asked_where_nothing_is_held(make_fleet):
    fleet = make_fleet(2, policy=Policy(lease_timeout_ms=6000, hold=HoldPolicy(enable=False)))
    counting = Counting(fleet)
    who = parts(fleet, 6)
    counting.run(8, who)
    counting.run(8, [])
    assert sorted(lost(fleet)) == all_names(who) and counting.asked == 0


def test_losses_that_another_monitor_has_told_count_for_the_number_before(fleet, counting):
    """As on one machine, shares are of those that beat before the losses that were told."""
    a, b, _ = fleet.nodes
    counting.run(8, parts(fleet, 3))
    hold = b.registry._hold
    hold.windows.notified("shop", int(fleet.truth.now_ms() // 1000))
    a.registry.owned.others.want("shop")
    counting.exchange()
    (view,) = a.registry._hold.shares.views(fleet.truth.now_ms(), NO_TIMING)
    assert view.share("shop", NO_TIMING) == (0, 10)


def test_beats_that_get_lost_are_added_up():
    """4 of the 10 instances of each monitor miss a beat; `hold.least` is 5."""
    intervals = Intervals()
    for _ in range(10):
        intervals.count(0, 10_000)
    one, others = Outages(HoldPolicy(), intervals), Others()
    others.set_living("a", "abc")
    for second in range(120):
        if second % 30 == 29:
            one.misses.missed(second * 1000.0, second, 20_000, 10_000)
        one.misses.tick(second * 1000.0, second)
    assert one.leak(120_000.0, 0.02) == 0
    one.others = others
    assert one.leak(120_000.0, 0.02) == 0
    for monitor in "bc":
        others.took(monitor, CensusAnswer(CensusPart(), {}, misses=one.missing()), 120_000.0)
    assert one.leak(120_000.0, 0.02) == pytest.approx(4 / 123, abs=0.002)
    assert one.leak(125_000.0, 0.02) == 0  # they have not said so lately
