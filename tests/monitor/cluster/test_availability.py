# SPDX-License-Identifier: MIT
"""Availability of services whose instances beat to different monitors: each second counts once, for the whole fleet."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.cluster import availability as module
from heartfelt.monitor.cluster.availability import Availability
from heartfelt.monitor.fleet.uptime import UptimeMeter
from heartfelt.monitor.model import State

SERVICES = [f"s{n}" for n in range(20)]


class Fleet:
    def __init__(self, n, min_up=2):
        self.now_ms = 0.0
        self.stored = defaultdict(lambda: [0.0] * 4)
        self.ids = [f"m{k}" for k in range(n)]
        self.deaf = set()
        self.meters = {id: self.meter(min_up) for id in self.ids}
        self.parts = {id: Availability(id, self.meters[id], self.notifier(id)) for id in self.ids}
        self.live(self.ids)

    def meter(self, min_up):
        return UptimeMeter(
            lambda: self.now_ms, lambda: int(self.now_ms), lambda service: min_up, self.store, ticks=False
        )

    def live(self, living):
        self.living = list(living)
        for id in self.living:
            self.parts[id].set_living(self.living)

    def notifier(self, sender):
        def notify(peer, kind, counts):
            if peer in self.deaf:
                return False
            if peer in self.living:
                self.parts[peer].took(sender, counts)
            return True

        return notify

    def store(self, times):
        for (_, service), some in times.items():
            for k, seconds in enumerate(some):
                self.stored[service][k] += seconds

    def move(self, monitor, service, old, new, n=1):
        self.meters[monitor].move(service, old, new, n)

    def send(self):
        for id in self.living:
            self.parts[id].send()

    def advance(self, seconds):
        self.now_ms += seconds * 1000

    def times(self, service):
        for id in self.living:
            self.meters[id].publish(complete=True)
        return [round(one, 6) for one in self.stored[service]]

    def end(self):
        for part in self.parts.values():
            part.stop()


@pytest.fixture
def within():
    def run(scenario, n=3):
        async def main():
            fleet = Fleet(n)
            try:
                scenario(fleet)
            finally:
                fleet.end()

        asyncio.run(main())

    return run


@pytest.mark.parametrize("service", SERVICES)
def test_the_time_of_a_service_counts_once_wherever_its_home_is(within, service):
    def scenario(fleet):
        for id in fleet.ids:  # one instance at each monitor: up together, never alone
            fleet.move(id, service, State.REMOVED, State.UP)
        fleet.send()
        fleet.advance(10)
        assert fleet.times(service) == [30, 30, 10, 10]
        for id in fleet.ids[:2]:
            fleet.move(id, service, State.UP, State.LOST)
        fleet.send()
        fleet.advance(10)
        assert fleet.times(service) == [60, 40, 20, 10]  # one of three is less than min_up

    within(scenario)


def test_a_home_without_instances_of_its_own_counts_as_well(within):
    def scenario(fleet):
        for service in SERVICES:
            fleet.move("m0", service, State.REMOVED, State.UP, 2)
        fleet.send()
        fleet.advance(5)
        for service in SERVICES:
            assert fleet.times(service) == [10, 10, 5, 5]
        assert sum(part.stats()["homed"] for part in fleet.parts.values()) > 5
        for service in SERVICES:
            fleet.move("m0", service, State.UP, State.REMOVED, 2)
            fleet.meters["m0"].forget(service)
        fleet.send()
        fleet.advance(5)
        for service in SERVICES:
            assert fleet.times(service) == [10, 10, 5, 5]
        assert sum(part.stats()["homed"] for part in fleet.parts.values()) == 0

    within(scenario)


def test_homes_move_when_monitors_come_and_go(within):
    def scenario(fleet):
        fleet.live(["m0", "m1"])
        for service in SERVICES:
            for id in ("m0", "m1"):
                fleet.move(id, service, State.REMOVED, State.UP)
        fleet.send()
        fleet.advance(10)
        fleet.live(fleet.ids)
        fleet.send()
        fleet.advance(10)
        for service in SERVICES:
            fleet.times(service)  # what the one that goes has stored
        fleet.live(["m0", "m1"])
        fleet.send()
        fleet.advance(10)
        for service in SERVICES:
            assert fleet.times(service) == [60, 60, 30, 30]

    within(scenario)


def test_what_a_dead_monitor_had_no_longer_counts(within):
    def scenario(fleet):
        for service in SERVICES:
            for id in fleet.ids:
                fleet.move(id, service, State.REMOVED, State.UP)
        fleet.send()
        fleet.advance(10)
        for service in SERVICES:
            fleet.times(service)
        fleet.live(["m0", "m1"])
        for service in SERVICES:
            fleet.move("m0", service, State.UP, State.LOST)
        fleet.send()
        before = {service: fleet.times(service) for service in SERVICES}
        fleet.advance(10)
        for service in SERVICES:
            grown = [new - old for new, old in zip(fleet.times(service), before[service], strict=True)]
            assert grown == [20, 10, 10, 0]

    within(scenario)


def test_counts_that_cannot_be_sent_are_sent_again(within):
    def scenario(fleet):
        fleet.deaf = set(fleet.ids)
        for service in SERVICES:
            fleet.move("m0", service, State.REMOVED, State.UP, 2)
        fleet.send()
        assert fleet.parts["m0"].stats()["not_sent"] > 5
        fleet.deaf = set()
        fleet.send()
        fleet.advance(5)
        for service in SERVICES:
            assert fleet.times(service) == [10, 10, 5, 5]

    within(scenario)


def test_many_services_go_in_several_notices(within, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)

    def scenario(fleet):
        for service in SERVICES:
            fleet.move("m0", service, State.REMOVED, State.UP, 2)
        fleet.send()
        fleet.advance(5)
        for service in SERVICES:
            assert fleet.times(service) == [10, 10, 5, 5]

    within(scenario)
