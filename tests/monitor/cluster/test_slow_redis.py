# SPDX-License-Identifier: MIT
"""A Redis that answers later than cluster.settle allows is told of."""

from __future__ import annotations

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.redis_state import SAMPLE_S, SAMPLES, RedisState
from heartfelt.monitor.store.redis.link import ServerState
from heartfelt.testing import ManualClock


class Servers:
    def __init__(self):
        self.trips = [1.0, None]

    def servers(self):
        return [ServerState("r:1", True, 1.0, None, 1, trip, 0) for trip in self.trips]


def test_one_that_is_too_far_away_is_told_once_and_named_as_long_as_it_lasts(caplog):
    servers, clock = Servers(), ManualClock()
    state = RedisState(servers, None, 0.2, clock.time)

    def ask(n=SAMPLES):
        for _ in range(n):
            clock.advance(SAMPLE_S)
            state.slow()
        return state.slow()

    assert ask() is None
    servers.trips = [1.0, 210.0]
    assert ask(SAMPLES - 1) is None, "it may be a moment only"
    text = ask(9)
    assert "Redis takes 210 ms" in text and "cluster.settle, 200 ms" in text and "at least 0.8 s" in text
    assert caplog.text.count("too long for cluster.settle") == 1
    servers.trips = [2.0]
    assert ask(1) is None
