# SPDX-License-Identifier: MIT
"""Events on their way to the monitor that leads."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from heartfelt.monitor.cluster import reporting
from heartfelt.monitor.cluster.channel import ChannelError
from heartfelt.monitor.cluster.reporting import EventReports
from heartfelt.monitor.model import AgentEvent, Level
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
