# SPDX-License-Identifier: MIT
"""The live stream of the fleet: a viewer of any monitor sees what all of them publish, added up."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("msgspec")
from heartfelt.errors import HeartfeltError
from heartfelt.monitor.cluster import relay as relay_module
from heartfelt.monitor.cluster.relay import FleetCounts, Relay
from heartfelt.monitor.model import Hold, HoldState
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.web.api.view import hold_view
from heartfelt.monitor.web.stream import TOPICS, Stream


def counted(n, **states):
    return {"total": n, "up": n, "held": 0, "states": states or {"UP": n}}


class One:
    """A monitor as far as its stream is concerned."""

    def __init__(self, fleet, n):
        self.fleet, self.n = fleet, n
        self.services, self.apps, self.hold = {}, set(), Hold()
        self.stream = Stream()
        self.relay = Relay(self.stream, self, self.counts, lambda: self.apps, lambda: hold_view(self.hold))

    def counts(self):
        total = sum(one["total"] for one in self.services.values())
        return FleetCounts(all=counted(total), applications=len(self.apps), services=dict(self.services))

    def count(self, service, n):
        self.services[service] = counted(n)
        if not n:
            del self.services[service]
        counts = self.counts()
        changed = {service: self.services.get(service)}
        self.relay.publish("counts", {"all": counts.all, "applications": len(self.apps), "services": changed})

    def living(self):
        return {str(n): f"host-{n}" for n in range(3) if n != self.n and n not in self.fleet.dead}

    async def watch(self, peer, kind):
        other = self.fleet.monitors[int(peer)]
        async for message in other.relay.serve(str(self.n)):
            if self.fleet.raises:
                raise self.fleet.raises.pop()
            if int(peer) in self.fleet.cut:
                raise HeartfeltError("the connection ended")
            yield message


class FleetOfThree:
    def __init__(self):
        self.dead, self.cut, self.raises = set(), set(), []
        self.monitors = [One(self, n) for n in range(3)]
        self.seen = {topic: [] for topic in TOPICS}

    def open(self, n):
        self.viewer = self.monitors[n].stream.open(frozenset(TOPICS), None)
        self.monitors[n].relay.look()

    async def read(self, until):
        """Reads the viewer's messages until `until()` is true."""
        for _ in range(1000):
            if until():
                return
            for text in (await self.viewer.take(5.0)).decode().split("\n\n"):
                lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
                if lines.get("event") in self.seen:
                    self.seen[lines["event"]].append(json.loads(lines["data"]))
        raise AssertionError(f"it did not come: {self.seen}")

    def last(self, topic):
        return self.seen[topic][-1] if self.seen[topic] else None

    def services(self):
        known = {}
        for message in self.seen["counts"]:
            for name, one in message["services"].items():
                known[name] = one and one["total"]
        return {name: n for name, n in known.items() if n}

    async def end(self):
        for one in self.monitors:
            assert await one.relay.stop() == 0


def run(scenario, monkeypatch=None):
    async def main():
        fleet = FleetOfThree()
        try:
            await scenario(fleet)
        finally:
            await fleet.end()

    asyncio.run(main())


def test_a_viewer_sees_the_counts_of_all_monitors_added_up():
    async def scenario(fleet):
        for n, one in enumerate(fleet.monitors):
            one.services, one.apps = {"shop": counted(n + 1), f"own-{n}": counted(1)}, {"a", f"b{n}"}
        fleet.open(1)
        await fleet.read(lambda: fleet.services() == {"shop": 6, "own-0": 1, "own-2": 1})
        fleet.monitors[1].count("shop", 5)
        fleet.monitors[2].count("own-2", 0)
        fleet.monitors[0].count("new", 2)
        await fleet.read(lambda: fleet.services() == {"shop": 9, "own-0": 1, "new": 2})
        assert fleet.last("counts")["all"]["total"] == 5 + 1 + 1 + 1 + 3 + 2
        assert fleet.last("counts")["applications"] == 4

    run(scenario)


