# SPDX-License-Identifier: MIT
"""Lets the nodes of a fleet on a manual clock tell each other what they count, as cluster/census.py does."""

from __future__ import annotations

import json

import msgspec

from heartfelt.monitor.fleet.others import CensusAnswer
from tests.monitor.cluster.truth import SETTLE_MS
from tests.monitor.ingest.world import heartbeat


class Counting:
    """`advance` in place of the fleet's. cut: pairs of nodes, in either order, that cannot reach each other."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.cut = set()
        self.asked = 0
        self._wanted = {}
        self.number = 0
        self._last = {}
        for node in fleet.nodes:
            others = node.registry.owned.others
            others.set_living(node.id, [one.id for one in fleet.nodes])
            others.on_want = lambda service, node=node: self._want(node, service)

    def _want(self, node, service):
        self._wanted[node.id, service] = self.fleet.truth.now_ms() + SETTLE_MS

    def exchange(self):
        now_ms = self.fleet.truth.now_ms()
        for node in self.fleet.nodes:
            services = [s for (id, s), until_ms in self._wanted.items() if id == node.id and until_ms >= now_ms]
            for other in self.fleet.nodes if services else ():
                if other is node or {node.id, other.id} in self.cut:
                    continue
                self.asked += 1
                answer = msgspec.msgpack.encode(other.registry.owned.answer([one for one in services if one]))
                node.registry.owned.took(other.id, msgspec.msgpack.decode(answer, type=CensusAnswer))

    def advance(self, seconds, step=0.05):
        for _ in range(round(seconds / step)):
            self.fleet.truth.clock.advance(step)
            self.fleet.turn()
            self.exchange()

    # -- instances

    def beat(self, node, *names, service="shop", interval_ms=2000, **more):
        """Each beat is the instance's next."""
        for name in names:
            n = self._last[service, name] = self._last.get((service, name), 0) + 1
            if interval_ms is None:
                text = json.dumps({"service": service, "instanceId": name, "timeoutMs": 6000, **more}).encode()
            else:
                at = 1_700_000_000_000 + n * 2000
                text = heartbeat(service=service, instance_id=name, at=at, number=n, intervalMs=interval_ms, **more)
            node.beat(text)

    def run(self, seconds, who, *, every=2.0, each=0.05, **more):
        """Lets instances beat. who: (node, names) of each part; they take turns."""
        for _ in range(round(seconds / every)):
            for node, names in who:
                self.beat(node, *names, **more)
            self.advance(every, each)


def lost(fleet, service="shop"):
    """The names of this service's instances of which the loss was told, in order."""
    told = [(name, new) for _, name, _, new, _ in fleet.truth.history]
    return [name for (of, name), new in told if of == service and new.name == "LOST"]


def holds(fleet):
    """How many losses each node holds, and why."""
    found = [node.registry.hold() for node in fleet.nodes]
    return [(hold.held, hold.reason.code) for hold in found]
