# SPDX-License-Identifier: MIT
"""A Redis that has lost everything gets it again from the monitors: instances in any state, tokens and webhooks. What
is silent by then is told, once."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.chaos.run import Receiver
from tests.monitor.cluster.whole import Beating, WholeFleet
from tests.monitor.redis.servers import REDIS, RedisServer
from tests.monitor.serving import run_command, until

pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.time_limit(120, reason="three monitors start, and losses are waited for"),
]
SILENT_MS = 8000


@pytest.fixture
def fleet(tmp_path):
    redis = RedisServer(tmp_path / "redis")
    made = run_command("token", "create", "admin", "--scope", "admin", "--set", f"store={redis.url}")
    assert made.returncode == 0, made.stderr
    secret = next(word for word in made.stdout.split() if word.startswith("hf_"))
    fleet = WholeFleet(tmp_path, redis=redis, token=secret, auth_require="always", cluster_comeback="1 s")
    yield fleet
    fleet.end()


def rows_of(monitor, token):
    found = monitor.json("/api/v1/instances", limit=1000, token=token)["instances"]
    return {(one["service"], one["instance_id"]): one for one in found}


def kept(row):
    return {name: row[name] for name in ("id", "state", "ack", "paused_until_ms", "first_seen_ms") if name in row}


def changes(monitor, token, service):
    return monitor.json("/api/v1/changes", service=service, limit=1000, token=token)["changes"]


def messages_of(receiver, service):
    return [one for one in receiver.messages.values() if service in str(one)]


@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_redis_that_is_empty(fleet, how):
    monitors, token = fleet.monitors, fleet.token
    receiver = Receiver()
    names = [f"i{n}" for n in range(12)]
    beats = Beats(monitors, token, names)
    try:
        made = until(lambda: _made(monitors[0], receiver.url, token), "a webhook")
        for n in range(3):
            monitors[n].beat("gone", f"g{n}", timeoutMs=1000, token=token)
            monitors[n].beat("paused", f"p{n}", timeoutMs=60_000, token=token)
        until(lambda: _states(monitors[0], token, "gone") == ["LOST"] * 3, "losses")
        until(lambda: sum(m.get("count") or 1 for m in messages_of(receiver, "gone")) == 3, "their messages")
        rows = rows_of(monitors[0], token)
        for n in range(3):
            for what, name in (("pause", ("paused", f"p{n}")), ("ack", ("gone", f"g{n}"))):
                path = f"/api/v1/instances/{rows[name]['id']}/{what}"
                assert monitors[(n + 1) % 3].post(path, {"by": "me"}, token=token).status == 200
        reader = monitors[2].post("/api/v1/tokens", {"name": "reader", "scopes": ["read"]}, token=token).json["token"]
        until(lambda: all(one.get("/api/v1/services", token=reader).status == 200 for one in monitors), "a token")
        until(lambda: _states(monitors[1], token, "shop") == ["UP"] * 12, "all up")
        for n in range(6):
            monitors[n % 3].beat("quiet", f"q{n}", timeoutMs=SILENT_MS, token=token)
        until(lambda: len(_states(monitors[0], token, "quiet")) == 6, "the silent")
        until(lambda: all(row["ack"] for key, row in rows_of(monitors[1], token).items() if key[0] == "gone"), "acks")
        before = {key: kept(row) for key, row in rows_of(monitors[1], token).items()}
        for n in range(3):  # lost before anybody leads again
            monitors[n].beat("quick", f"k{n}", timeoutMs=1500, token=token)
        last = max(one["seq"] for name in ("shop", "gone", "quiet") for one in changes(monitors[0], token, name))
        time_of_silence = time.monotonic()
        if how == "flushed":
            fleet.redis.ask("FLUSHALL")
        else:
            fleet.redis.restart()
        until(lambda: all("Redis has what it had lost again" in one.log for one in monitors), "what was lost")
        for monitor in monitors:
            until(lambda one=monitor: not one.get("/readyz").json["degraded"], "well")
            assert monitor.get("/api/v1/services", token=reader).status == 200
            until(lambda one=monitor: len(rows_of(one, token)) == len(before) + 3, "all of them")
        after = {key: kept(row) for key, row in rows_of(monitors[1], token).items()}
        for key, row in before.items():
            if key[0] not in ("quiet", "quick"):
                assert after[key] == row
            assert after[key]["id"] == row["id"]
        until(lambda: _states(monitors[0], token, "quiet") == ["LOST"] * 6, "the losses of the silent")
        until(lambda: sum(m.get("count") or 1 for m in messages_of(receiver, "quiet")) >= 6, "their messages")
        assert time.monotonic() - time_of_silence > 1
        until(lambda: sum(m.get("count") or 1 for m in messages_of(receiver, "quick")) >= 3, "messages of the quick")
        for monitor in monitors:
            lost = [one for one in changes(monitor, token, "quiet") if one["new"] == "LOST"]
            assert sorted(one["instance_id"] for one in lost) == [f"q{n}" for n in range(6)]
            assert all(one["seq"] > last for one in lost)
            assert not changes(monitor, token, "gone"), "told a second time"
            if beats.gap_s < 1:
                assert not [one for one in changes(monitor, token, "shop") if one["new"] == "LOST"]
            assert [one["id"] for one in monitor.json("/api/v1/webhooks", token=token)["webhooks"]] == [made["id"]]
        assert sum(m.get("count") or 1 for m in messages_of(receiver, "quiet")) == 6
        assert sum(m.get("count") or 1 for m in messages_of(receiver, "quick")) == 3
        assert sum(m.get("count") or 1 for m in messages_of(receiver, "gone")) == 3
        monitors[2].beat("gone", "g0", timeoutMs=60_000, token=token)
        until(lambda: "UP" in _states(monitors[0], token, "gone"), "a recovery")
        until(lambda: len([m for m in messages_of(receiver, "gone") if "UP" in str(m)]) == 1, "it is told, too")
        until(fleet.is_whole, "a whole fleet")
        for monitor in monitors:
            figures = fleet.part(monitor, "ownership", token)
            assert (figures["astray"], figures["faults"]) == (0, 0), monitor.log
            assert "Traceback" not in monitor.log
        new = run_command("token", "list", "--set", f"store={fleet.redis.url}")
        assert "reader" in new.stdout, new
    finally:
        beats.end()
        receiver.close()


class Beats(Beating):
    """With a token."""

    def __init__(self, monitors, token, names):
        class At:
            def __init__(self, monitor):
                self._monitor = monitor

            def post(self, path, body):
                return self._monitor.post(path, body, token=token)

        # the even ones go to another monitor every few seconds
        place = lambda n, k: n if n % 2 else n + k // 8  # noqa: E731
        super().__init__([At(one) for one in monitors], names, timeout_ms=4000, place=place)


def _made(monitor, url, token):
    body = {"kind": "generic", "url": url, "filter": {"services": ["gone", "quiet", "quick"]}}
    answer = monitor.post("/api/v1/webhooks", body, token=token)
    return answer.json if answer.status == 201 else None


def _states(monitor, token, service):
    return [row["state"] for key, row in rows_of(monitor, token).items() if key[0] == service]