def test_beats_holds_and_acks_of_others_come_through():
    async def scenario(fleet):
        fleet.open(0)
        await fleet.read(lambda: fleet.seen["hold"])
        fleet.monitors[2].relay.publish("beats", [(7, 1000)])
        fleet.monitors[1].relay.publish("acks", [{"id": 3, "ack": None}])
        fleet.monitors[0].relay.publish("held", [1])
        fleet.monitors[1].hold = Hold(state=HoldState.HOLDING, held=3, scope="shop", since_ms=5, until_ms=9)
        fleet.monitors[1].relay.publish("hold", hold_view(fleet.monitors[1].hold))
        await fleet.read(lambda: fleet.seen["beats"] and fleet.seen["acks"] and fleet.seen["held"])
        await fleet.read(lambda: fleet.last("hold")["held"] == 3)
        fleet.monitors[2].relay.publish("hold", hold_view(Hold(state=HoldState.RELEASING, held=4, since_ms=2)))
        await fleet.read(lambda: fleet.last("hold")["held"] == 7)
        hold = fleet.last("hold")
        assert (hold["state"], hold["scope"], hold["since_ms"], hold["until_ms"]) == ("HOLDING", "", 2, 9)

    run(scenario)


def test_changes_and_events_of_all_monitors_come_through():
    async def scenario(fleet):
        fleet.open(0)
        await fleet.read(lambda: fleet.seen["hold"])
        fleet.monitors[0].relay.publish("change", {"seq": 1})
        fleet.monitors[1].relay.publish("change", {"seq": 2})
        fleet.monitors[2].relay.publish("event", {"number": 1})
        await fleet.read(lambda: len(fleet.seen["change"]) == 2 and fleet.seen["event"])

    run(scenario)


def test_without_viewers_nobody_is_watched_and_nothing_is_kept():
    async def scenario(fleet):
        assert not any(one.relay.watched for one in fleet.monitors)
        fleet.open(0)
        await fleet.read(lambda: fleet.seen["hold"])
        await asyncio.sleep(0)
        assert fleet.monitors[1].relay.watched
        fleet.monitors[0].stream.discard(fleet.viewer)
        fleet.monitors[0].relay.look()
        for _ in range(100):
            await asyncio.sleep(0)
        assert [one.relay.watched for one in fleet.monitors] == [False] * 3
        assert fleet.monitors[0].relay.stats()["watching"] == 0

    run(scenario)


def test_a_monitor_that_is_gone_is_no_longer_counted():
    async def scenario(fleet):
        fleet.monitors[1].services = {"shop": counted(2)}
        fleet.monitors[2].services = {"shop": counted(3)}
        fleet.open(0)
        await fleet.read(lambda: fleet.services() == {"shop": 5})
        fleet.dead.add(2)
        fleet.monitors[0].relay.look()
        await fleet.read(lambda: fleet.services() == {"shop": 2})
        fleet.dead.add(1)
        fleet.monitors[0].relay.look()
        await fleet.read(lambda: fleet.services() == {})

    run(scenario)


def test_a_watch_that_breaks_begins_again_with_all_counts(monkeypatch):
    monkeypatch.setattr(relay_module, "RETRY_S", 0.001)

    async def scenario(fleet):
        fleet.monitors[1].services = {"shop": counted(2), "old": counted(1)}
        fleet.open(0)
        await fleet.read(lambda: fleet.services() == {"shop": 2, "old": 1})
        fleet.cut.add(1)
        fleet.monitors[1].count("old", 0)  # is not seen
        fleet.monitors[1].count("shop", 4)
        fleet.cut.clear()
        await fleet.read(lambda: fleet.services() == {"shop": 4})

    run(scenario)


def test_a_monitor_that_watches_too_slowly_is_cut_off(monkeypatch):
    monkeypatch.setattr(relay_module, "MOST_WAITING", 2000)

    async def scenario(fleet):
        served = fleet.monitors[0].relay.serve("1")
        assert await served.__anext__()
        for n in range(300):
            fleet.monitors[0].relay.publish("held", [n] * 10)
        rest = [one async for one in served]
        assert len(rest) < 300
        assert fleet.monitors[0].relay.stats()["cut_off"] == 1
        assert not fleet.monitors[0].relay.watched

    run(scenario)


def test_what_a_monitor_refuses_or_says_wrongly_does_not_end_its_watch(monkeypatch):
    """As one of another version in a rolling upgrade."""
    monkeypatch.setattr(relay_module, "RETRY_S", 0.001)

    async def scenario(fleet):
        fleet.monitors[1].services = {"shop": counted(2)}
        fleet.raises = [Problem(501, "unknown_part", "not known"), Problem(503, "busy", "busy"), KeyError("total")]
        fleet.open(0)
        await fleet.read(lambda: fleet.services() == {"shop": 2} and not fleet.raises)
        assert fleet.monitors[0].relay.stats()["watch_errors"] == 3

    run(scenario)
