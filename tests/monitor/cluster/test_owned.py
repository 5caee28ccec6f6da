# SPDX-License-Identifier: MIT
"""Unknown names, and instances that move between monitors: each on two or three nodes that share one truth."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.admission import InputRefused
from heartfelt.monitor.ingest import pending as pending_file
from heartfelt.monitor.model import Limits, State
from tests.monitor.cluster.owned import NAME, TIMEOUT, joined, text
from tests.monitor.cluster.truth import LEASE_S


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


def test_an_unknown_name_is_answered_at_once_and_joins_when_its_owner_is_known(fleet, nodes):
    one = nodes[0].beat(text())
    assert (one.service, one.instance_id) == NAME
    assert len(nodes[0].registry) == 0 and NAME in nodes[0].foreign.pending
    assert nodes[0].owners.asked == [(NAME, True)]
    fleet.settle()
    instance = nodes[0].registry.find(*NAME)
    assert instance.id == fleet.truth.entries[NAME].id
    assert instance.meta["version"] == "1.0"
    assert len(nodes[0].foreign.pending) == 0 and nodes[0].foreign.pending.n_bytes == 0
    assert nodes[0].intake.counters.beats["http"] == 1
    assert fleet.truth.told() == [State.NEW]


def test_what_comes_meanwhile_is_kept_in_order_and_repeats_collapse(fleet, nodes):
    for n in range(1, 6):
        nodes[0].beat(text(n))
    nodes[0].beat(text(6, goodbye=True))
    assert nodes[0].foreign.pending.repeats == 4
    assert nodes[0].owners.asked == [(NAME, True)]
    fleet.settle()
    assert nodes[0].state(NAME) is State.LEFT
    assert nodes[0].registry.find(*NAME).beats == 1


def test_pending_is_bounded_in_names_and_inputs(fleet, nodes, monkeypatch):
    nodes[0].foreign.pending._most_names = 3
    for n in range(5):
        nodes[0].beat(text(name=f"shop-{n}"))
    assert len(nodes[0].foreign.pending) == 3 and nodes[0].foreign.pending.dropped == 2
    for n in range(20):
        nodes[0].beat(text(name="shop-0", plan=f"p{n}"))
    assert nodes[0].foreign.pending.dropped == 2 + 21 - pending_file.MOST_OF_NAME
    fleet.settle()
    assert nodes[0].registry.find("shop", "shop-0").meta["plan"] == "p19"
    assert nodes[0].foreign.pending.n_bytes == 0


def test_a_runs_report_is_kept_when_plain_beats_are_dropped(fleet, nodes):
    nodes[0].ping("/ping/job/start")
    for n in range(20):
        nodes[0].ping("/ping/job", query=b"timeout=%d" % (100 + n))
    nodes[0].ping("/ping/job/fail")
    fleet.settle()
    assert nodes[0].find("job").state is State.FAILED
    assert [run.result.value for run in fleet.truth.entries["job", "job"].runs.values()] == ["OK", "FAILED"]


def test_what_cannot_be_valid_is_refused_at_once(fleet, nodes):
    with pytest.raises(InputRefused, match="limit is 512"):
        nodes[0].beat(text(name="x" * 600))
    with pytest.raises(Exception, match="service is missing"):
        nodes[0].beat(b'{"instanceId":"a"}')
    assert nodes[0].owners.asked == []


def test_metadata_that_is_too_large_is_refused_at_once_but_the_instance_is_alive(make_fleet):
    fleet = make_fleet(2, policy=TIMEOUT, limits=Limits(meta_bytes=2000))
    a, b = fleet.nodes
    instance = joined(fleet, a)
    fleet.advance(1.0)
    with pytest.raises(InputRefused, match="metadata"):
        b.beat(text(20, blob="x" * 2100))
    fleet.advance(0.1)
    assert fleet.truth.wall_ms() - instance.last_beat_ms <= 100
    assert "blob" not in instance.meta
    with pytest.raises(InputRefused, match="metadata"):
        b.beat(text(20, name="shop-2", blob="x" * 2100))
    fleet.settle()
    assert ("shop", "shop-2") not in fleet.truth.entries  # as today: what is refused does not join


def test_a_full_monitor_forwards_for_others_and_refuses_what_is_new(make_fleet):
    fleet = make_fleet(2, policy=TIMEOUT, limits=Limits(instances=1))
    a, b = fleet.nodes
    a.beat(text(1))
    fleet.settle()
    b.beat(text(1, name="shop-2"))
    fleet.settle()
    b.beat(text(2))  # of a's
    b.beat(text(1, name="shop-3"))
    fleet.settle()
    assert b.foreign.shadows.by_name[NAME].owner == "a"
    assert b.intake.counters.refused["http", "instances"] == 1
    assert set(fleet.truth.entries) == {NAME, ("shop", "shop-2")}


def test_an_agent_that_has_moved_takes_its_instance_along(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    id = fleet.truth.entries[NAME].id
    for n in range(10, 16):
        b.beat(text(n))
        fleet.advance(1.0)
    assert fleet.truth.entries[NAME].owner == "b"
    instance = b.registry.find(*NAME)
    assert instance.id == id and instance.state is State.UP
    assert a.registry.find(*NAME) is None and len(a.registry) == 0
    assert b.foreign.shadows.by_name == {}
    a.beat(text(20))  # once more to the first
    fleet.settle()
    assert a.foreign.shadows.by_name[NAME].owner == "b"
    fleet.advance(6.5)
    assert fleet.truth.told(NAME) == [State.NEW, State.UP, State.LATE, State.LOST]


def test_a_balancer_that_goes_round_robin_moves_nothing(make_fleet):
    fleet = make_fleet(3, policy=TIMEOUT)
    for n in range(60):
        fleet.nodes[n % 3].beat(text(n + 1))
        fleet.advance(1.0)
    assert fleet.truth.entries[NAME].owner == "a"
    assert fleet.truth.told() == [State.NEW, State.UP]
    assert fleet.nodes[0].registry.owned.disowned == 0


def test_an_instance_whose_monitor_is_out_of_the_balancer_is_taken_at_last(make_fleet):
    fleet = make_fleet(3, policy=TIMEOUT)
    joined(fleet, fleet.nodes[0])
    for n in range(10, 45):
        fleet.nodes[1 + n % 2].beat(text(n))
        fleet.advance(1.0)
    assert fleet.truth.entries[NAME].owner in ("b", "c")
    assert State.LOST not in fleet.truth.told()


def test_a_dead_monitors_instance_moves_with_its_next_beat_elsewhere(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    a.runs = False
    fleet.advance(LEASE_S + 0.1)
    b.beat(text(10))
    fleet.settle()
    assert b.registry.find(*NAME).state is State.UP
    assert fleet.truth.entries[NAME].owner == "b"
    a.late = True
    a.renew()
    assert len(a.registry) == 0 and a.changes[-1].new is not State.LOST


def test_beats_that_could_not_be_forwarded_are_asked_for_again(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    for n in (10, 11):
        b.beat(text(n))
        fleet.settle()
    a.runs = False
    fleet.advance(LEASE_S - 0.5)
    b.beat(text(12))
    fleet.advance(2.5)
    assert b.registry.find(*NAME).state is State.UP
    assert fleet.truth.wall_ms() - b.registry.find(*NAME).last_beat_ms >= 2400
    a.late = True
    a.renew()


def test_a_beat_that_died_with_its_owner_is_handed_to_the_next_one(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    for n in (10, 11):
        b.beat(text(n))
        fleet.settle()
    fleet.truth.clock.advance(1.0)
    b.beat(text(12))
    heard_ms = fleet.truth.wall_ms()
    b.forward()  # a has it, and has written nothing of it
    a.runs = False
    fleet.advance(LEASE_S)
    b.foreign.owner_stopped("a")
    fleet.settle()
    assert b.registry.find(*NAME).last_beat_ms == heard_ms
    a.late = True
    a.renew()


def test_a_removed_instance_joins_again_where_it_beats(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    for n in (10, 11, 12):
        b.beat(text(n))
        fleet.settle()
    a.registry.remove(instance.id, "test")
    b.beat(text(13))
    fleet.settle()
    again = b.registry.find(*NAME)
    assert again.id != instance.id
    b.beat(text(14))
    fleet.settle()
    assert again.meta["version"] == "1.0"
    assert fleet.truth.told() == [State.NEW, State.UP, State.REMOVED, State.NEW, State.UP]


def test_while_redis_cannot_be_reached_names_wait_and_then_join(fleet, nodes):
    a, _ = nodes
    fleet.truth.reachable = False
    for n in range(1, 4):
        a.beat(text(n))
        fleet.advance(2.0)
    assert len(a.registry) == 0
    fleet.truth.reachable = True
    a.foreign.ask_again()
    fleet.settle()
    assert a.state(NAME) is State.NEW
