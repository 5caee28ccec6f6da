# SPDX-License-Identifier: MIT
"""Events on their way to the monitor that leads."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from heartfelt.monitor.cluster import reporting
from heartfelt.monitor.cluster.channel import ChannelError
from heartfelt.monitor.cluster.hold_events import FleetHolds
from heartfelt.monitor.cluster.reporting import EventReports
from heartfelt.monitor.model import MONITOR_SERVICE, AgentEvent, Level
from tests.monitor.webhooks.parts import until


def event(n):
    return AgentEvent(
        received_ms=n, time_ms=n, service="s", instance_id="i", ip="", scope="", level=Level.NORMAL, type="OPERATION",
        info={},
    )  # fmt: skip


class Wires:
    """The channel of one monitor. fails: how many answers get lost."""

    def __init__(self, own, all_):
        self.own, self.all, self.fails = own, all_, 0
        self.peers = self
        all_[own] = self

    def on(self, name, handler, kind):
        self.handler, self.kind = handler, kind

    def __contains__(self, peer):
        return peer in self.all

    async def ask(self, peer, name, body, *, seconds, kind):
        other = self.all[peer]
        message = msgspec.msgpack.decode(msgspec.msgpack.encode(body), type=other.kind)
        answer = other.handler(self.own, message)
        if self.fails:
            self.fails -= 1
            raise ChannelError("disconnected", "cut")
        return answer


class Fleet:
    def __init__(self):
        self.leader, self.taken, wires = None, [], {}
        self.reports = {own: self.make(own, wires) for own in "ab"}
        self.wires = wires

    def make(self, own, wires):
        def take(event):
            if self.leader == own:
                self.taken.append((own, event.time_ms))
            return self.leader == own

        return EventReports(Wires(own, wires), lambda: self.leader, take)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(reporting, "RETRY_S", 0.01)


def test_each_event_is_taken_once_and_in_order(quick):
    async def main():
        fleet = Fleet()
        a = fleet.reports["a"]
        a.start()
        for n in range(250):
            a.put(event(n))
        await asyncio.sleep(0)
        assert a.stats()["events_waiting"] == 250  # nobody leads
        fleet.wires["a"].fails = 3
        fleet.leader = "b"
        await until(lambda: a.stats()["events_waiting"] == 0)
        assert fleet.taken == [("b", n) for n in range(250)]
        assert fleet.reports["b"].counts["events_again"] == 300
        fleet.leader = "a"
        a.put(event(250))
        await until(lambda: fleet.taken[-1] == ("a", 250))
        await a.stop()

    asyncio.run(main())


def test_what_is_too_much_is_dropped_and_counted(quick, monkeypatch):
    monkeypatch.setattr(reporting, "MOST_EVENTS", 10)

    async def main():
        fleet = Fleet()
        a = fleet.reports["a"]
        a.start()
        for n in range(25):
            a.put(event(n))
        assert (a.stats()["events_waiting"], a.stats()["events_dropped"]) == (10, 15)
        await a.stop()
        assert a.stats()["events_dropped"] == 25

    asyncio.run(main())


def hold_event(name, at_ms, *, scope="shop", until_ms=900_000, fleet=True):
    info = {"name": name, "untilMs": until_ms} | ({"fleet": True} if fleet else {})
    return msgspec.structs.replace(event(at_ms), service=scope, type="HOLD", info=info)


def told_by(holds, monitor, one):
    tells = holds.tells(monitor, one)
    holds.note(monitor, one)
    return tells


def test_a_hold_of_the_fleet_is_told_once():
    holds = FleetHolds()
    told = [
        (at_ms, monitor, name)
        for at_ms, monitor, name, scope in (
            (1000, "a", "HOLD_BEGAN", "shop"), (1010, "b", "HOLD_BEGAN", "shop"), (1050, "c", "HOLD_BEGAN", "web"),
            (2000, "b", "HOLD_WIDENED", MONITOR_SERVICE), (2010, "a", "HOLD_WIDENED", MONITOR_SERVICE),
            (2020, "d", "HOLD_BEGAN", "jobs"),
            (5000, "a", "HOLD_RELEASING", MONITOR_SERVICE), (5010, "b", "HOLD_RELEASING", MONITOR_SERVICE),
            (5020, "c", "HOLD_RELEASING", "web"), (5030, "d", "HOLD_RELEASING", "jobs"),
            (6000, "b", "HOLD_ENDED", MONITOR_SERVICE), (6010, "a", "HOLD_ENDED", MONITOR_SERVICE),
            (6020, "c", "HOLD_ENDED", "web"), (6030, "d", "HOLD_ENDED", "jobs"),
            (60_000, "a", "HOLD_BEGAN", "shop"), (61_000, "b", "HOLD_BEGAN", "shop"),
            (2_000_000, "b", "HOLD_BEGAN", "shop"),  # `a` has stopped, and said nothing
        )
        if told_by(holds, monitor, hold_event(name, at_ms, scope=scope))
    ]  # fmt: skip
    assert told == [
        (1000, "a", "HOLD_BEGAN"), (1050, "c", "HOLD_BEGAN"), (2000, "b", "HOLD_WIDENED"),
        (5000, "a", "HOLD_RELEASING"), (6030, "d", "HOLD_ENDED"), (60_000, "a", "HOLD_BEGAN"),
        (2_000_000, "b", "HOLD_BEGAN"),
    ]  # fmt: skip
    assert holds.tells("c", hold_event("HOLD_BEGAN", 2_000_100, fleet=False)) and holds.tells("a", event(1))


def test_it_is_told_by_the_monitor_that_leads_only():
    async def scenario():
        fleet = Fleet()
        for one in fleet.reports.values():
            one.start()
        for own, one in fleet.reports.items():
            one.put(hold_event("HOLD_BEGAN", 1000 + ord(own)))
        await asyncio.sleep(0)
        fleet.leader = "a"
        await until(lambda: fleet.reports["a"].stats()["events_untold"] == 1)
        await until(lambda: not any(one.stats()["events_waiting"] for one in fleet.reports.values()))
        assert len(fleet.taken) == 1
        for one in fleet.reports.values():
            await one.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["HOLD_BEGAN", "HOLD_RELEASING", "HOLD_ENDED"])
def test_an_event_of_a_hold_that_the_leader_cannot_take_yet_is_told_later(quick, name):
    """Its webhooks may only be starting."""

    async def scenario():
        fleet = Fleet()
        a, is_ready, tries = fleet.reports["a"], False, []

        def take(event):
            tries.append(event)
            return is_ready

        fleet.leader, a._take = "a", take
        a.start()
        a.put(hold_event(name, 1_000_000))
        await until(lambda: len(tries) > 2)
        is_ready = True
        await until(lambda: not a.stats()["events_waiting"])
        assert a.stats()["events_untold"] == 0
        await a.stop()

    asyncio.run(scenario())
