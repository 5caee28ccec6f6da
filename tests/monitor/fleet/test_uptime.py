# SPDX-License-Identifier: MIT
"""Uptime and availability: what the store holds after random histories is what a plain model adds up, to the ms.

HEARTFELT_EXAMPLES=5000 runs that many new random examples; without it the same few run each time.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import date
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import Beat, State
from heartfelt.monitor.store.sqlite import SqliteStore
from heartfelt.testing import ManualClock
from tests.monitor.fleet.machine_settings import machine_settings
from tests.monitor.fleet.uptime_model import DAY_MS, UptimeModel
from tests.monitor.fleet.world import NO_HOLD, World

MIN_UP = {"web": 2}
POLICY = Policy(
    lease_timeout_ms=8_000,
    lease_cache_ms=30_000,
    services={name: ServicePolicy(min_up=n) for name, n in MIN_UP.items()},
    hold=NO_HOLD,
)
NAMES = ["web/1", "web/2", "web/3", "db/1", "job/1"]
EVENING_MS = 1_763_855_940_000  # 2025-11-22 23:59 UTC
EPOCH = date(1970, 1, 1)
FEW_MS = st.sampled_from([1, 500, 1_000, 8_000, 22_000, 30_000]) | st.integers(1, 12_000)
MANY_MS = st.sampled_from([DAY_MS // 2, DAY_MS, 3 * DAY_MS + 1])


class Monitored:
    """A registry whose listeners store, as the monitor's do, and a model that is told each change of state."""

    def __init__(self, folder, policy=POLICY, min_up=MIN_UP):
        self.clock = ManualClock()
        self.ahead_ms = EVENING_MS - self.now_ms()
        self.model = UptimeModel(min_up)
        self.model.set_clock(self.now_ms(), self.ahead_ms)
        self.policy = policy
        self.path = Path(folder) / "heartfelt.db"
        self.published_ms = self.now_ms()
        self.start()

    def now_ms(self):
        return round(self.clock.time() * 1000)

    def wall_ms(self):
        return self.now_ms() + self.ahead_ms

    def start(self):
        # It is read on a later day, since it shows no day that the wall clock has not reached.
        self.store = SqliteStore(self.path, wall_ms=lambda: self.wall_ms() + 100 * DAY_MS)
        saved = self.store.open()
        self.world = World(policy=self.policy, clock=self.clock, wall_ms=self.wall_ms())
        registry = self.world.registry
        registry.on_change += [self.store.put_change, self.changed]
        registry.on_row.append(self.store.put_instance)
        registry.on_run.append(self.store.put_run)
        registry.on_uptime.append(self.store.put_uptime)
        registry.restore(saved)
        for instance in registry.instances():
            self.model.saw(self.now_ms(), instance.service, instance.id, instance.state)

    def changed(self, change):
        self.model.saw(self.now_ms(), change.service, change.id, change.new)
        if change.new is State.REMOVED:
            self.store.remove_instance(change.id)

    def publish(self):
        self.world.registry.uptime.publish(complete=True)
        self.published_ms = self.now_ms()

    def set_clock(self, by_ms):
        """Sets the wall clock, which the monitor sees at once."""
        self.ahead_ms += by_ms
        self.world.wall_offset_ms += by_ms
        self.publish()
        self.model.set_clock(self.now_ms(), self.ahead_ms)

    def restart(self, down_ms, *, cleanly):
        if cleanly:
            self.publish()
        began_ms = self.published_ms  # of what was not published nothing is known
        self.world.close()
        self.store.close()
        self.clock.advance(down_ms / 1000)
        self.model.not_watched(began_ms, self.now_ms())
        self.start()
        self.publish()

    def days(self):
        """As the model gives them, in ms."""
        self.publish()

        async def read():
            await self.store.flush()
            return await self.store.uptime((), 100_000)

        found = {}
        for row in asyncio.run(read()):
            times = (row.watched_s, row.up_s, row.observed_s, row.available_s)
            found[((date.fromisoformat(row.day) - EPOCH).days, row.service)] = [round(time * 1000) for time in times]
        return {key: times for key, times in found.items() if any(times)}

    def check(self):
        assert self.days() == self.model.days(self.now_ms())
        self.world.check()

    def close(self):
        self.world.close()
        self.store.close()


