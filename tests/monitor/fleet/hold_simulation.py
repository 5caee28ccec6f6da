# SPDX-License-Identifier: MIT
"""Simulates fleets whose network, monitor or beats fail, and counts what each policy of the hold does with the losses.

As a program it prints the table of docs/holds.md: python -m tests.monitor.fleet.hold_simulation [FLEETS [FIRST_SEED]]

The registry is the real one, on a manual clock that advances by a second at a time. Each fleet is made from its seed
alone, so each policy gets the same fleets. A fleet lives through four troubles, with quiet times between them in
which it is whole again: single instances that die, a cut of the network, an outage of the monitor, and a leak. In each
of the last three, an instance may really die.

An agent that is cut off comes back as its kind does: one that keeps no connection with its next beat; heartfelt's own
by its back-off, whose longest wait is a third of the timeout; Sermant's by waits of 5, 10, 20, 40, 80, 160, 180 s.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import HoldState, Limits, State
from heartfelt.testing import ManualClock
from tests.monitor.fleet.world import World, saved

SERMANT_WAITS_S = (5, 10, 20, 40, 80, 160)
LAST_WAIT_S = 180
QUIET_S = 30
APART_S = 130
"""Longer than any window of the hold."""
PLAIN, OWN, SERMANT = "udp", "http", "sermant"
PATIENCE_S = 1500
"""A loss that is not told within this time is missed."""
SIZES = (1, 10_000)
LENGTHS_S = (1, 600)
"""The range for cuts and outages."""
LEAKS = (0.05, 0.5)
LEAK_S = 300
MIXED = 50
"""Smaller fleets have one interval and timeout: a timeout that ends before any other instance's beat is due is a loss
alone, whatever its cause."""


def log_uniform(rng, least, most):
    return round(least * (most / least) ** rng.random())


@dataclass
class Member:
    """An instance, and the truth about it."""

    service: str
    name: str
    via: str
    interval_s: int
    lease_s: int
    phase_s: int
    dead: bool = False
    back_s: int = 0
    """It cannot be heard before."""
    sent_s: int = 0
    """Its last beat that arrived."""
    instance: object = None


@dataclass
class Counted:
    """Figures of a policy, by kind of trouble."""

    false: Counter = field(default_factory=Counter)
    """Alarms about instances that were alive."""
    missed: Counter = field(default_factory=Counter)
    """Dead instances of which nobody was told until the end."""
    real: Counter = field(default_factory=Counter)
    delayed: Counter = field(default_factory=Counter)
    """Dead instances of which people were told more than 2 s after their timeout, or after the monitor's return."""
    longest_s: Counter = field(default_factory=Counter)
    holds: int = 0

    def add(self, other):
        for name in ("false", "missed", "real", "delayed"):
            getattr(self, name).update(getattr(other, name))
        for kind, longest_s in other.longest_s.items():
            self.longest_s[kind] = max(self.longest_s[kind], longest_s)
        self.holds += other.holds


