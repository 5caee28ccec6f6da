# SPDX-License-Identifier: MIT
"""The monitor's figures of the last minutes, and the fleet in a compact form."""

from __future__ import annotations

import random

import pytest

from heartfelt.monitor.history import Lateness, RateHistory
from tests.monitor.serving import until


def test_rates_are_of_the_time_that_passed():
    history = RateHistory(step_s=5, kept_s=15)
    assert history.is_due(100.0)
    history.sample(100.0, 1_000, 7, 7)
    assert history.rates().times_ms == []  # of one sample there is no rate
    assert not history.is_due(104.9)
    history.sample(105.0, 6_000, 57, 7)
    history.sample(115.0, 16_000, 157, 8)  # the monitor was stalled for a step
    rates = history.rates()
    assert rates.times_ms == [6_000, 16_000]
    assert rates.beats_per_s == [10.0, 10.0]
    assert rates.events_per_s == [0.0, 0.1]
    for step in range(20):
        history.sample(120.0 + 5 * step, 0, 157, 8)
    assert len(history.rates().times_ms) == 3


def test_lateness_of_nothing():
    assert Lateness().counts().p50_ms is None
    assert Lateness().counts().buckets == []


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_right_within_their_bucket(seed):
    rng = random.Random(seed)
    values = sorted(round(rng.lognormvariate(3, 2)) for _ in range(rng.randint(1, 400)))
    lateness = Lateness()
    for value in values:
        lateness.observe(value)
    counts = lateness.counts()
    assert counts.count == len(values) == sum(count for _, count in counts.buckets)
    assert counts.max_ms == values[-1]
    for share, told in ((0.5, counts.p50_ms), (0.99, counts.p99_ms)):
        exact = values[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]
        assert exact <= told <= max(exact * 1.35, exact + 1)
    bounds = [bound for bound, _ in counts.buckets]
    assert bounds == sorted(set(bounds))
    below = 0
    for bound, count in counts.buckets:
        below += count
        assert below == sum(value <= bound for value in values)


def test_what_is_later_than_all_buckets_is_counted():
    lateness = Lateness()
    lateness.observe(5_000_000)
    assert lateness.counts().buckets == [(5_000_000, 1)]
    assert lateness.counts().p99_ms == 5_000_000


def test_the_fleet_in_short(serve):
    monitor = serve()
    assert monitor.json("/api/v1/fleet")["rows"] == []
    monitor.beats(1200, "shop", timeoutMs=60_000)
    monitor.beat("mail", "one")
    fleet = monitor.json("/api/v1/fleet")
    assert sorted(fleet["services"]) == ["mail", "shop"]
    assert len(fleet["rows"]) == 1201
    listed = monitor.json("/api/v1/instances", service="mail")["instances"][0]
    row = fleet["rows"][-1]
    assert row[0] == listed["id"]
    assert fleet["services"][row[1]] == "mail"
    assert fleet["states"][row[2]] == listed["state"]
    assert row[3:] == [listed["last_beat_ms"], listed["lease_ms"]]
    assert [one[0] for one in monitor.json("/api/v1/fleet", after=row[0] - 2)["rows"]] == [row[0] - 1, row[0]]


def test_the_monitor_tells_how_late_a_loss_was(serve):
    monitor = serve(lease_timeout="1 s")
    monitor.beat("shop", "one")
    until(lambda: monitor.find("one")["state"] == "LOST")
    stats = monitor.json("/api/v1/stats")
    assert stats["now_ms"] >= stats["started_ms"]
    assert stats["rates"]["step_s"] == 5.0
    assert stats["lateness"]["count"] == 1
    assert stats["lateness"]["p50_ms"] == stats["lateness"]["max_ms"] == stats["lateness"]["p99_ms"]
