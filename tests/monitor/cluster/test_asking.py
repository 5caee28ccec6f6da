# SPDX-License-Identifier: MIT
"""A loss asks first: what each answer does, and what a beat meanwhile does."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import Level, State
from heartfelt.monitor.reasons import english
from tests.monitor.cluster.test_owned import NAME, TIMEOUT, joined, text
from tests.monitor.cluster.truth import COMEBACK_MS
from tests.monitor.fleet.world import NO_HOLD

LATE = Policy(services={"shop": ServicePolicy(lease_timeout_ms=2500)}, late_factor=1.5, hold=NO_HOLD)


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(1, policy=TIMEOUT)


@pytest.fixture
def node(fleet):
    return fleet.nodes[0]


@pytest.fixture
def questions(node, monkeypatch):
    """Questions that nobody answers."""
    found = []
    monkeypatch.setattr(node.owners, "lose", found.append)
    return found


def until_asked(fleet, questions, n=1):
    while len(questions) < n:
        fleet.advance(0.05)
    return questions[n - 1]


def test_a_loss_is_told_once_settle_after_its_deadline(fleet, node):
    detected = []
    node.registry.on_detected.append(detected.append)
    instance = joined(fleet, node)
    began_s = fleet.truth.clock.time()
    while instance.state is not State.LOST:
        fleet.advance(0.05)
    assert 6.2 <= fleet.truth.clock.time() - began_s <= 6.31
    assert fleet.truth.told(NAME) == [State.NEW, State.UP, State.LATE, State.LOST]
    (lost,) = (change for change in node.changes if change.new is State.LOST)
    recorded = next(one for one in fleet.truth.history if one[3] is State.LOST)
    assert lost.level is Level.EMERGENCY and recorded[2] is State.LATE
    assert fleet.truth.entries[NAME].row.state is State.LOST
    assert fleet.truth.entries[NAME].row.reason == lost.reason == instance.reason
    assert detected == [instance]
    node.beat(text(20))
    fleet.settle()
    assert instance.state is State.UP


def test_until_the_answer_it_keeps_its_state_and_a_beat_makes_the_question_void(fleet, node, questions):
    instance = joined(fleet, node)
    fleet.advance(6.05)
    assert instance.state is State.LATE and questions == []
    node.beat(text(20))  # within settle
    fleet.advance(5.0)
    assert questions == []
    node.beat(text(21))
    loss = until_asked(fleet, questions)
    node.beat(text(22))
    node.registry.owned.asking.accepted(loss)
    assert instance.state is State.UP and State.LOST not in fleet.truth.told()
    assert node.registry.stats()["losses_outdated"] == 1


def test_a_loss_that_redis_has_recorded_is_told_with_its_end(fleet, node, questions):
    instance = joined(fleet, node)
    loss = until_asked(fleet, questions)
    node.beat(text(22))
    node.registry.owned.asking.accepted(loss, 4711)
    *_, lost, found = node.changes
    assert (lost.seq, lost.new, lost.reason) == (4711, State.LOST, loss.change.reason)
    assert (found.old, found.new, found.level) == (State.LOST, State.UP, Level.IMPORTANT)
    assert instance.state is State.UP and instance.plain
    assert found.outage_ms >= 6000


def test_a_stale_answer_does_not_decide_about_a_later_silence(fleet, node, questions):
    instance = joined(fleet, node)
    first = until_asked(fleet, questions)
    node.beat(text(22))
    second = until_asked(fleet, questions, 2)
    asking = node.registry.owned.asking
    asking.refused(first)
    asking.accepted(first)
    asking.early(first, 10.0)
    assert instance.state is State.LATE and len(node.registry) == 1
    asking.accepted(second)
    assert instance.state is State.LOST


def test_refused_it_is_forgotten_without_a_change(fleet, node, questions):
    instance = joined(fleet, node)
    n = len(node.changes)
    loss = until_asked(fleet, questions)
    node.registry.owned.asking.refused(loss)
    assert len(node.registry) == 0 and instance.state is State.REMOVED
    assert [change.new for change in node.changes[n:]] == [State.LATE]
    assert len(node.intake.known) == 0 and node.registry.uptime.counts() == {}
    assert node.registry._timers.lease.get(instance.id) is None


def test_early_it_is_asked_again_later(fleet, node, questions):
    joined(fleet, node)
    loss = until_asked(fleet, questions)
    node.registry.owned.asking.early(loss, 1000.0)
    at_s = fleet.truth.clock.time()
    assert until_asked(fleet, questions, 2) is loss
    assert 1.0 <= fleet.truth.clock.time() - at_s <= 1.1


def test_unreachable_it_is_held_and_asked_again_when_told_so(fleet, node, questions):
    instance = joined(fleet, node)
    loss = until_asked(fleet, questions)
    asking = node.registry.owned.asking
    asking.unreachable(loss)
    assert instance.held and instance.state is State.LATE
    assert "Redis cannot be reached, so nobody knows whether it beats elsewhere" in english(instance.reason)
    assert node.registry.totals().held == 1
    fleet.advance(30.0)
    assert len(questions) == 1
    asking.ask_again()
    assert until_asked(fleet, questions, 2) is loss
    asking.accepted(loss)
    assert instance.state is State.LOST and not instance.held and node.registry.totals().held == 0
    assert node.registry.stats()["losses_unreachable"] == 0


def test_when_redis_can_be_reached_again_others_may_say_first_what_they_have_heard(fleet, node, questions):
    joined(fleet, node, "shop-1")
    joined(fleet, node, "shop-2")
    fleet.advance(5.0)
    node.beat(text(30, name="shop-2"))
    loss = until_asked(fleet, questions)
    asking = node.registry.owned.asking
    asking.unreachable(loss)
    asking.wait_for_others()
    asking.ask_again()
    at_s = fleet.truth.clock.time()
    fleet.advance(1.0)
    node.registry.owned.forwarded([loss.id], [500], "b")  # it beats there since then
    fleet.advance(COMEBACK_MS / 1000 - 1.1)
    assert len(questions) == 1
    second = until_asked(fleet, questions, 2)
    assert second.instance_id == "shop-2"
    assert round(fleet.truth.clock.time() - at_s, 3) >= COMEBACK_MS / 1000


def test_what_beats_while_it_is_held_is_not_asked_again(fleet, node, questions):
    instance = joined(fleet, node)
    loss = until_asked(fleet, questions)
    asking = node.registry.owned.asking
    asking.unreachable(loss)
    node.beat(text(30))
    assert instance.state is State.UP and not instance.held
    asking.ask_again()
    fleet.advance(1.0)
    assert len(questions) == 1 and node.registry.stats()["losses_unreachable"] == 0


def test_an_outage_of_redis_loses_nobody_that_beats_and_afterwards_finds_who_does_not(make_fleet):
    fleet = make_fleet(2, policy=TIMEOUT)
    a, _ = fleet.nodes
    for n in range(10):
        joined(fleet, a, f"shop-{n}")
    fleet.truth.reachable = False
    for k in range(12):
        for n in range(5):
            a.beat(text(10 + k, name=f"shop-{n}"))
        fleet.advance(2.0)
    assert State.LOST not in fleet.truth.told()
    assert sum(one.held for one in a.registry.instances()) == 5
    fleet.truth.reachable = True
    a.foreign.ask_again()
    a.registry.owned.asking.ask_again()
    for n in range(5):
        a.beat(text(50, name=f"shop-{n}"))
    fleet.advance(1.0)
    lost = sorted(name for _, name, _, new, _ in fleet.truth.history if new is State.LOST)
    assert lost == [("shop", f"shop-{n}") for n in range(5, 10)]


def test_a_pause_that_ends_in_silence_asks_too(fleet, node, questions):
    instance = joined(fleet, node)
    node.registry.pause(instance.id, by="Ann")
    fleet.advance(10.0)
    node.registry.resume(instance.id, by="Ann")
    assert instance.state is State.LATE
    assert "being checked" in english(instance.reason) and "Ann" in english(instance.reason)
    loss = until_asked(fleet, questions)
    node.registry.owned.asking.accepted(loss)
    assert instance.state is State.LOST
    assert node.changes[-1].level is Level.EMERGENCY and "Ann" in english(instance.reason)


def test_a_failed_one_stays_failed_until_the_answer(fleet, node, questions):
    node.ping("/ping/backup/fail", query=b"timeout=6s")
    fleet.settle()
    node.ping("/ping/backup/fail", query=b"max_duration=5s")
    instance = node.find("backup")
    loss = until_asked(fleet, questions)
    assert instance.state is State.FAILED
    node.registry.owned.asking.unreachable(loss)
    assert instance.state is State.FAILED and instance.held and instance.counts_as is State.LOST
    node.registry.owned.asking.ask_again()
    node.registry.owned.asking.accepted(loss)
    assert instance.state is State.LOST


@pytest.mark.parametrize("what", ["pause", "goodbye", "remove"])
def test_what_is_no_longer_silent_is_not_lost(fleet, node, questions, what):
    instance = joined(fleet, node)
    loss = until_asked(fleet, questions)
    if what == "pause":
        node.registry.pause(instance.id)
    elif what == "goodbye":
        node.registry.goodbye(*NAME)
    else:
        node.registry.remove(instance.id)
    node.registry.owned.asking.accepted(loss)
    assert State.LOST not in [change.new for change in node.changes]
    node.registry.owned.asking.refused(loss)
    assert (len(node.registry) == 0) == (what == "remove")
