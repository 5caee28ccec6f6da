# SPDX-License-Identifier: MIT
"""Three monitors, 200 instances that move, die and come back; monitors that stop and go on, or die: held against what
was sent.

No loss without silence, no silence without a loss, none twice. HEARTFELT_EXAMPLES=n runs that many other seeds.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict

import pytest

from heartfelt.monitor.model import State
from tests.monitor.cluster.test_owned import TIMEOUT, text
from tests.monitor.cluster.truth import LEASE_S, SETTLE_MS, Fleet, Node

N = 200
STEP_S = 0.05
INTERVAL_MS, TIMEOUT_MS = 2000, 6000
FOUND_MS = SETTLE_MS + 300
"""A loss is found this long after its deadline if its owner runs,"""
ADOPTED_MS = TIMEOUT_MS / 4 + LEASE_S * 1000 + 5000 + 1500
"""and this much longer for each monitor that stopped meanwhile."""
PASSED_ON_MS = 1200
"""A beat is passed on after this time at the latest: its owner may have stopped, too, and it goes to another one."""


class Agent:
    def __init__(self, n, node, rng):
        self.n, self.node, self.rng = n, node, rng
        self.by_key = n % 4 == 0
        self.name = (f"shop/{n}",) * 2 if self.by_key else ("shop", f"shop-{n}")
        self.name = ("shop", f"shop/{n}") if self.by_key else self.name
        self.balanced = n % 5 == 0
        self.due_ms = rng.randrange(INTERVAL_MS)
        self.number = 0
        self.heard = []  # (ms, node) of each beat that a monitor has taken
        self.dead_until_ms = 0.0

    def send(self, node, now_ms):
        self.number += 1
        self.heard.append((now_ms, node.id))
        if self.by_key:
            node.udp(self.name[1])
        else:
            node.beat(text(self.number, name=self.name[1]))


class Simulation:
    def __init__(self, seed, *, failures=True, n=N):
        self.rng = random.Random(seed)
        self.fleet = Fleet(3, policy=TIMEOUT)
        self.truth = self.fleet.truth
        self.failures = failures
        self.agents = [Agent(k, self.pick(), self.rng) for k in range(n)]
        self.stopped = None  # (node, goes on at, began at)
        self.buffered = []
        self.n_nodes = 3
        self.down = []  # (from, until) of each monitor that was stopped or killed
        self.lost_with = []  # (node, ms): stopped or killed then

    def now_ms(self):
        return self.truth.now_ms()

    def running(self):
        return [node for node in self.fleet.nodes if node.runs]

    def pick(self):
        return self.rng.choice(self.running())

    # -- what happens

    def step(self):
        self.truth.clock.advance(STEP_S)
        now_ms = self.now_ms()
        if self.failures:
            self.fail(now_ms)
        for agent in self.agents:
            if agent.due_ms <= now_ms and agent.dead_until_ms <= now_ms:
                self.act(agent, now_ms)
        self.fleet.turn()
        if round(now_ms) % 250 == 0:
            for node in self.running():
                node.adopt()

    def act(self, agent, now_ms):
        rng = self.rng
        if rng.random() < 0.01:  # it dies, for good or for a while
            agent.dead_until_ms = now_ms + rng.choice((7000, 12_000, 25_000, 10**9))
            agent.node = self.pick()
            return
        if agent.balanced or rng.random() < 0.02:
            agent.node = rng.choice(self.fleet.nodes)
        if agent.node.runs:
            agent.send(agent.node, now_ms)
            agent.due_ms = now_ms + INTERVAL_MS
            return
        if agent.node in self.fleet.nodes and rng.random() < 0.5:  # it waits in the socket of a stopped one
            self.buffered.append(agent)
        agent.node = self.pick()  # it connects again
        agent.due_ms = now_ms + rng.choice((100, 500, 1500))

    def fail(self, now_ms):
        rng = self.rng
        if self.stopped is not None:
            node, until_ms, began_ms = self.stopped
            if now_ms >= until_ms:
                self.go_on(node, began_ms)
            return
        if rng.random() >= 0.006:
            return
        node = self.pick()
        node.runs = False
        self.lost_with.append((node.id, now_ms))
        if rng.random() < 0.4:
            self.kill(node)
        else:
            self.stopped = node, now_ms + rng.choice((300, 2000, 6000, 9000)), now_ms
            self.down.append([now_ms, self.stopped[1]])

    def kill(self, node):
        now_ms = self.now_ms()
        self.down.append([now_ms, now_ms + LEASE_S * 1000])
        self.fleet.nodes.remove(node)
        node.close()
        self.n_nodes += 1
        self.fleet.nodes.append(Node(self.truth, f"n{self.n_nodes}", self.n_nodes, policy=TIMEOUT))

    def go_on(self, node, began_ms):
        self.stopped = None
        node.runs = True
        node.registry.stalled(self.now_ms() - began_ms)
        node.late = True
        first = self.rng.random() < 0.5
        if first:
            node.renew()
        for agent in self.buffered:
            if agent.dead_until_ms <= self.now_ms():
                agent.send(node, self.now_ms())
        self.buffered.clear()
        if not first:
            node.renew()

    # -- what must be true

    def check(self, ends_ms):
        losses = defaultdict(list)
        last = {}
        for ms, name, old, new, _ in self.truth.history:
            assert old is last.get(name), (name, ms, old, last.get(name))  # each change continues the one before
            last[name] = new
            if new is State.LOST:
                losses[name].append(ms)
        n_found = 0
        for agent in self.agents:
            n_found += self.check_agent(agent, losses[agent.name], ends_ms)
        return n_found

    def check_agent(self, agent, losses, ends_ms):
        n_found = 0
        heard = [ms for ms, _ in agent.heard]
        assert heard or not losses
        sure = [ms for ms, node in agent.heard if not self.is_lost(ms, node)]
        for ms in losses:
            silent_ms = ms - max((one for one in sure if one <= ms), default=0.0)
            assert silent_ms >= TIMEOUT_MS, f"{agent.name} is lost at {ms} after {silent_ms} ms; {heard[-5:]}"
        for begin_ms, end_ms in zip(heard, [*heard[1:], ends_ms], strict=False):
            within = [ms for ms in losses if begin_ms < ms <= end_ms]
            assert len(within) <= 1, f"{agent.name} is lost twice: {within}"
            by_ms = begin_ms + TIMEOUT_MS + FOUND_MS
            for from_ms, until_ms in sorted(self.down):
                by_ms += ADOPTED_MS if from_ms < by_ms and until_ms > begin_ms - 2000 else 0
            if end_ms > by_ms:
                assert within, f"{agent.name} is silent from {begin_ms} to {end_ms} and not lost; {self.down}"
                n_found += 1
        return n_found

    def is_lost(self, ms, node):
        """A beat that a monitor had not passed on when it stopped or died."""
        return any(node == id and at_ms - PASSED_ON_MS <= ms for id, at_ms in self.lost_with)

    def end(self):
        """Everything settles; each instance is in one registry, or in none that lives."""
        if self.stopped is not None:
            self.go_on(self.stopped[0], self.stopped[2])
        for agent in self.agents:
            agent.dead_until_ms = 10**12
        for _ in range(round(30 / STEP_S)):
            self.failures = False
            self.step()
        self.fleet.check()
        for node in self.fleet.nodes:
            assert len(node.foreign.pending) == 0
            for instance in node.registry.instances():
                entry = self.truth.entries[instance.service, instance.instance_id]
                assert (entry.id, entry.owner, entry.row.state) == (instance.id, node.id, instance.state)
        assert sum(len(node.registry) for node in self.fleet.nodes) == len(self.truth.entries)


def run(seed, seconds, **options):
    simulation = Simulation(seed, **options)
    try:
        for _ in range(round(seconds / STEP_S)):
            simulation.step()
        ends_ms = simulation.now_ms()
        n_found = simulation.check(ends_ms)
        simulation.end()
        return simulation, n_found
    finally:
        simulation.fleet.close()


def test_agents_that_move_among_monitors_that_run():
    simulation, n_found = run(7, 40.0, failures=False)
    assert n_found >= 10
    assert sum(node.registry.owned.adopted for node in simulation.fleet.nodes) > 0


SEEDS = [random.randrange(10**6) for _ in range(int(os.environ.get("HEARTFELT_EXAMPLES", "0")))] or [1, 2, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_monitors_that_stop_and_die(seed):
    simulation, n_found = run(seed, 60.0)
    assert simulation.down and n_found >= 0
