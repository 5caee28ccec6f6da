# SPDX-License-Identifier: MIT
"""The uptime meter by itself: stops of the monitor, and its metrics."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor.fleet.metrics import OTHER_SERVICES, SERVICES
from heartfelt.monitor.fleet.uptime import ASLEEP_MS, UptimeMeter
from heartfelt.monitor.model import State

BEGIN_MS = 1_763_855_940_000  # 2025-11-22 23:59 UTC


class Metered:
    """A meter that ticks, with its clocks and what it has published."""

    def __init__(self, *, ticks=True):
        self.ms = 1_000.0
        self.published = []
        self.meter = UptimeMeter(lambda: self.ms, self.wall_ms, lambda service: 1, self.published.append, ticks=ticks)

    def wall_ms(self):
        return BEGIN_MS + round(self.ms)

    def move(self, service, old, new):
        self.meter.move(service, old, new)

    def run(self, seconds):
        for _ in range(seconds):
            self.ms += 1000
            self.meter.tick()

    def watched_s(self, service):
        self.meter.publish(complete=True)
        return sum(time.watched_s for some in self.published for (_, name), time in some.items() if name == service)

    def metric(self, name):
        """The samples of one metric, by the service."""
        (samples,) = (samples for metric, samples in self.meter.readings() if metric.name == name)
        return {service: value for (service,), value in samples.items()}


@pytest.mark.parametrize("noticed_by", ["tick", "change", "metrics", "publish"])
def test_time_in_which_the_monitor_did_not_run_is_not_watched(noticed_by):
    metered = Metered()
    metered.move("db", State.REMOVED, State.UP)
    metered.move("api", State.REMOVED, State.UP)
    metered.run(5)
    metered.ms += ASLEEP_MS + 60_000  # past midnight
    if noticed_by == "change":
        metered.move("api", State.UP, State.LEFT)
    elif noticed_by == "metrics":
        assert metered.metric("heartfelt_service_watched_seconds") == {"db": 5, "api": 5}
    elif noticed_by == "tick":
        metered.meter.tick()
    assert metered.watched_s("db") == 5
    metered.run(5)
    assert metered.watched_s("db") == 10
    assert metered.watched_s("api") == (5 if noticed_by == "change" else 10)


def test_a_short_delay_of_the_tick_is_watched():
    metered = Metered()
    metered.move("db", State.REMOVED, State.UP)
    metered.run(1)
    metered.ms += ASLEEP_MS
    assert metered.watched_s("db") == 1 + ASLEEP_MS / 1000


def test_metrics_of_services_are_bounded_and_never_fall():
    metered = Metered(ticks=False)
    services = [f"s{n}" for n in range(SERVICES + 3)]
    for service in services:
        metered.move(service, State.REMOVED, State.UP)
    metered.move("s1", State.UP, State.LOST)
    metered.ms += 2_000
    watched = metered.metric("heartfelt_service_watched_seconds")
    assert watched == dict.fromkeys(services[:SERVICES], 2) | {OTHER_SERVICES: 6}
    assert metered.metric("heartfelt_service_up_seconds") == watched | {"s1": 0}
    assert metered.metric("heartfelt_service_observed_seconds") == watched
    assert metered.metric("heartfelt_service_available_seconds") == watched | {"s1": 0}
    for service in ("s0", services[-1]):  # one with a label, and one of the others
        metered.move(service, State.UP, State.REMOVED)
        metered.meter.forget(service)
    metered.ms += 1_000
    metered.move("new", State.REMOVED, State.UP)  # has the label that is free
    metered.ms += 1_000
    watched = metered.metric("heartfelt_service_watched_seconds")
    assert watched == dict.fromkeys(services[1:SERVICES], 4) | {"new": 1, OTHER_SERVICES: 10}
