# SPDX-License-Identifier: MIT
"""A registry on a manual clock and a fake wall clock, and instances that beat in it."""

from __future__ import annotations

import itertools
from collections import Counter

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import Beat, Hold, HoldState, Limits, State
from heartfelt.monitor.reasons import english
from heartfelt.monitor.store import Saved
from heartfelt.testing import ManualClock

EPOCH_MS = 1_700_000_000_000
NO_HOLD = HoldPolicy(enable=False)


def saved(rows=(), next_id=1, next_seq=1, hold=None, runs=(), next_run=1):
    return Saved(
        instances=list(rows),
        next_id=next_id,
        next_seq=next_seq,
        hold=Hold() if hold is None else hold,
        runs=list(runs),
        next_run=next_run,
        closed_cleanly=True,
        last_written_ms=None,
    )


class World:
    """policy: by default none but that nothing is held. work_s: what a poll measures its time by; by default that is
    up with the first round."""

    def __init__(self, policy=None, limits=None, clock=None, wall_ms=EPOCH_MS, work_s=None):
        self.clock = ManualClock() if clock is None else clock
        self.wall_offset_ms = wall_ms - round(self.clock.time() * 1000)
        self.changes, self.rows, self.holds, self.events = [], {}, [], []
        self.stored = {}  # as `rows`, and those that were restored
        self.registry = Registry(
            Policy(hold=NO_HOLD) if policy is None else policy,
            clock=self.clock,
            wall_ms=self.wall_ms,
            limits=Limits() if limits is None else limits,
            work_s=itertools.count().__next__ if work_s is None else work_s,
        )
        self.registry.on_change.append(self._changed)
        self.registry.on_row.append(self._row)
        self.registry.on_hold.append(self.holds.append)
        self.registry.on_event.append(self.events.append)
        self.runs = {}
        self.registry.on_run.append(lambda run: self.runs.__setitem__(run.number, run))

    def wall_ms(self):
        return self.wall_offset_ms + round(self.clock.time() * 1000)

    def _changed(self, change):
        self.changes.append(change)
        if change.new is State.REMOVED:
            self.rows.pop(change.id, None)
            self.stored.pop(change.id, None)

    def _row(self, row):
        self.rows[row.id] = self.stored[row.id] = row

    def beat(self, name="web/1", *, peer="10.0.0.7", via="http", **fields):
        service, _, instance_id = name.rpartition("/")
        return self.registry.beat(Beat(service=service, instance_id=instance_id, via=via, peer=peer, **fields))

    def job(self, what, name="job/a", rid="", **options):
        """A report about a run: "begins", "progresses" or "ends", with fields of the beat that carries it."""
        service, _, _ = name.rpartition("/")
        fields = {
            one: options.pop(one) for one in list(options) if one in Beat.__struct_fields__ and one != "timeout_ms"
        }
        beat = Beat(service=service, instance_id=name.rpartition("/")[2], via="ping", peer="10.0.0.7", **fields)
        return getattr(self.registry.jobs, what)(beat, rid, **options)

    def starts(self, name="job/a", rid="", **options):
        return self.job("begins", name, rid, **options)

    def progress(self, name="job/a", rid="", **options):
        return self.job("progresses", name, rid, **options)

    def ok(self, name="job/a", rid="", **options):
        return self.job("ends", name, rid, failed=False, **options)

    def fail(self, name="job/a", rid="", **options):
        return self.job("ends", name, rid, failed=True, **options)

    def results(self):
        """The runs' results, the oldest run first."""
        return [self.runs[number].result.value for number in sorted(self.runs)]

    def goodbye(self, name):
        service, _, instance_id = name.rpartition("/")
        return self.registry.goodbye(service, instance_id)

    def of(self, name):
        service, _, instance_id = name.rpartition("/")
        return self.registry.find(service, instance_id)

    def state(self, name="web/1"):
        instance = self.of(name)
        return None if instance is None else instance.state

    def poll(self):
        """Until nothing is left; returns what the longest poll did."""
        longest = 0
        while done := self.registry.poll():
            longest = max(longest, done)
        return longest

    def advance(self, seconds):
        self.clock.advance(seconds)
        self.poll()

    def join(self, *names, **fields):
        """Instances that are UP."""
        for _ in range(2):
            for name in names:
                self.beat(name, **fields)
        self.poll()

    def keep_alive(self, service="web"):
        """An instance that stays, so that none of the service's others is its last."""
        self.join(f"{service}/alive", timeout_ms=31 * 86_400_000)

    def run(self, seconds, *, beating=(), every=3.0, step=0.25):
        """Time passes in steps; those who beat do so at their interval, each at its own phase in it."""
        n_steps = round(seconds / step)
        per_round = max(1, round(every / step))
        for n in range(n_steps):
            self.clock.advance(step)
            self.registry.poll()
            for k, name in enumerate(beating):
                if n % per_round == k % per_round:
                    self.registry.renew(self.of(name))
            self.poll()

    def told(self, name=None, since=0):
        """The changes' new states, of one instance or of all."""
        return [
            change.new
            for change in self.changes[since:]
            if name is None or f"{change.service}/{change.instance_id}" == name
        ]

    def last(self):
        return self.changes[-1]

    def why(self):
        """The reason of the last change, in English."""
        return english(self.changes[-1].reason)

    def lost(self):
        return [f"{change.service}/{change.instance_id}" for change in self.changes if change.new is State.LOST]

    @property
    def hold(self):
        return self.registry.hold()

    def check(self):
        """Whatever happened: counts, rows and changes agree with the instances."""
        registry = self.registry
        instances = list(registry.instances())
        by_service = {}
        for instance in instances:
            by_service.setdefault(instance.service, Counter())[instance.counts_as] += 1
            assert registry.find(instance.service, instance.instance_id) is instance
            assert registry.get(instance.id) is instance
            assert not instance.plain or instance.state is State.UP
            assert not instance.held or instance.state in (State.LATE, State.FAILED)
        assert {name: dict(counts.states) for name, counts in registry.services().items()} == by_service
        assert registry.totals().total == len(instances) == len(registry)
        assert registry.totals().states == Counter(instance.counts_as for instance in instances)
        held = sum(instance.held for instance in instances)
        assert registry.totals().held == held == sum(counts.held for counts in registry.services().values())
        if self.hold.state is not HoldState.NONE:
            assert self.hold.held == held
        assert sum(registry.applications().values()) == len(instances)
        assert [change.seq for change in self.changes] == list(
            range(self.changes[0].seq, self.changes[0].seq + len(self.changes)) if self.changes else []
        )
        latest = {change.id: change.new for change in self.changes}
        for instance in instances:
            assert latest.get(instance.id, instance.state) is instance.state
        for instance_id, row in self.rows.items():
            instance = registry.get(instance_id)
            assert (row.state, row.reason, row.meta) == (instance.state, instance.reason, instance.meta)
        assert registry.stats()["listener_errors"] == 0

    def close(self):
        self.registry.close()


def told(world):
    change = world.last()
    return change.old, change.new, change.level