class Fleet:
    """A fleet and its monitor, from a seed. `live()` lets all of it happen and returns the Counted."""

    def __init__(self, seed, policy, most=SIZES[1]):
        self.rng = random.Random(seed)
        self.size = log_uniform(self.rng, SIZES[0], most)
        self.policy = Policy(hold=policy)
        self.clock = ManualClock()
        self.now_s = 0
        self.epoch_s = 0
        self.world = World(policy=self.policy, clock=self.clock, limits=Limits(instances=self.size))
        self.members = self._members()
        self.by_key = {(one.service, one.name): one for one in self.members}
        self.slots = {}
        for one in self.members:
            self.slots.setdefault((one.interval_s, one.phase_s), []).append(one)
        self.intervals = sorted({interval_s for interval_s, _ in self.slots})
        self.returning = {}
        self.counted = Counted()
        self.trouble = "quiet"
        self.died_in = {}
        self.told = set()
        self.cut = False
        self.leak = 0.0
        self.start_s = None
        self.stalled_s = (0, 0)
        self._listen()

    def _members(self):
        rng = self.rng
        in_bursts = rng.random() < 0.2
        members = []
        while len(members) < self.size:
            service = f"s{len(members)}"
            if not members or self.size >= MIXED:
                via = PLAIN if in_bursts else rng.choice((PLAIN, OWN, SERMANT))
                if via == SERMANT:
                    interval_s, lease_s = rng.choice((10, 20)), 60
                else:
                    interval_s = 60 if in_bursts else rng.choice((20, 30) if self.size > 500 else (3, 5, 10, 20, 30))
                    lease_s = max(int(interval_s * rng.choice((2.5, 3, 3, 4))), 10)  # with 2, each lost beat is a loss
            for n in range(min(log_uniform(rng, 1, 60), self.size - len(members))):
                phase_s = rng.randrange(2) if in_bursts else rng.randrange(interval_s)
                members.append(Member(service, str(n), via, interval_s, lease_s, phase_s))
        return members

    def _listen(self):
        self.world.registry.on_change.append(self._changed)

    def _changed(self, change):
        if change.new is not State.LOST:
            return
        member = self.by_key[change.service, change.instance_id]
        if not member.dead:
            self.counted.false[self.trouble] += 1
            return
        self.told.add((member.service, member.name))
        kind = self.died_in[member.service, member.name]
        due_s = member.sent_s + member.lease_s
        if self.start_s is not None and member.sent_s < self.start_s:
            due_s = self.start_s + member.lease_s
        if self.stalled_s[0] <= due_s < self.stalled_s[1]:
            due_s = self.stalled_s[1]
        delay_s = self.now_s - due_s
        self.counted.delayed[kind] += delay_s > 2
        self.counted.longest_s[kind] = max(self.counted.longest_s[kind], delay_s)

    # -- time

    def run(self, seconds):
        for _ in range(seconds):
            self._second()

    def _second(self):
        self.clock.advance(1)
        self.now_s += 1
        now_s, world = self.now_s, self.world
        world.poll()
        for interval_s in self.intervals:
            for one in self.slots.get((interval_s, now_s % interval_s), ()):
                if not one.dead and one.back_s <= now_s:
                    self._beat(one)
        for one in self.returning.pop(now_s, ()):
            if not one.dead and one.back_s <= now_s:
                self._beat(one)

    def _beat(self, one):
        if self.cut or (self.leak and self.rng.random() < self.leak):
            return
        one.sent_s = self.now_s
        instance = one.instance
        if instance is None or instance.state is State.REMOVED:
            one.instance = self.world.beat(
                f"{one.service}/{one.name}", via=one.via, interval_ms=one.interval_s * 1000,
                timeout_ms=one.lease_s * 1000,
            )  # fmt: skip
        else:
            self.world.registry.renew(instance)

    # -- troubles

    def _dies(self):
        one = self.rng.choice(self.members)
        one.dead = True
        self.died_in[one.service, one.name] = self.trouble
        self.counted.real[self.trouble] += 1

    def _may_die(self):
        if self.rng.random() < 0.5 and self.size > 1:
            self._dies()

    def _all_alive(self):
        """All that had died are started again, and beat."""
        for one in self.members:
            if one.dead:
                key = one.service, one.name
                if key not in self.told:
                    self.counted.missed[self.died_in[key]] += 1
                self.told.discard(key)
                one.dead, one.back_s = False, self.now_s
        self.run(APART_S)
        self.trouble = "quiet"

    def _settle(self):
        """Until all that is held was told or came back, and the dead were found, if they ever are."""
        self.run(QUIET_S + max(one.lease_s for one in self.members))
        for _ in range(PATIENCE_S // 10):
            unknown = [one for one in self.members if one.dead and (one.service, one.name) not in self.told]
            if self.world.hold.state is HoldState.NONE and not unknown:
                break
            self.run(10)
        self._all_alive()

    def _away_until(self, began_s, end_s):
        """The members come back after end_s, as their kinds do."""
        for one in self.members:
            if one.via == PLAIN:
                continue
            try_s = began_s + self.rng.uniform(0, one.interval_s)
            waits = list(SERMANT_WAITS_S) if one.via == SERMANT else []
            base_s = 5.0
            while try_s < end_s:
                if one.via == SERMANT:
                    try_s += waits.pop(0) if waits else LAST_WAIT_S
                else:
                    most_s = one.lease_s / 3
                    base_s = min(base_s, most_s)
                    try_s += base_s * self.rng.uniform(0.5, 1)
                    base_s = min(2 * base_s, most_s)
            one.back_s = int(try_s) + 1
            if one.via == OWN:
                self.returning.setdefault(one.back_s, []).append(one)

    def single_loss(self):
        self.trouble = "alone"
        self._dies()
        self._settle()

    def network_cut(self):
        self.trouble = "cut" if self.size > 1 else "cut of one"
        length_s = log_uniform(self.rng, *LENGTHS_S)
        self._away_until(self.now_s, self.now_s + length_s)
        self.cut = True
        self.run(length_s // 2)
        self._may_die()
        self.run(length_s - length_s // 2)
        self.cut = False
        self._settle()

    def outage(self):
        """The monitor is stalled, or ends and is started again."""
        length_s = log_uniform(self.rng, *LENGTHS_S)
        restarts = self.rng.random() < 0.5
        self.trouble = "restart" if restarts else "stall"
        began_s = self.now_s
        self._may_die()
        registry = self.world.registry
        rows = [registry.row(one) for one in registry.instances()]
        book = registry._book
        if restarts:
            self.counted.holds += registry.stats()["holds"]
            self.world.close()
        self.clock.advance(length_s)
        self.now_s += length_s
        self._away_until(began_s, self.now_s)
        if restarts:
            wall_ms = self.world.wall_ms()
            self.world = World(
                policy=self.policy, clock=self.clock, limits=Limits(instances=self.size), wall_ms=wall_ms
            )
            self._listen()
            self.world.registry.restore(saved(rows, book.next_id, book.next_seq))
            for one in self.members:
                one.instance = self.world.of(f"{one.service}/{one.name}")
            self.start_s = self.now_s
        else:
            self.stalled_s = began_s, self.now_s
            registry.stalled(length_s * 1000.0)
        self._settle()

    def leaks(self):
        self.trouble = "leak"
        self.leak = self.rng.uniform(*LEAKS)
        self.run(LEAK_S // 2)
        self._may_die()
        self.run(LEAK_S // 2)
        self.leak = 0.0
        self._settle()

    def live(self):
        self.run(APART_S)
        self.single_loss()
        self.network_cut()
        self.outage()
        self.leaks()
        self.counted.holds += self.world.registry.stats()["holds"]
        self.world.close()
        return self.counted


POLICIES = {
    "**the default**": HoldPolicy(),
    "no hold (`hold.enable = false`)": HoldPolicy(enable=False),
    "`hold.longest` = 5 min": HoldPolicy(longest_ms=300_000),
    "`hold.reconnect` = 0": HoldPolicy(reconnect_ms=0),
    "`hold.leak` = 100 %": HoldPolicy(leak=1.0),
}
COLUMNS = (
    "policy", "false: cut", "outage", "leak", "cut of one", "missed", "delayed", "longest delay", "delayed alone",
)  # fmt: skip
OUTAGES = ("stall", "restart")


def simulated(policy, seeds, most=SIZES[1]):
    total = Counted()
    for seed in seeds:
        total.add(Fleet(seed, policy, most).live())
    return total


def cells(name, one):
    false = [one.false["cut"], sum(one.false[kind] for kind in OUTAGES), one.false["leak"]]
    others = sum(one.false.values()) - sum(false)
    delayed = f"{sum(one.delayed.values())} of {sum(one.real.values())}"
    alone = f"{one.delayed['alone']} of {one.real['alone']}"
    figures = [*false, others, sum(one.missed.values()), delayed, f"{max(one.longest_s.values())} s", alone]
    return [name, *(f"{figure:,}" if isinstance(figure, int) else figure for figure in figures)]


def main(arguments):
    count = int(arguments[0]) if arguments else 200
    first = int(arguments[1]) if len(arguments) > 1 else 1
    print(f"seeds {first} to {first + count - 1}\n", flush=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name, policy in POLICIES.items():
        one = simulated(policy, range(first, first + count))
        print(f"| {' | '.join(cells(name, one))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
