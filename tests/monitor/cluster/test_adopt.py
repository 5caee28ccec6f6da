# SPDX-License-Identifier: MIT
"""Instances come from a monitor that has stopped, and go: as after a restart, and without a trace."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.owners import TakenOver, run_number
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy, ServicePolicy
from heartfelt.monitor.model import State
from heartfelt.monitor.reasons import english
from tests.monitor.cluster.test_owned import NAME, TIMEOUT, joined, text
from tests.monitor.cluster.truth import LEASE_S

HOLD = Policy(
    services={"shop": ServicePolicy(lease_timeout_ms=6000)},
    lease_timeout_ms=6000,
    hold=HoldPolicy(least=4, least_of_all=4, share=0.5, share_of_all=0.5, settle_ms=5000, reconnect_ms=10_000),
)


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(2, policy=TIMEOUT)


def kill(fleet, node):
    """It stops for good; its lease ends."""
    node.runs = False
    fleet.advance(LEASE_S + 0.1)


def bury(fleet, node):
    node.late = True
    node.renew()
    assert len(node.registry) == 0


def test_each_has_its_deadline_and_at_least_the_time_to_come_back(fleet):
    a, b = fleet.nodes
    rows = {}
    for name in ("shop-1", "shop-2"):
        joined(fleet, a, name)
        rows[name] = a.rows[fleet.truth.entries["shop", name].id]
    b.registry.owned.adopt([TakenOver(rows["shop-1"], 9000.0), TakenOver(rows["shop-2"], -3000.0)])
    lost = {}
    for _ in range(200):
        fleet.truth.clock.advance(0.05)
        b.poll()
        for loss in [args[0] for what, *args in b.owners.requests]:
            lost.setdefault(loss.instance_id, fleet.truth.clock.time())
    assert {name: round(at_s, 1) for name, at_s in lost.items()} == {"shop-2": 5.2, "shop-1": 9.2}
    b.owners.requests.clear()
    b.registry.owned.disown([row.id for row in rows.values()])


def test_states_acks_pauses_cache_times_and_runs_come_along(fleet):
    a, b = fleet.nodes
    for n in range(5):
        joined(fleet, a, f"shop-{n}")
    a.ping("/ping/backup/start", query=b"rid=1&timeout=60s")
    fleet.settle()
    of = {n: a.registry.find("shop", f"shop-{n}").id for n in range(5)}
    fleet.advance(6.5)  # all are lost
    for n in range(1, 5):
        a.beat(text(20, name=f"shop-{n}"))
    a.registry.ack(of[0], by="Ann")
    a.registry.pause(of[1], fleet.truth.wall_ms() + 20_000, by="Ann")
    a.registry.goodbye("shop", "shop-2")
    fleet.settle()
    kill(fleet, a)
    n = len(b.changes)
    b.adopt()
    assert len(b.registry) == 6 and len(b.changes) == n
    b.check()
    states = {n: b.registry.get(of[n]).state for n in range(5)}
    assert states == {0: State.LOST, 1: State.PAUSED, 2: State.LEFT, 3: State.UP, 4: State.UP}
    assert b.registry.get(of[0]).ack.by == "Ann"
    assert b.registry.uptime.counts()["shop"] == (3, 2)
    assert b.registry.stats()["runs_open"] == 1
    bury(fleet, a)
    b.beat(text(30, name="shop-3"))
    assert b.registry.get(of[3]).plain
    fleet.advance(7.0)
    assert b.registry.get(of[4]).state is State.LOST
    assert "since the monitor started" not in english(b.registry.get(of[4]).reason)
    fleet.advance(15.0)
    assert b.registry.get(of[1]).state is State.LOST  # its pause is over
    fleet.advance(60.0)
    assert b.find("backup").state in (State.FAILED, State.LOST)
    assert [run.result.value for run in fleet.truth.entries["backup", "backup"].runs.values()] == ["OVERDUE"]


def test_an_adopted_instance_that_beats_again_has_its_whole_timeout(fleet):
    a, b = fleet.nodes
    joined(fleet, a)
    kill(fleet, a)
    b.adopt()
    bury(fleet, a)
    instance = b.registry.find(*NAME)
    fleet.advance(0.5)
    b.beat(text(20))
    assert instance.state is State.UP and instance.plain
    fleet.advance(5.9)
    assert instance.state is State.LATE
    fleet.advance(0.5)
    assert instance.state is State.LOST
    assert fleet.truth.told(NAME).count(State.LOST) == 1


def test_what_was_heard_here_before_the_take_over_counts(fleet):
    a, b = fleet.nodes
    joined(fleet, a)
    for n in (10, 11):
        b.beat(text(n))
        fleet.settle()
    a.runs = False
    fleet.advance(LEASE_S - 0.5)
    b.beat(text(12))
    heard_ms = fleet.truth.wall_ms()
    fleet.advance(0.6)
    b.adopt()
    instance = b.registry.find(*NAME)
    assert instance.last_beat_ms == heard_ms and instance.state is State.UP
    bury(fleet, a)


def test_losses_of_what_was_taken_over_are_held_as_after_a_start_and_others_are_not(make_fleet):
    fleet = make_fleet(2, policy=HOLD)
    a, b = fleet.nodes
    for n in range(20):
        joined(fleet, a, f"shop-{n}")
    for n in range(20, 30):
        joined(fleet, b, f"shop-{n}")
    a.runs = False

    def beat(k, *names):
        for n in names:
            b.beat(text(k, name=f"shop-{n}"))

    for k in range(4):
        beat(20 + k, *range(20, 30))
        fleet.advance(1.5)
    b.adopt()
    bury(fleet, a)
    for k in range(5):
        beat(30 + k, *range(21, 30))  # 20 is silent
        fleet.advance(1.5)
    adopted = [b.registry.find("shop", f"shop-{n}") for n in range(20)]
    assert all(one.held for one in adopted)
    assert "none of the 20 instances that were taken over" in english(adopted[0].reason)
    assert b.registry.hold().held == 0
    assert fleet.truth.told(("shop", "shop-20"))[-1] is State.LOST
    beat(40, 3)
    assert adopted[3].state is State.UP and not adopted[3].held
    for k in range(15):
        beat(50 + k, 3, *range(21, 30))
        fleet.advance(1.5)
    lost = sorted(name[1] for _, name, _, new, _ in fleet.truth.history if new is State.LOST)
    assert lost == sorted(f"shop-{n}" for n in range(21) if n != 3)


def test_once_one_of_them_has_beaten_the_others_losses_are_not_held(make_fleet):
    fleet = make_fleet(2, policy=HOLD)
    a, b = fleet.nodes
    for n in range(20):
        joined(fleet, a, f"shop-{n}")
    kill(fleet, a)
    b.adopt()
    bury(fleet, a)
    for k in range(6):
        for n in range(1, 20):
            b.beat(text(20 + k, name=f"shop-{n}"))
        fleet.advance(1.5)
    assert [name for _, name, _, new, _ in fleet.truth.history if new is State.LOST] == [("shop", "shop-0")]


def test_losses_are_not_held_if_the_others_came_by_their_names_before_they_were_adopted(make_fleet):
    fleet = make_fleet(2, policy=HOLD)
    a, b = fleet.nodes
    for n in range(20):
        joined(fleet, a, f"shop-{n}")
    kill(fleet, a)
    for k in range(8):
        for n in range(1, 20):
            b.beat(text(20 + k, name=f"shop-{n}"))
        fleet.advance(1.0)
        b.adopt()
        bury(fleet, a)
    assert [name for _, name, _, new, _ in fleet.truth.history if new is State.LOST] == [("shop", "shop-0")]


def test_losses_are_not_held_if_the_others_beat_to_another_monitor(make_fleet):
    fleet = make_fleet(3, policy=HOLD)
    a, b, c = fleet.nodes
    for one, other in ((b, c), (c, b)):
        one.registry.owned.asking.on_back = other.registry.owned.asking.came_back_elsewhere
    for n in range(40):
        joined(fleet, a, f"shop-{n}")
    for n in range(40, 50):
        joined(fleet, c, f"shop-{n}")
    a.runs = False
    silent = range(0, 40, 10)
    for k in range(12):
        for n in set(range(40)) - set(silent):
            b.beat(text(20 + k, name=f"shop-{n}"))
        for n in range(40, 50):
            c.beat(text(20 + k, name=f"shop-{n}"))
        fleet.advance(1.0)
        b.adopt()
        c.adopt()
    bury(fleet, a)
    lost = [name for _, name, _, new, _ in fleet.truth.history if new is State.LOST]
    assert sorted(lost) == [("shop", f"shop-{n}") for n in silent]
    assert {node for _, _, _, new, node in fleet.truth.history if new is State.LOST} == {b.id, c.id}


def test_disowned_instances_leave_no_trace(fleet):
    a, _ = fleet.nodes
    for n in range(4):
        joined(fleet, a, f"shop-{n}")
    joined(fleet, a, "shop-stays")
    a.ping("/ping/backup/start", query=b"timeout=60s")
    fleet.settle()
    stays = a.registry.find("shop", "shop-stays")
    ids = [one.id for one in a.registry.instances() if one is not stays]
    changes, rows, events = len(a.changes), dict(a.rows), len(a.events)
    fleet.advance(0.5)
    found = a.registry.owned.disown([*ids, 99_999])
    assert [one.id for one in found] == ids and {one.age_ms for one in found} == {500}
    assert len(a.changes) == changes and a.rows == rows and len(a.events) == events
    assert len(a.registry) == 1 and a.registry.stats()["runs_open"] == 0
    assert set(a.registry.uptime.counts()) == {"shop"}
    assert len(a.registry._timers.lease) == 1 and len(a.registry._timers.runs) == 0
    assert a.registry.dirty_beats().keys() <= {stays.id}
    for id in ids:
        fleet.truth.entries = {name: one for name, one in fleet.truth.entries.items() if one.id != id}
    a.beat(text(30, name="shop-0"))
    assert ("shop", "shop-0") in a.foreign.pending


def test_a_mass_of_instances_is_taken_over_and_given_up_quickly(fleet):
    a, b = fleet.nodes
    joined(fleet, a)
    row = a.rows[fleet.truth.entries[NAME].id]
    found = []
    for n in range(20_000):
        one = row.__copy__()
        one.id, one.instance_id = 1000 + n, f"mass-{n}"
        found.append(TakenOver(one, 3000.0))
    assert len(b.registry.owned.adopt(found)) == 20_000
    b.check()
    assert len(b.registry.owned.disown([one.row.id for one in found])) == 20_000
    b.check()


def test_numbers_of_runs_are_unique_and_grow():
    last = {0: 0, 1: 0, 511: 0}
    seen = []
    for n in range(300):
        for monitor in last:
            last[monitor] = run_number(last[monitor], 1_800_000_000_000 + n // 10, monitor)
            seen.append(last[monitor])
    assert len(set(seen)) == len(seen)
    assert seen[0::3] == sorted(seen[0::3])
    assert max(seen) < 1 << 53


def test_a_kept_last_one_makes_way_for_one_that_is_taken_over(fleet):
    a, b = fleet.nodes
    joined(fleet, a)
    row = a.rows[fleet.truth.entries[NAME].id]
    joined(fleet, b, "shop-2")
    kept = b.registry.find("shop", "shop-2")
    fleet.nodes = [b]
    fleet.advance(7.0)
    b.registry._life.kept._keep(kept, fleet.truth.wall_ms())
    b.registry.owned.adopt([TakenOver(row, 3000.0)])
    assert kept.state is State.REMOVED
    b.registry.owned.disown([row.id])
    fleet.nodes = [a, b]


def test_those_that_never_came_back_do_not_delay_the_losses_of_a_later_take_over(make_fleet):
    hold = HoldPolicy(settle_ms=1000, reconnect_ms=1000, release_per_s=1.0)
    fleet = make_fleet(3, policy=Policy(lease_timeout_ms=6000, hold=hold))
    a, b, c = fleet.nodes
    for n in range(12):
        joined(fleet, a, f"shop-{n}")
    joined(fleet, c, "last")
    kill(fleet, a)
    b.adopt()
    c.adopt()
    bury(fleet, a)
    for _ in range(100):
        c.beat(text(20, name="last"))
        fleet.advance(0.5)
    assert all(one.state is State.LOST for one in b.registry.instances() if one.instance_id != "last")
    kill(fleet, c)
    b.adopt()
    fleet.advance(10.0)
    assert b.registry.find("shop", "last").state is State.LOST
    bury(fleet, c)
