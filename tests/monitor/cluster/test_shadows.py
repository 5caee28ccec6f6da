# SPDX-License-Identifier: MIT
"""Shadows, and what is forwarded for them: each on two nodes that share one truth."""

from __future__ import annotations

import pytest

from heartfelt.monitor.ingest.raws import text_raw
from heartfelt.monitor.model import Beat, State
from tests.monitor.cluster.owned import NAME, TIMEOUT, joined, text
from tests.monitor.ingest.world import heartbeat


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


def test_another_monitors_instance_becomes_a_shadow_that_nothing_shows(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    b.beat(text(10))
    fleet.settle()
    shadow = b.foreign.shadows.by_name[NAME]
    assert (shadow.owner, shadow.of) == ("a", fleet.truth.entries[NAME].id)
    assert len(b.registry) == 0 and not b.rows and not b.changes
    assert b.registry.services() == {} and b.registry.uptime.counts() == {}
    b.beat(text(11))  # it is learned
    assert b.registry.dirty_beats() == {}
    before = b.intake.counters.fast["http"]
    b.beat(text(12))
    assert b.intake.counters.fast["http"] == before + 1
    assert b.foreign.shadows.is_heard(shadow)
    assert b.registry.dirty_beats() == {}
    assert shadow.last_beat_ms == fleet.truth.wall_ms()


@pytest.mark.parametrize("way", ["http", "udp", "ping"])
def test_a_shadows_plain_beats_renew_its_owners_instance_as_of_when_they_were_heard(fleet, nodes, way):
    a, b = nodes
    name = NAME if way == "http" else ("shop", "shop/1")

    def beat(node, n):
        if way == "http":
            node.beat(text(n))
        elif way == "udp":
            node.udp("shop/1")
        else:
            assert node.ping("/ping/shop%2F1") == 200

    for n in range(1, 10):
        beat(a, n)
        fleet.settle()
    instance = a.registry.find(*name)
    for n in (10, 11, 12):
        beat(b, n)
        fleet.settle()
    fleet.advance(1.0)
    fleet.truth.clock.advance(0.5)
    beat(b, 13)
    heard_ms = fleet.truth.wall_ms()
    fleet.truth.clock.advance(0.04)
    forwards = b.foreign.take_forwards()
    assert [(one.owner, one.ids, one.ages_ms, one.raws) for one in forwards] == [("a", [instance.id], [40], [])]
    n = instance.beats
    reply = a.foreign.forwarded(forwards[0], "b")
    assert (reply.take, reply.gone) == ([], [])
    assert (instance.last_beat_ms, instance.beats) == (heard_ms, n + 1)
    assert a.registry.dirty_beats()[instance.id] == heard_ms
    reply = a.foreign.forwarded(forwards[0], "b")  # an older one
    assert (instance.last_beat_ms, instance.beats) == (heard_ms, n + 1)


def test_the_lane_knows_shadows_and_renews_them_without_asking(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    a.udp("shop/1")
    for n in (10, 11):
        b.beat(text(n))
        b.ping("/ping/shop%2F1")
        fleet.settle()
    n = len(b.owners.asked)
    assert b.http.known_beat(text(12), "10.0.0.7") and b.http.known_ping(b"shop/1", "10.0.0.7")
    assert not b.http.known_beat(text(12, plan="gold"), "10.0.0.7")
    assert len(b.owners.asked) == n
    (forward,) = b.foreign.take_forwards()
    assert sorted(forward.ids) == sorted(entry.id for entry in fleet.truth.entries.values()) and not forward.raws
    counts = b.intake.counters
    assert counts.fast["http"] >= 1 and counts.fast["ping"] == 1
    for k in range(300):  # each 128th is forwarded whole, so that its times are known
        b.beat(text(13 + k))
    (forward,) = b.foreign.take_forwards()
    assert [raw.kind.value for raw in forward.raws] == ["beat"] * len(forward.raws) and len(forward.raws) in (2, 3)


def test_an_old_forwarded_beat_ends_its_timeout_as_much_earlier(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    b.beat(text(10))
    b.owners.pump()
    b.beat(text(11))
    b.foreign.take_forwards()
    fleet.nodes = [a]
    fleet.truth.clock.advance(1.0)
    b.beat(text(12))
    heard_s = fleet.truth.clock.time()
    fleet.truth.clock.advance(3.0)
    (forward,) = b.foreign.take_forwards()
    a.foreign.forwarded(forward, "b")
    while instance.state is not State.LOST:
        fleet.advance(0.05)
    assert 6.0 <= fleet.truth.clock.time() - heard_s - 0.2 <= 6.2
    a.beat(text(14))
    assert instance.state is State.UP and instance.plain  # and then it has its whole timeout again
    fleet.advance(5.9)
    assert instance.state is not State.LOST
    fleet.nodes = [a, b]


def test_what_is_not_plain_is_forwarded_whole(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    for n in (10, 11, 12):
        b.beat(text(n))
        fleet.settle()
    b.beat(text(13, plan="gold"), peer="10.0.0.9")
    fleet.settle()
    assert instance.meta["plan"] == "gold" and instance.peer == "10.0.0.9"
    b.beat(text(14, lag=30_000, plan="gold"), peer="10.0.0.9")
    fleet.settle()
    assert instance.state is State.STUCK
    fleet.truth.clock.advance(0.01)
    b.beat(text(15, plan="gold"), peer="10.0.0.9")
    fleet.settle()
    assert instance.state is State.UP
    b.intake.goodbye("shop", "shop-1", "sermant", "10.0.0.9")
    fleet.settle()
    assert instance.state is State.LEFT
    assert len(b.registry) == 0


def test_a_goodbye_that_a_beat_has_overtaken_is_none(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    b.beat(text(10))
    fleet.settle()
    fleet.truth.clock.advance(0.1)
    b.intake.goodbye("shop", "shop-1", "sermant", "10.0.0.7")
    fleet.truth.clock.advance(0.01)
    a.beat(text(11))
    fleet.settle()
    assert instance.state is State.UP and a.foreign.stops_outdated == 1


def test_a_goodbye_of_a_name_that_nobody_has_does_nothing(fleet, nodes):
    nodes[0].intake.goodbye("shop", "shop-9", "sermant", "10.0.0.7")
    nodes[0].beat(heartbeat(instance_id="shop-8", goodbye=True))
    fleet.settle()
    assert fleet.truth.entries == {} and fleet.truth.history == []
    assert len(nodes[0].foreign.pending) == 0
    assert [joins for _, joins in nodes[0].owners.asked] == [False, False]


def test_a_sermant_stop_reaches_the_owner(fleet, nodes):
    a, b = nodes
    instance = joined(fleet, a)
    fleet.truth.clock.advance(1.0)
    event = b'{"metaHash":"shop-1","events":[{"time":1800000000000,"eventInfo":{"name":"SERMANT_STOP"}}]}'
    b.intake.services.learn("shop-1", "shop")
    b.intake.events(event, "sermant", "10.0.0.7", lambda _: None)
    fleet.settle()
    assert instance.state is State.LEFT and instance.goodbye_ms == 1_800_000_000_000
    assert [one.info["name"] for one in b.events] == ["SERMANT_STOP"] and a.events == []


def test_runs_reported_to_any_monitor_are_the_owners(fleet, nodes):
    a, b = nodes
    assert a.ping("/ping/backup/start", query=b"rid=1&timeout=1h") == 200
    fleet.settle()
    assert b.ping("/ping/backup", query=b"rid=1") == 200
    fleet.settle()
    assert b.ping("/ping/backup/fail", query=b"rid=1", body=b"disk full") == 200
    fleet.settle()
    instance = a.find("backup")
    assert instance.state is State.FAILED and "disk full" in repr(instance.reason)
    assert len(b.registry) == 0 and [one.info["name"] for one in b.events] == []
    assert [one.info["name"] for one in a.events] == ["started", "failed"]
    b.ping("/ping/backup")  # a success
    fleet.settle()
    assert instance.state is State.UP


def test_shadows_are_bounded_and_idle_ones_leave(fleet, nodes, monkeypatch):
    a, b = nodes
    for n in range(5):
        a.beat(text(name=f"shop-{n}"))
    fleet.settle()
    monkeypatch.setattr("heartfelt.monitor.fleet.shadows.MOST", 3)
    for n in range(5):
        b.beat(text(2, name=f"shop-{n}"))
        b.owners.pump()
    shadows = b.foreign.shadows
    assert len(shadows) == 3 and shadows.forgotten == 2
    for _ in range(3):
        for n in range(5):
            b.beat(text(3, name=f"shop-{n}"))
            b.owners.pump()
    assert len(shadows) == 3
    b.foreign.take_forwards()
    fleet.truth.clock.advance(700.0)
    shadows.sweep()
    assert len(shadows) == 0 and shadows.n_bytes == 0 and len(b.intake.known) == 0


def test_a_loop_of_forwarded_inputs_ends(fleet, nodes):
    a, b = nodes
    joined(fleet, a)
    b.beat(text(10))
    fleet.settle()
    fleet.truth.entries[NAME].owner = "b"  # b believes that it is a's, and a that it is b's
    a.registry.owned.disown([fleet.truth.entries[NAME].id])
    a.foreign.theirs(NAME, fleet.truth.entries[NAME].id, "b")
    b.intake.goodbye("shop", "shop-1", "sermant", "10.0.0.7")
    for _ in range(20):
        for node in nodes:
            node.forward()
    assert a.foreign.hops_dropped + b.foreign.hops_dropped == 1
    b.foreign.shadows.drop(NAME)
    b.foreign.moved([b.owners.taken(fleet.truth.entries[NAME])], stopped=False)


def test_monitors_that_are_gone_leave_nothing_behind(fleet, nodes):
    shadows = nodes[1].foreign.shadows
    for n in range(50):
        shadows.add(NAME, n + 1, f"monitor-{n}", "http", "").lease()
    assert shadows.owners() == ["monitor-49"]
    raw = text_raw(text(1), Beat(service=NAME[0], instance_id=NAME[1], via="http", peer=""))
    shadows.say(shadows.by_name[NAME], raw)
    shadows.drop(NAME)
    assert [(one.owner, one.raws) for one in shadows.take_forwards()] == [("monitor-49", [raw])]
    assert shadows.owners() == [] == shadows.take_forwards()
