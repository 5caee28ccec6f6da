# SPDX-License-Identifier: MIT
"""Many monitors on one manual clock, and one truth that they share, as Redis does: no network, no threads."""

from __future__ import annotations

import itertools
from zlib import crc32

from heartfelt.monitor.fleet.owners import TakenOver, run_number
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import HttpIngest
from heartfelt.monitor.ingest.intake import Intake
from heartfelt.monitor.model import Limits, RunResult, State
from heartfelt.testing import ManualClock
from tests.monitor.fleet.world import EPOCH_MS, NO_HOLD

LEASE_S = 5.0
SETTLE_MS = 200.0
COMEBACK_MS = 5000.0
SLACK = 1.25


class Entry:
    """The owner of an instance, and its row."""

    def __init__(self, id, owner):
        self.id, self.owner = id, owner
        self.row = None
        self.deadline_ms = 0.0
        self.runs = {}


class Truth:
    def __init__(self, clock=None):
        self.clock = ManualClock() if clock is None else clock
        self.entries = {}
        self.nodes = {}
        self.history = []  # (ms, name, old, new, monitor)
        self.reachable = True
        self.ids = itertools.count(64, 64)
        self.seqs = itertools.count(1 << 40)

    def now_ms(self):
        return self.clock.time() * 1000.0

    def wall_ms(self):
        return EPOCH_MS + round(self.now_ms())

    def lives(self, id):
        node = self.nodes.get(id)
        return node is not None and node.lease_ms > self.now_ms()

    def by_id(self, id):
        return next((entry for entry in self.entries.values() if entry.id == id), None)

    def told(self, name=None):
        return [new for _, one, _, new, _ in self.history if name is None or one == name]

    def record(self, node, change):
        self.history.append((self.now_ms(), (change.service, change.instance_id), change.old, change.new, node.id))


class FakeOwners:
    """Asks the truth for a node. Requests wait until the node pumps; the answers come within that."""

    settle_ms = SETTLE_MS
    comeback_ms = COMEBACK_MS

    def __init__(self, truth, node):
        self.truth, self.node = truth, node
        self.requests = []
        self.asked = []
        self.run = 0

    def unknown(self, name, *, joins):
        self.requests.append((self._unknown, name, joins))
        self.asked.append((name, joins))

    def lose(self, loss):
        self.requests.append((self._lose, loss))

    def next_run(self):
        self.run = run_number(self.run, self.truth.wall_ms(), self.node.number)
        return self.run

    def take(self, name):
        """MOVE with consent."""
        self.requests.append((self._take, name))

    def pump(self):
        requests, self.requests = self.requests, []
        for what, *args in requests:
            what(*args)

    def _unknown(self, name, joins):
        truth, node = self.truth, self.node
        if not truth.reachable:
            return
        entry = truth.entries.get(name)
        if entry is None or (entry.row is None and (entry.owner == node.id or not truth.lives(entry.owner))):
            if not joins:
                node.foreign.nobody(name)
                return
            truth.entries[name] = Entry(next(truth.ids), node.id)
            node.foreign.mine(name, truth.entries[name].id)
        elif entry.owner == node.id:
            node.foreign.mine(name, entry.id)
        elif truth.lives(entry.owner):
            node.foreign.theirs(name, entry.id, entry.owner)
        else:
            node.foreign.moved([self._move(entry)], stopped=True)

    def _move(self, entry):
        former = self.truth.nodes.get(entry.owner)
        if former is not None:
            former.moved_away.append(entry.id)
        entry.owner = self.node.id
        return self.taken(entry)

    def taken(self, entry):
        runs = [run for run in entry.runs.values() if run.result in (RunResult.RUNNING, RunResult.OVERDUE)]
        left_ms = entry.deadline_ms - self.truth.now_ms() if entry.deadline_ms else 0.0
        return TakenOver(entry.row, left_ms, runs)

    def _take(self, name):
        entry = self.truth.entries.get(name)
        if self.truth.reachable and entry is not None and entry.row is not None and entry.owner != self.node.id:
            self.node.foreign.moved([self._move(entry)], stopped=False)

    def _lose(self, loss):
        truth, node, asking = self.truth, self.node, self.node.registry.owned.asking
        entry = truth.entries.get((loss.service, loss.instance_id))
        if not truth.reachable:
            asking.unreachable(loss)
        elif not truth.lives(node.id):
            asking.early(loss, 100.0)
        elif entry is None or entry.owner != node.id or entry.id != loss.id:
            asking.refused(loss)
        elif (left_ms := loss.deadline_ms - truth.wall_ms()) > 0:
            asking.early(loss, left_ms)
        else:
            entry.row, entry.deadline_ms = loss.row, 0.0
            truth.record(node, loss.change)
            seq = next(truth.seqs)
            node.recorded.add(seq)
            asking.accepted(loss, seq)


