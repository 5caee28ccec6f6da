# SPDX-License-Identifier: MIT
"""The default policy of the hold in simulated fleets: fewer, and smaller, than those of `make hold-simulation`."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy
from tests.monitor.fleet.hold_simulation import OUTAGES, simulated

SEEDS = range(1, 21)
MOST = 150


@pytest.mark.time_limit(180, reason="20 fleets live for half an hour each: some 10 s of pure work")
def test_the_default_raises_no_false_alarm_and_delays_no_loss_alone():
    one = simulated(HoldPolicy(), SEEDS, MOST)
    assert [one.false[kind] for kind in ("cut", *OUTAGES, "quiet", "alone")] == [0] * 5
    assert (one.real["alone"], one.delayed["alone"]) == (len(SEEDS), 0)
    assert sum(one.missed.values()) == 0
    assert max(one.longest_s.values()) <= 960


@pytest.mark.time_limit(180, reason="20 fleets live for half an hour each: some 10 s of pure work")
def test_without_a_hold_they_do():
    one = simulated(HoldPolicy(enable=False), SEEDS, MOST)
    assert one.false["cut"] > 100
    assert one.false["leak"] > 100
