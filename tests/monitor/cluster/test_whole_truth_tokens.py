# SPDX-License-Identifier: MIT
"""Tokens and webhooks belong to the fleet, whichever monitor they are made at."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.chaos.run import Receiver
from tests.monitor.cluster.whole import Viewer, WholeFleet
from tests.monitor.redis.servers import REDIS, RedisServer
from tests.monitor.serving import run_command, until

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    redis = RedisServer(folder / "redis")
    made = run_command("token", "create", "admin", "--scope", "admin", "--set", f"store={redis.url}")
    assert made.returncode == 0, made.stderr
    secret = next(word for word in made.stdout.split() if word.startswith("hf_"))
    fleet = WholeFleet(folder, redis=redis, token=secret, auth_require="always")
    fleet.admin = secret
    yield fleet
    fleet.end()


def test_a_token_made_at_one_is_valid_and_revoked_at_all(fleet):
    a, b, c = fleet.monitors
    made = a.post("/api/v1/tokens", {"name": "reader", "scopes": ["read"]}, token=fleet.admin).json
    for monitor in fleet.monitors:
        until(lambda one=monitor: one.get("/api/v1/services", token=made["token"]).status == 200, "a valid token")
    viewers = [Viewer(one, token=made["token"]) for one in fleet.monitors]
    assert b.request("DELETE", f"/api/v1/tokens/{made['id']}", token=fleet.admin).status == 204
    for monitor, viewer in zip(fleet.monitors, viewers, strict=True):
        until(lambda one=monitor: one.get("/api/v1/services", token=made["token"]).status == 401, "a refusal")
        until(viewer.ended.is_set, "the end of its stream")
        viewer.end()
    assert {one["id"] for one in c.json("/api/v1/tokens", token=fleet.admin)["tokens"]} == {fleet.admin.split("_")[1]}


def test_a_token_counts_at_all_monitors_once_the_answer_is_there(fleet):
    """A script that creates a token and uses it goes to any of them."""
    a, b, c = fleet.monitors
    for made_at, used_at, revoked_at in ((a, b, c), (b, c, a), (c, a, b)):
        made = made_at.post("/api/v1/tokens", {"name": "at once", "scopes": ["read"]}, token=fleet.admin).json
        assert used_at.get("/api/v1/services", token=made["token"]).status == 200
        assert revoked_at.request("DELETE", f"/api/v1/tokens/{made['id']}", token=fleet.admin).status == 204
        assert made_at.get("/api/v1/services", token=made["token"]).status == 401
        assert used_at.get("/api/v1/services", token=made["token"]).status == 401


def test_a_monitor_that_is_stopped_does_not_hold_up_a_token(fleet):
    a, b, c = fleet.monitors
    c.process.send_signal(signal.SIGSTOP)
    try:
        made = a.post("/api/v1/tokens", {"name": "others", "scopes": ["read"]}, token=fleet.admin).json
        assert b.get("/api/v1/services", token=made["token"]).status == 200
    finally:
        c.process.send_signal(signal.SIGCONT)
    until(lambda: c.get("/api/v1/services", token=made["token"]).status == 200, "the tokens are read again")


def test_a_token_can_be_revoked_at_once_at_another_monitor(fleet):
    a, b, _ = fleet.monitors
    for _ in range(5):
        made = a.post("/api/v1/tokens", {"name": "short", "scopes": ["read"]}, token=fleet.admin).json
        assert b.request("DELETE", f"/api/v1/tokens/{made['id']}", token=fleet.admin).status == 204


def test_webhooks_made_at_any_monitor_are_told_each_loss_once(fleet):
    receivers = [Receiver() for _ in fleet.monitors]
    try:
        for monitor, receiver in zip(fleet.monitors, receivers, strict=True):
            body = {"kind": "generic", "url": receiver.url, "filter": {"states": ["LOST"]}}
            answer = until(lambda one=monitor, body=body: _made(one, body, fleet.admin), "a webhook")
            tried = monitor.post(f"/api/v1/webhooks/{answer['id']}/test", {}, token=fleet.admin)
            assert tried.status == 200 and tried.json["ok"], tried.body
            receiver.messages.clear()
        for monitor in fleet.monitors:
            assert len(monitor.json("/api/v1/webhooks", token=fleet.admin)["webhooks"]) == 3
        for n, monitor in enumerate(fleet.monitors):
            monitor.beat("told", f"told-{n}", timeoutMs=1000, token=fleet.admin)
        until(lambda: all(sum(m.get("count") or 1 for m in r.messages.values()) == 3 for r in receivers), "messages")
        changed = fleet.monitors[1].json("/api/v1/changes", service="told", limit=100, token=fleet.admin)["changes"]
        assert sum(one["new"] == "LOST" for one in changed) == 3
        assert all(sum(m.get("count") or 1 for m in r.messages.values()) == 3 for r in receivers)
    finally:
        for receiver in receivers:
            receiver.close()


def _made(monitor, body, token):
    answer = monitor.post("/api/v1/webhooks", body, token=token)
    return answer.json if answer.status == 201 else None