names = st.sampled_from(NAMES)


def ping(name):
    service, _, instance_id = name.rpartition("/")
    return Beat(service=service, instance_id=instance_id, via="ping", peer="10.0.0.8")


class UptimeMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.monitored = Monitored(self.folder.name)

    @property
    def registry(self):
        return self.monitored.world.registry

    def of(self, name):
        return self.monitored.world.of(name)

    @rule(name=names, lag_ms=st.sampled_from([None, None, 0, 20_000]), interval_ms=st.sampled_from([None, 3_000]))
    def beat(self, name, lag_ms, interval_ms):
        self.monitored.world.beat(name, lag_ms=lag_ms, interval_ms=interval_ms)

    @rule(name=names)
    def goodbye(self, name):
        self.monitored.world.goodbye(name)

    @rule(name=names, for_ms=st.sampled_from([None, 5_000, 25_000]))
    def pause(self, name, for_ms):
        if instance := self.of(name):
            self.registry.pause(instance.id, None if for_ms is None else self.monitored.wall_ms() + for_ms)

    @rule(name=names)
    def resume(self, name):
        if instance := self.of(name):
            self.registry.resume(instance.id)

    @rule(name=names)
    def remove(self, name):
        if instance := self.of(name):
            self.registry.remove(instance.id)

    @rule(name=names, timeout_ms=st.sampled_from([1_000, 20_000, 60_000]))
    def begin_run(self, name, timeout_ms):
        self.registry.jobs.begins(ping(name), "", timeout_ms=timeout_ms)

    @rule(name=names, failed=st.booleans())
    def end_run(self, name, failed):
        self.registry.jobs.ends(ping(name), "", failed=failed)

    @rule(by_ms=FEW_MS)
    def advance(self, by_ms):
        self.monitored.world.advance(by_ms / 1000)

    @rule(by_ms=FEW_MS)
    def advance_unpolled(self, by_ms):
        self.monitored.clock.advance(by_ms / 1000)

    @rule(by_ms=MANY_MS)
    def advance_by_days(self, by_ms):
        self.monitored.world.advance(by_ms / 1000)

    @rule(ms=st.sampled_from([2_000, 60_000]))
    def stall(self, ms):
        begin_ms = self.monitored.now_ms()
        self.monitored.clock.advance(ms / 1000)
        self.registry.stalled(ms)
        self.monitored.model.not_watched(begin_ms, self.monitored.now_ms())

    @rule(by_ms=st.sampled_from([-DAY_MS, -90_000, -2_000, 2_000, 90_000, 2 * DAY_MS]))
    def set_clock(self, by_ms):
        self.monitored.set_clock(by_ms)

    @rule()
    def publish_changes(self):
        self.registry.uptime.publish(complete=False)

    @rule()
    def read_metrics(self):
        list(self.registry.readings())

    @rule()
    def look(self):
        self.monitored.check()

    @rule(down_ms=FEW_MS | MANY_MS, cleanly=st.booleans())
    def restart(self, down_ms, cleanly):
        if not cleanly:  # what was published since the last time that all was is asked for in a test below
            self.monitored.publish()
            self.monitored.clock.advance(0.4)
        self.monitored.restart(down_ms, cleanly=cleanly)

    def teardown(self):
        self.monitored.check()
        self.monitored.close()
        self.folder.cleanup()


TestUptime = UptimeMachine.TestCase
TestUptime.settings = machine_settings(examples=50, steps=40)


# -- single rules


@pytest.fixture
def monitored(tmp_path):
    one = Monitored(tmp_path)
    yield one
    one.close()


