# SPDX-License-Identifier: MIT
"""Redis is away, full, read-only or empty: beats are answered as before, nothing is lost that beats, what is uncertain
is held and says so, and afterwards everything is whole again."""

from __future__ import annotations

import contextlib
import statistics
import time

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import Beating, WholeFleet
from tests.monitor.redis.servers import REDIS, RedisServer
from tests.monitor.serving import until

pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.time_limit(120, reason="an outage is longer than the timeout and the lease"),
]
N = 30
TIMEOUT_MS = 3000


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A fleet whose Redis keeps what it has: after each outage it is whole again, so one is enough for all of them."""
    folder = tmp_path_factory.mktemp("kept")
    made = WholeFleet(folder, redis=RedisServer(folder / "redis", appendonly="yes"))
    yield made
    made.end()


@pytest.fixture
def fleet(tmp_path):
    made = WholeFleet(tmp_path)
    yield made
    made.end()


@contextlib.contextmanager
def killed(redis):
    redis.end()
    yield
    redis.start()


@contextlib.contextmanager
def stopped(redis):
    with redis.stopped():
        yield


@contextlib.contextmanager
def full(redis):
    redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        redis.ask("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def misconf(redis):
    """Its last save has failed: it refuses all writes, but answers what only reads."""
    place = redis.folder / "dump.rdb"
    place.unlink(missing_ok=True)
    place.mkdir()
    try:
        redis.ask("CONFIG", "SET", "save", "3600 1")
        redis.ask("BGSAVE")
        until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", "a failure")
        yield
    finally:
        redis.ask("CONFIG", "SET", "save", "")
        place.rmdir()


@contextlib.contextmanager
def readonly(redis):
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        redis.ask("REPLICAOF", "NO", "ONE")


def changes(monitor, service):
    found, before = [], None
    while True:
        page = monitor.json("/api/v1/changes", service=service, limit=1000, before=before)
        found += page["changes"]
        before = page["before"]
        if before is None:
            return found[::-1]


def states(monitor, service="shop"):
    found = monitor.json("/api/v1/instances", service=service, limit=1000)["instances"]
    return {one["instance_id"]: one["state"] for one in found}


@pytest.mark.parametrize("outage", [killed, stopped, full, misconf, readonly])
def test_beats_are_answered_as_before_and_nothing_that_beats_is_lost(kept, outage):
    fleet, shop, quiet = kept, f"shop-{outage.__name__}", f"quiet-{outage.__name__}"
    names = [f"i{n}" for n in range(N)]
    silent = [f"s{n}" for n in range(6)]
    for n, name in enumerate(silent):
        fleet.monitors[n % 3].beat(quiet, name, timeoutMs=TIMEOUT_MS + 1000)
    beating = Beating(fleet.monitors, names, service=shop, timeout_ms=TIMEOUT_MS, every_s=0.25)
    try:
        until(lambda: all(list(states(one, shop).values()) == ["UP"] * N for one in fleet.monitors), "all up")
        until(lambda: len(beating.took) > 8 * N, "beats before")
        begun_s = time.monotonic()
        with outage(fleet.redis):
            until(lambda: _is_degraded(fleet.monitors[0]), "degraded")
            logged = len(fleet.monitors[0].log)
            over_s = begun_s + 7  # longer than a timeout and a lease
            until(lambda: _stays_degraded(fleet.monitors[0]) and time.monotonic() > over_s, "the outage")
            assert "can be written again" not in fleet.monitors[0].log[logged:]
            one = fleet.monitors[0].json("/api/v1/instances", service=shop, limit=1)["instances"][0]
            found = fleet.monitors[1].json(f"/api/v1/instances/{one['id']}")
            assert found["instance"]["instance_id"] == one["instance_id"]
            held = fleet.monitors[0].json("/api/v1/instances", service=quiet, held="also")["instances"]
        ended_s = time.monotonic()
        for monitor in fleet.monitors:
            until(lambda one=monitor: not _is_degraded(one), "well again")
            until(lambda one=monitor: list(states(one, shop).values()) == ["UP"] * N, "all up again")
            until(lambda one=monitor: len(_lost(one, quiet)) == 6, "the losses of the silent")
        is_steady = beating.gap_s * 1000 < TIMEOUT_MS / 2
        assert not is_steady or not _lost(fleet.monitors[0], shop)
        lost = _lost(fleet.monitors[0], quiet)
        assert sorted(one["instance_id"] for one in lost) == silent, "each once"
        assert {one["reason_args"]["why"]["code"] for one in held} == {"redis_unreachable"}
        during = [took for at, took, status in beating.took if begun_s + 0.5 < at < ended_s]
        before = [took for at, took, status in beating.took if at < begun_s]
        assert {status for _, _, status in beating.took} == {200}
        ratio = statistics.median(during) / statistics.median(before)
        print(outage.__name__, ratio, max(during), max(before))
        assert ratio < 5
        assert len(during) > 3 * N
    finally:
        beating.end()


def _is_degraded(monitor):
    answer = monitor.get("/readyz")
    assert answer.status == 200, "beats are taken: no balancer shall take it out"
    return answer.json["degraded"]


def _stays_degraded(monitor):
    ready = monitor.get("/readyz").json
    assert ready["degraded"] and ready["store"] != "ok", "until it can be written"
    return True


def _lost(monitor, service):
    return [one for one in changes(monitor, service) if one["new"] == "LOST"]


@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_a_redis_that_is_empty_gets_everything_again(fleet, how):
    names = [f"i{n}" for n in range(N)]
    beating = Beating(fleet.monitors, names, timeout_ms=TIMEOUT_MS, every_s=0.25)
    try:
        until(lambda: all(list(states(one).values()) == ["UP"] * N for one in fleet.monitors), "all up")
        ids = {
            one["instance_id"]: one["id"] for one in fleet.monitors[0].json("/api/v1/instances", limit=100)["instances"]
        }
        if how == "flushed":
            fleet.redis.ask("FLUSHALL")
        else:
            fleet.redis.restart()
        until(lambda: not any(map(_is_degraded, fleet.monitors)), "well")
        rows = until(lambda: (n := rows_in(fleet.redis)) >= N and n, "rows in Redis again")
        until(lambda: all(list(states(one).values()) == ["UP"] * N for one in fleet.monitors), "all up again")
        assert rows == N
        until(fleet.is_whole, "a whole fleet")
        found = changes(fleet.monitors[1], "shop")
        is_steady = beating.gap_s * 1000 < TIMEOUT_MS / 2
        assert not is_steady or not [one for one in found if one["new"] in ("LOST", "REMOVED")]
        after = {
            one["instance_id"]: one["id"] for one in fleet.monitors[0].json("/api/v1/instances", limit=100)["instances"]
        }
        assert after == ids
        fleet.monitors[0].beat("late", "one", timeoutMs=1000)
        until(lambda: len(_lost(fleet.monitors[2], "late")) == 1, "a loss")
    finally:
        beating.end()


def rows_in(redis):
    total, cursor = 0, b"0"
    while True:
        cursor, keys = redis.ask("SCAN", cursor, "MATCH", "hf:*:rows:*", "COUNT", 1000)
        total += sum(redis.ask("HLEN", key) for key in keys)
        if cursor == b"0":
            return total
