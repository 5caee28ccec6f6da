# SPDX-License-Identifier: MIT
"""A real registry on a manual clock and the model of it, driven by the same random operations, compared after each.

HEARTFELT_EXAMPLES=5000 runs that many new random examples; without it the same few run each time.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import State
from tests.monitor.fleet.machine_settings import machine_settings
from tests.monitor.fleet.model import RegistryModel
from tests.monitor.fleet.world import NO_HOLD, World, saved

TIMEOUT_MS, CACHE_MS, LEAST_MS, FACTOR = 8_000, 30_000, 1_000, 1.5
TIMEOUT = ServicePolicy(lease_timeout_ms=TIMEOUT_MS)  # set for the services, so that no period is learned
POLICY = Policy(
    services={"web": TIMEOUT, "db": TIMEOUT}, lease_cache_ms=CACHE_MS, least_lease_ms=LEAST_MS, late_factor=FACTOR,
    hold=NO_HOLD,
)  # fmt: skip
NAMES = ["web/1", "web/2", "db/1"]  # few, so that they meet their own past

names = st.sampled_from(NAMES)
intervals = st.sampled_from([None, None, 2_000, 3_001, 7_000])
timeouts = st.sampled_from([None, None, None, 50, 2_500, 20_000, 40_000])
words = st.sampled_from([None, None, None, False, True])
keys = st.sampled_from([False, False, False, True])
lags = st.sampled_from([None, None, 0, 10_000, 10_001, 14_001])
steps = st.sampled_from([1, 500, 1_000, 3_000, 8_000, 22_000, 30_000]) | st.integers(1, 12_000)


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(policy=POLICY)
        self.model = RegistryModel(TIMEOUT_MS, CACHE_MS, LEAST_MS, FACTOR)
        self.polled = True
        self.n_seen = 0

    @rule(name=names, interval_ms=intervals, timeout_ms=timeouts, lag_ms=lags, expected=words, by_key=keys)
    def beat(self, name, interval_ms, timeout_ms, lag_ms, expected, by_key):
        asked = {"interval_ms": interval_ms, "timeout_ms": timeout_ms, "expected": expected, "by_key": by_key}
        self.world.beat(name, lag_ms=lag_ms, **asked)
        self.model.beat(name, lag_ms=lag_ms, **asked)

    @rule(name=names)
    def renew(self, name):
        instance = self.world.of(name)
        if instance is not None:
            self.world.registry.renew(instance)
            self.model.renew(name)

    @rule(name=names, says=st.sampled_from([True, False, False, None]))
    def report(self, name, says):
        if says is None:
            self.world.progress(name, "r")
        else:
            (self.world.ok if says else self.world.fail)(name, "r")
        self.model.report(name, says)

    @rule(name=names)
    def goodbye(self, name):
        assert self.world.goodbye(name) is (name in self.model.things)
        self.model.goodbye(name)

    @rule(name=names, for_ms=st.sampled_from([None, 1, 5_000, 25_000]))
    def pause(self, name, for_ms):
        instance = self.world.of(name)
        if instance is not None:
            until_ms = None if for_ms is None else self.world.wall_ms() + for_ms
            assert self.world.registry.pause(instance.id, until_ms)
            self.model.pause(name, for_ms)

    @rule(name=names)
    def resume(self, name):
        instance = self.world.of(name)
        if instance is not None:
            self.world.registry.resume(instance.id)
            self.model.resume(name)

    @rule(name=names, for_ms=st.sampled_from([None, 1, 5_000, 25_000]))
    def ack(self, name, for_ms):
        instance = self.world.of(name)
        if instance is not None:
            until_ms = None if for_ms is None else self.world.wall_ms() + for_ms
            is_down = instance.state in (State.LOST, State.FAILED)
            assert self.world.registry.ack(instance.id, by="Ann", until_ms=until_ms) is is_down
            self.model.ack(name, for_ms)

    @rule(name=names)
    def withdraw_ack(self, name):
        instance = self.world.of(name)
        if instance is not None:
            assert self.world.registry.withdraw_ack(instance.id) is self.model.things[name].acked
            self.model.withdraw(name)

    @rule(name=names)
    def remove(self, name):
        instance = self.world.of(name)
        if instance is not None:
            assert self.world.registry.remove(instance.id, "test")
            self.model.remove(name)

    @rule(by_ms=steps)
    def advance(self, by_ms):
        self.world.clock.advance(by_ms / 1000)
        self.model.now += by_ms
        self.polled = False

    @rule(by_ms=steps)
    def advance_and_poll(self, by_ms):
        self.advance(by_ms)
        self.poll()

    @precondition(lambda self: not self.polled)
    @rule()
    def poll(self):
        self.world.poll()
        self.model.poll([name for name in NAMES if self.world.of(name) is not None])
        self.polled = True

    @precondition(lambda self: self.polled)
    @rule()
    def restart(self):
        old = self.world
        old.check()
        for row in old.stored.values():
            row.last_beat_ms = old.registry.get(row.id).last_beat_ms
        book = old.registry._book
        old.close()
        self.world = World(policy=POLICY, clock=old.clock, wall_ms=old.wall_ms())
        rows = sorted(old.stored.values(), key=lambda row: row.id)
        runs = [run for run in old.runs.values() if run.end_ms is None and old.registry.get(run.id)]
        known = saved(rows, book.next_id, book.next_seq, runs=runs, next_run=len(old.runs) + 1)
        self.world.registry.restore(known)
        self.world.runs = dict(old.runs)
        self.world.rows = {row.id: row for row in rows}
        self.world.stored = dict(self.world.rows)
        self.model.restart()
        self.n_seen = 0

    @invariant()
    def agree(self):
        changes = self.world.changes[self.n_seen :]
        self.n_seen = len(self.world.changes)
        told = [
            (f"{change.service}/{change.instance_id}", change.old, change.new, change.level, change.outage_ms)
            for change in changes
        ]
        expected, self.model.changes = self.model.changes, []
        for name in NAMES:  # between instances the order is the timers'
            assert [one for one in told if one[0] == name] == [one for one in expected if one[0] == name]
        assert len(told) == len(expected)
        for name in NAMES:
            thing = self.model.things.get(name)
            assert self.world.state(name) is (None if thing is None else thing.state)
            if thing is not None:
                instance = self.world.of(name)
                assert (instance.expected, instance.ack is not None) == (thing.expected, thing.acked)
        self.world.check()

    def teardown(self):
        self.world.close()


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = machine_settings(examples=40, steps=30)
