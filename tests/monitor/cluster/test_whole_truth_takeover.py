# SPDX-License-Identifier: MIT
"""A monitor that was killed is named as missing, until others have taken over what it owned: never silently less."""

from __future__ import annotations

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import until

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
N = 60


def rows(redis):
    """Returns how many instances Redis knows: what was heard some ms before a kill is not written yet."""
    return sum(redis.ask("HLEN", key) for key in redis.ask("KEYS", "hf:*:rows:*"))


def test_from_the_death_to_the_take_over_answers_say_that_something_is_missing(tmp_path):
    fleet = WholeFleet(tmp_path)
    try:
        a, b, c = fleet.monitors
        for k in range(N):
            c.beat("shop", f"i{k}", timeoutMs=600_000)
        until(lambda: a.json("/api/v1/instances", service="shop")["matched"] == N, "all")
        until(lambda: rows(fleet.redis) == N, "their rows")
        id = a.json("/api/v1/instances", service="shop", limit=1)["instances"][0]["id"]
        c.process.kill()
        c.process.wait()
        silent, seen = [], 0

        def is_taken_over():
            nonlocal seen
            answer, one = a.get("/api/v1/instances", service="shop"), a.get(f"/api/v1/instances/{id}")
            is_missing = "heartfelt-missing" in answer.headers
            seen += is_missing
            if answer.json["matched"] < N and not is_missing:
                silent.append(answer.json["matched"])
            if one.status == 404:
                silent.append(one.status)
            return answer.json["matched"] == N and not is_missing

        until(is_taken_over, "the others own it, and nothing is missing")
        assert seen and not silent
        assert b.json("/api/v1/instances", service="shop")["matched"] == N
    finally:
        fleet.end()