def times(monitored, service, day=0):
    """[watched, up, observed, available] in s of this service, `day` days after the first."""
    found = monitored.days().get((EVENING_MS // DAY_MS + day, service), [0] * 4)
    return [ms / 1000 for ms in found]


def test_who_has_left_or_is_paused_is_not_watched(monitored):
    world = monitored.world
    for n in range(10):
        world.beat(f"api/{n}", timeout_ms=60_000)
    for n in range(9):
        world.goodbye(f"api/{n}")
    world.beat("batch/1", timeout_ms=60_000)
    world.registry.pause(world.of("batch/1").id)
    world.advance(10)
    world.beat("batch/1")
    assert times(monitored, "api") == [10, 10, 10, 10]
    assert times(monitored, "batch") == [0, 0, 0, 0]


def test_lost_failed_and_stuck_are_down(monitored):
    world = monitored.world
    world.beat("lost/1", timeout_ms=1_000)
    world.advance(1)
    world.beat("stuck/1", lag_ms=20_000, timeout_ms=60_000)
    world.registry.jobs.ends(ping("failed/1"), "", failed=True)
    world.advance(10)
    assert times(monitored, "lost") == [11, 1, 11, 1]
    assert times(monitored, "stuck") == [10, 0, 10, 0]
    assert times(monitored, "failed") == [10, 0, 10, 0]


def test_a_service_is_available_while_at_least_min_up_of_its_instances_are_up(monitored):
    world = monitored.world
    world.beat("web/1", timeout_ms=60_000)
    world.advance(1)
    world.beat("web/2", timeout_ms=60_000)
    world.beat("web/3", timeout_ms=2_000)
    world.advance(2)  # the third is lost
    world.advance(3)
    world.goodbye("web/2")
    world.advance(4)
    assert times(monitored, "web") == [1 + 6 + 9 + 8, 1 + 6 + 6 + 4, 10, 5]


def test_a_day_ends_at_midnight_also_if_a_change_of_state_is_the_first_to_show_it(monitored):
    world = monitored.world
    world.beat("db/1", timeout_ms=3_600_000)
    world.beat("api/1", timeout_ms=3_600_000)
    monitored.clock.advance(70)  # nothing is polled: there is no tick
    world.goodbye("db/1")
    monitored.clock.advance(5)
    assert [times(monitored, "db", day) for day in (0, 1)] == [[60] * 4, [10] * 4]
    assert [times(monitored, "api", day) for day in (0, 1)] == [[60] * 4, [15] * 4]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_of_the_wall_clock_adds_and_removes_no_time(monitored, sign):
    world = monitored.world
    world.beat("db/1", timeout_ms=3_600_000)
    world.beat("api/1", timeout_ms=3_600_000)
    world.advance(10)
    world.wall_offset_ms += sign * DAY_MS
    monitored.ahead_ms += sign * DAY_MS
    world.advance(1)  # a tick shows it
    world.goodbye("api/1")
    world.advance(20)
    assert times(monitored, "db") == [11] * 4
    assert times(monitored, "db", sign) == [20] * 4
    assert times(monitored, "api") == [11] * 4


def test_kill_loses_what_was_not_published_and_nothing_else(monitored):
    world = monitored.world
    world.beat("db/1", timeout_ms=3_600_000)
    world.beat("api/1", timeout_ms=3_600_000)
    world.advance(10)
    monitored.publish()
    world.advance(5)
    world.goodbye("db/1")
    world.registry.uptime.publish(complete=False)  # as after each change
    world.advance(5)
    monitored.restart(1_000, cleanly=False)
    monitored.world.advance(2)
    assert times(monitored, "db") == [15] * 4
    assert times(monitored, "api") == [10 + 2] * 4


def test_an_outage_counts_until_the_beat_or_the_removal(monitored):
    world = monitored.world
    world.beat("db/1", timeout_ms=1_000)
    world.advance(1)
    world.advance(5)
    world.beat("db/1")
    world.advance(0.5)
    assert times(monitored, "db") == [6.5, 1.5, 6.5, 1.5]
    world.registry.remove(world.of("db/1").id)
    world.advance(10)
    assert times(monitored, "db") == [6.5, 1.5, 6.5, 1.5]
