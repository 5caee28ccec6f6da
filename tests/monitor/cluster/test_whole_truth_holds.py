# SPDX-License-Identifier: MIT
"""A hold of losses, and its release, are of the whole fleet."""

from __future__ import annotations

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import Beating, Viewer, WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import until

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
N = 30


@pytest.fixture
def fleet(tmp_path):
    made = WholeFleet(tmp_path, hold_enable="true", hold_release_per_s="1000")
    yield made
    made.end()


def shop(monitor, **query):
    return monitor.json("/api/v1/instances", service="shop", limit=1000, **query)["instances"]


def lost(monitor):
    found = monitor.json("/api/v1/changes", service="shop", limit=1000)["changes"]
    return sorted(one["instance_id"] for one in found if one["new"] == "LOST")


def test_losses_that_each_monitor_holds_are_shown_and_released_by_any(fleet):
    names = [f"i{n}" for n in range(N)]
    viewers = [Viewer(one, topics=["hold"]) for one in fleet.monitors]
    # With an interval, all are LATE when the first is lost, however long a round of beats takes on a busy machine.
    beating = Beating(fleet.monitors, names, timeout_ms=6000, intervalMs=1000)
    try:
        until(lambda: all([one["state"] for one in shop(m)] == ["UP"] * N for m in fleet.monitors), "all up")
        beating.end()
        for monitor in fleet.monitors:
            until(lambda one=monitor: one.json("/api/v1/hold")["held"] == N, "a hold of all")
            assert len(shop(monitor, held="true")) == N
            assert monitor.json("/api/v1/hold")["state"] == "HOLDING"
            assert beating.gap_s > 3 or not lost(monitor)
        until(lambda: all(any(one["held"] == N for one in v.of("hold")) for v in viewers), "the hold in each stream")
        assert fleet.monitors[2].post("/api/v1/hold/release", {"by": "me"}).status == 200
        for monitor in fleet.monitors:
            until(lambda one=monitor: lost(one) == sorted(names), "all losses, once each")
            until(lambda one=monitor: one.json("/api/v1/hold")["state"] == "NONE", "the end of the hold")
            assert {one["state"] for one in shop(monitor)} == {"LOST"}
        until(lambda: all(v.of("hold")[-1]["state"] == "NONE" for v in viewers), "its end in each stream")
    finally:
        beating.end()
        for viewer in viewers:
            viewer.end()