class Node:
    """A monitor: a registry, its ingests, and what the cluster does for them."""

    def __init__(self, truth, id, number=0, policy=None, limits=None):
        self.truth, self.id, self.number = truth, id, number
        truth.nodes[id] = self
        self.lease_ms = truth.now_ms() + LEASE_S * 1000
        self.moved_away, self.recorded, self.changes, self.events, self.rows = [], set(), [], [], {}
        self.owners = FakeOwners(truth, self)
        limits = Limits() if limits is None else limits
        self.registry = Registry(
            Policy(hold=NO_HOLD) if policy is None else policy,
            clock=truth.clock,
            wall_ms=truth.wall_ms,
            limits=limits,
            work_s=itertools.count().__next__,
            owners=self.owners,
        )
        self.registry.on_change.append(self._changed)
        self.registry.on_row.append(self._row)
        self.registry.on_run.append(self._run)
        self.registry.on_event.append(self.events.append)
        self.intake = Intake(self.registry, limits, wall_ms=truth.wall_ms, clock=truth.clock.time)
        self.http = HttpIngest(self.intake)
        self.foreign = self.intake.foreign
        self.runs = True  # it is not stopped
        self.sent = []  # (deliver at, sent at, forward)
        self.unanswered = {}

    def _entry(self, service, instance_id):
        entry = self.truth.entries.get((service, instance_id))
        return entry if entry is not None and entry.owner == self.id else None

    def _changed(self, change):
        self.changes.append(change)
        entry = self._entry(change.service, change.instance_id)
        if change.seq in self.recorded or entry is None:
            return
        self.truth.record(self, change)
        if change.new is State.REMOVED:
            del self.truth.entries[change.service, change.instance_id]

    def _row(self, row):
        self.rows[row.id] = row
        entry = self._entry(row.service, row.instance_id)
        if entry is not None and entry.id == row.id:
            entry.row = row

    def _run(self, run):
        instance = self.registry.get(run.id)
        if instance is not None and (entry := self._entry(instance.service, instance.instance_id)):
            entry.runs[run.number] = run

    # -- what comes in

    def beat(self, text, via="http", peer="10.0.0.7"):
        return self.intake.take(text, via, peer)

    def udp(self, *names, peer="10.0.0.7"):
        self.intake.take_names(b"\n".join(name.encode() for name in names), "udp", peer)

    def ping(self, path, query=b"", body=b"", peer="10.0.0.7"):
        """Returns the status."""
        answer, _ = self.http.answer("GET", path, path.encode(), query, (), body, peer)
        return answer[0]

    # -- what the cluster does

    def find(self, key):
        service, _, _ = key.rpartition("/")
        return self.registry.find(service or key, key)

    def state(self, name):
        instance = self.registry.find(*name)
        return None if instance is None else instance.state

    def poll(self):
        while self.registry.poll():
            pass

    def renew(self):
        """RENEW: its lease, and what was moved away from it."""
        truth = self.truth
        if not truth.reachable:
            return
        self.lease_ms = truth.now_ms() + LEASE_S * 1000
        moved, self.moved_away = self.moved_away, []
        gone = [one.id for one in self.registry.instances() if not self._owns(one)] if moved or self.late else moved
        self.late = False
        self.foreign.disown({*moved, *gone})

    late = False

    def _owns(self, instance):
        entry = self._entry(instance.service, instance.instance_id)
        return entry is not None and entry.id == instance.id

    def flush(self):
        """Writes the deadlines of what has beaten."""
        for id, beat_ms in self.registry.dirty_beats().items():
            instance = self.registry.get(id)
            if instance is None or (entry := self._entry(instance.service, instance.instance_id)) is None:
                continue
            if self.truth.reachable and entry.id == id:
                entry.deadline_ms = beat_ms - EPOCH_MS + SLACK * instance.lease_ms
                if entry.row is not None:
                    entry.row.last_beat_ms = max(entry.row.last_beat_ms, beat_ms)

    def adopt(self):
        """Takes over what the dead owned."""
        truth = self.truth
        if not truth.reachable or not truth.lives(self.id):
            return
        living = sorted(id for id in truth.nodes if truth.lives(id))
        mine = []
        for name, entry in truth.entries.items():
            if entry.row is None or truth.lives(entry.owner):
                continue
            if living[crc32(repr(name).encode()) % len(living)] == self.id:
                if (former := truth.nodes.get(entry.owner)) is not None:
                    former.late = True
                entry.owner = self.id
                mine.append(self.owners.taken(entry))
        self.foreign.adopt(mine)

    def forward(self, delay_ms=0.0):
        """Sends what it has heard for others, and delivers what has arrived."""
        now_ms = self.truth.now_ms()
        self.sent += [(now_ms + delay_ms, now_ms, one) for one in self.foreign.take_forwards()]
        waiting, self.sent = self.sent, []
        for at_ms, sent_ms, one in waiting:
            owner = self.truth.nodes.get(one.owner)
            if owner is None or not owner.runs:
                if now_ms - sent_ms < 1000.0 and self.truth.lives(one.owner):
                    self.sent.append((at_ms, sent_ms, one))
                else:
                    self.foreign.unsent(one)
            elif at_ms > now_ms:
                self.sent.append((at_ms, sent_ms, one))
            else:
                transit_ms = round(now_ms - sent_ms)
                one.ages_ms = [age + transit_ms for age in one.ages_ms]
                for raw in one.raws:
                    raw.age_ms += transit_ms
                reply = owner.foreign.forwarded(one, self.id)
                self.foreign.gone(one.owner, reply.gone)
                for id in reply.take:
                    entry = self.truth.by_id(id)
                    if entry is not None:
                        self.owners.take(next(name for name, e in self.truth.entries.items() if e is entry))

    def turn(self):
        """Everything, once."""
        self.renew()
        self.poll()
        self.owners.pump()
        self.forward()
        self.owners.pump()
        self.flush()
        self.poll()

    def check(self):
        """Counts agree with the instances, and no shadow is among them."""
        registry = self.registry
        instances = list(registry.instances())
        assert registry.totals().total == len(instances)
        for instance in instances:
            assert registry.find(instance.service, instance.instance_id) is instance
            assert (instance.service, instance.instance_id) not in self.foreign.shadows.by_name
        states = {}
        for instance in instances:
            states[instance.counts_as] = states.get(instance.counts_as, 0) + 1
        assert registry.totals().states == states
        watched = dict(registry.uptime.counts())
        assert sum(n for n, _ in watched.values()) == sum(
            one.state not in (State.LEFT, State.PAUSED) for one in instances
        )
        assert registry.stats()["listener_errors"] == 0
        shadows = self.foreign.shadows
        assert {one.of for one in shadows.by_name.values()} == set(shadows.by_id)
        assert shadows.n_bytes == sum(one.n_bytes for one in shadows.by_name.values())

    def close(self):
        self.registry.close()


class Fleet:
    """Several nodes. `turn` lets each do what it has to, once; `advance` lets time pass meanwhile."""

    def __init__(self, n=2, **options):
        self.truth = Truth()
        self.nodes = [Node(self.truth, chr(ord("a") + k), k, **options) for k in range(n)]

    def turn(self, times=1):
        for _ in range(times):
            for node in self.nodes:
                if node.runs:
                    node.turn()

    def advance(self, seconds, step=0.05):
        for _ in range(round(seconds / step)):
            self.truth.clock.advance(step)
            self.turn()

    def settle(self):
        """Until nothing is under way, without time."""
        self.turn(4)

    def check(self):
        for node in self.nodes:
            node.check()

    def close(self):
        for node in self.nodes:
            node.close()


__all__ = ["Entry", "Fleet", "Node", "Truth"]
