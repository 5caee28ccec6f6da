# SPDX-License-Identifier: MIT
"""A thousand cron jobs of all periods, with jitter, missed runs and deaths, simulated for a few dozen periods each.

Once a period is known, nothing within its grace is called a loss, and each missed run and each death is found by the
timeout that the monitor shows. Each job has a registry and a clock of its own.
"""

from __future__ import annotations

import math
import random

import pytest

from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.model import State
from tests.monitor.fleet.world import NO_HOLD, World

DAY_S = 86_400.0
CRONS, GROUPS = 1000, 10
RUNS = 40
TO_LEARN = 8
"""Runs in which a period is known at the latest, if none is missed."""
POLICY = Policy(lease_timeout_ms=60_000, lease_cache_ms=366 * 86_400_000, hold=NO_HOLD)


class Cron:
    """One job, which pings at the start of each period, later by up to a share of its grace."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.period_s = math.exp(self.random.uniform(0, math.log(DAY_S)))
        self.jitter_s = self.period_s / 2 * self.random.choice([0, 0.01, 0.2, 0.5, 0.9])
        self.misses = self.random.choice([0, 0, 0.05, 0.2])
        self.says = {}
        if self.random.random() < 0.2:
            self.says = {"every_ms": round(self.period_s * 1000)}
        self.world = World(policy=POLICY)
        self.now_s = 0.0

    @property
    def key(self):
        return self.world.of("cron/1")

    def until(self, at_s):
        """Passes the time in steps that are short against the timeout, so that the monitor reads its timers in time."""
        while at_s - self.now_s > 1e-6:
            step_s = at_s - self.now_s
            if self.key is not None:
                step_s = min(step_s, max(self.key.lease_ms / 2000, 0.5))
            self.world.advance(step_s)
            self.now_s += step_s

    def ping(self, at_s):
        self.until(at_s)
        self.world.beat("cron/1", via="ping", **self.says)

    def told(self):
        return len(self.world.lost())

    def live(self):
        """Returns false losses, and deaths and missed runs that were found late, as texts."""
        wrong = []
        start_s = at_s = missed = 0
        for n in range(RUNS):
            if n > TO_LEARN and self.random.random() < self.misses and not missed:
                missed = 1
                continue
            before, shown_ms = self.told(), self.key.lease_ms if n else 0
            last_s, at_s = at_s, start_s + n * self.period_s + self.random.uniform(0, self.jitter_s)
            self.ping(at_s)
            gap_s = at_s - last_s
            if n > TO_LEARN and self.told() > before and not missed and gap_s <= 1.5 * self.period_s:
                wrong.append(f"run {n}: lost {gap_s:.2f} s after a beat, timeout {shown_ms / 1000} s")
            if n > TO_LEARN and missed and gap_s > self.key.lease_ms / 1000 + 1 and self.told() == before:
                wrong.append(f"run {n}: missed for {gap_s:.2f} s, timeout {shown_ms / 1000} s")
            missed = 0
        before, at_s = self.told(), self.now_s
        while self.told() == before and self.now_s < at_s + 10 * self.period_s + 1000:
            self.until(self.now_s + max(self.key.lease_ms / 50_000, 0.05))
        took_s = self.now_s - at_s
        if self.told() == before or took_s > 1.05 * self.key.lease_ms / 1000 + 0.1:
            wrong.append(f"dead, found after {took_s:.2f} s; timeout {self.key.lease_ms / 1000} s")
        if self.key.lease_ms / 1000 > max(90, 3.5 * self.period_s):  # every other run may have been missed
            wrong.append(f"the timeout is {self.key.lease_ms / 1000} s")
        assert self.key.state is State.LOST
        self.world.close()
        return [f"{self!r}: {text}" for text in wrong]

    def __repr__(self):
        return f"period {self.period_s:.2f} s, jitter {self.jitter_s:.2f} s, misses {self.misses}, says {self.says}"


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_false_loss_and_no_late_one(group):
    first = group * CRONS // GROUPS
    assert [text for seed in range(first, first + CRONS // GROUPS) for text in Cron(seed).live()] == []
