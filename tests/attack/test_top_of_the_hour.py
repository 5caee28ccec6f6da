# SPDX-License-Identifier: MIT
"""20,000 crontabs ping within one second: each is answered, none is forgotten by a kill -9, nobody is called lost."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from _http_load import HttpLoad
from top_of_hour import pings

from tests.monitor.serving import Serving

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the load needs epoll")

N = 20_000
SPREAD_MS = 1000
DURABLE_S = 1.0
"""The promise: what was answered so long ago is on the disk."""


@pytest.fixture
def few_descriptors():
    """A soft limit of 1024, as on most machines, for the processes that the test starts."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def all_instances(serving):
    """Each instance by its id."""
    found, cursor = {}, None
    while True:
        page = serving.json("/api/v1/instances", limit=1000, cursor=cursor)
        found |= {one["instance_id"]: one for one in page["instances"]}
        if not (cursor := page["cursor"]):
            return found


@pytest.mark.time_limit(120, reason="60,000 connections")
def test_each_is_answered_and_survives_a_kill(tmp_path, few_descriptors):
    serving = Serving(data=tmp_path / "data")
    serving.wait_ready()
    try:
        load = HttpLoad(tmp_path, serving.port, "fresh", N, SPREAD_MS, pings(N))
        for _ in range(2):  # unknown keys, then known ones
            began_ms = time.time() * 1000
            outcome = load.round()
            assert (outcome.ok, outcome.other, outcome.resets, outcome.unanswered) == (N, 0, 0, 0)
        load.close()
        time.sleep(DURABLE_S)  # not a wait for something: the kill comes when the promise begins to hold
        serving.stop(signal.SIGKILL)
        assert serving.log.count("ERROR") == 0
    finally:
        serving.end()
    again = Serving(data=tmp_path / "data")
    again.wait_ready()
    try:
        found = all_instances(again)
        assert len(found) == N
        assert all(one["last_beat_ms"] >= began_ms - 1 for one in found.values())
        assert {one["state"] for one in found.values()} == {"UP"}
        registry = again.json("/api/v1/stats")["parts"]["registry"]
        assert (registry["held"], registry["holds"]) == (0, 0)
    finally:
        again.end()
