# SPDX-License-Identifier: MIT
"""Beats that a monitor hears while it cannot renew its leases go to another one: the newest of each instance in any
case."""

from __future__ import annotations

import pytest

pytest.importorskip("redis")
from heartfelt.monitor.cluster.passing import PASSED_ON, Passing
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.keys import Keys
from tests.monitor.cluster.test_owned import TIMEOUT, joined, text

LEASE_S = 5.0


class FakePeers:
    def __init__(self):
        self.connected = ["b", "c"]
        self.room = 10_000
        self.taken = []

    def forward_input(self, peer, one):
        if not self.room:
            return False
        self.room -= 1
        self.taken.append((peer, one))
        return True


class World:
    def __init__(self, fleet):
        self.fleet, self.node = fleet, fleet.nodes[0]
        self.peers, self.n = FakePeers(), 0
        clock = fleet.truth.clock
        self.passing = Passing(Keys("p", 1), LEASE_S, wall_ms=fleet.truth.wall_ms, now_s=clock.time)
        self.passing.attach(self.node.registry, self.node.foreign, self.peers, self.count)
        self.renew()

    def count(self):
        self.n += 1

    def renew(self):
        self.passing.renewed(Renewal(asked_s=self.fleet.truth.clock.time(), renewed=[0]))

    def advance(self, seconds):
        for _ in range(round(seconds / 0.05)):
            self.fleet.advance(0.05)
            self.passing.step()

    def beat(self, n, name="shop-1"):
        self.node.beat(text(n, name=name))
        one = self.node.registry.find("shop", name)
        self.passing.heard({one.id: one.last_beat_ms})

    def passed(self):
        taken, self.peers.taken = self.peers.taken, []
        assert {(peer, one.kind) for peer, one in taken} <= {("b", PASSED_ON)}
        return len(taken)


@pytest.fixture
def world(make_fleet):
    fleet = make_fleet(1, policy=TIMEOUT)
    for n in range(3):
        joined(fleet, fleet.nodes[0], f"shop-{n}")
    return World(fleet)


def test_nothing_is_passed_on_with_a_lease(world):
    for n in range(4):
        world.beat(20 + n)
        world.advance(2.0)
        world.renew()
    assert world.passed() == 0


def test_when_the_lease_ends_all_that_was_heard_lately_is_passed_on_and_then_what_is_heard(world):
    world.advance(LEASE_S - 1.0)
    world.beat(20)
    world.advance(2.0)  # the others have not beaten for a timeout by then, but for this one
    assert world.passed() == 3
    assert world.n == 3
    world.beat(21)
    world.advance(0.05)
    assert world.passed() == 0  # one has gone less than a quarter of the timeout ago
    world.advance(1.5)
    assert world.passed() == 1
    world.beat(22)
    world.renew()
    world.advance(3.0)
    assert world.passed() == 0


def test_what_finds_no_room_or_no_monitor_waits(world):
    world.peers.room = 1
    world.advance(LEASE_S + 0.1)
    assert world.passed() == 1
    world.peers.room, world.peers.connected = 10, []
    world.advance(0.1)
    assert world.passed() == 0
    world.peers.connected = ["b"]
    world.advance(0.1)
    assert world.passed() == 2


def test_names_of_which_redis_cannot_be_asked_are_passed_on_once_for_each_beat(world):
    world.fleet.truth.reachable = False
    world.node.beat(text(1, name="new"))
    name = ("shop", "new")
    woken = []
    world.passing.on_names = lambda: woken.append(world.passing.calm_s())
    for _ in range(3):
        world.passing.names([name, ("shop", "nobody's")])
        world.advance(0.1)
    assert world.passed() == 1
    world.node.beat(text(2, name="new"))
    world.advance(0.1)  # also if they are not asked for again yet
    assert world.passed() == 1
    assert woken == [0.0] * 3, "nobody sleeps while there are names to be passed on"
    world.passing.names_answered()
    assert world.passing.calm_s() > 0
    world.node.beat(text(3, name="new"))
    world.advance(0.1)
    assert world.passed() == 0
