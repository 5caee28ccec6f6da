# SPDX-License-Identifier: MIT
"""Names, shadows, forwarding, moves: each on two or three nodes that share one truth."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.admission import InputRefused
from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.ingest import pending as pending_file
from heartfelt.monitor.model import Limits, State
from tests.monitor.cluster.truth import LEASE_S
from tests.monitor.fleet.world import NO_HOLD
from tests.monitor.ingest.world import heartbeat

NAME = ("shop", "shop-1")
TIMEOUT = Policy(services={"shop": ServicePolicy(lease_timeout_ms=6000)}, lease_timeout_ms=6000, hold=NO_HOLD)


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


def text(number=1, *, at=1_700_000_000_000, name="shop-1", **more):
    return heartbeat(instance_id=name, at=at + number * 2000, number=number, intervalMs=2000, **more)


def joined(fleet, node, name="shop-1"):
    """An instance that is known well to its owner."""
    for n in range(1, 10):
        node.beat(text(n, name=name))
        fleet.settle()
    return node.registry.find("shop", name)


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
    for k in range(40):  # each 16th is forwarded whole, so that its times are known
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
