# SPDX-License-Identifier: MIT
"""Held losses are counted as lost, and a hold keeps back what the monitor or its network may have caused, alone."""

from __future__ import annotations

import contextlib
import json
import socket
import time

from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import HEARTBEAT
from tests.monitor.serving import run_command, until
from tests.monitor.web.test_metrics import value


def counts(serving):
    return serving.json("/api/v1/services")["all"]


def state(serving, instance_id):
    return serving.find(instance_id)["state"]


def beating_until(condition, beat):
    """Beats until the condition is true."""

    def is_true():
        beat()
        return condition()

    until(is_true)


def test_a_dead_service_counts_as_lost_while_it_is_held(serve):
    serving = serve(hold_longest="600s")
    serving.beat("other", "alive", timeoutMs=600_000)
    for _ in range(2):
        serving.beats(30, timeoutMs=2000, intervalMs=500)
    until(lambda: counts(serving)["held"] == 30, "that all are held")
    all_, shop = counts(serving), serving.json("/api/v1/services")["services"]["shop"]
    assert (all_["states"], all_["up"]) == ({"LOST": 30, "NEW": 1}, 1)
    assert (shop["states"], shop["up"], shop["held"]) == ({"LOST": 30}, 0, 30)
    found = serving.json("/api/v1/instances", state="LOST", limit=100)
    assert found["matched"] == 30 and all(one["held"] for one in found["instances"])
    assert serving.json("/api/v1/instances", state="LATE")["matched"] == 0
    assert value(serving, "heartfelt_instances", state="LOST", service="shop") == 30
    assert value(serving, "heartfelt_instances", state="LATE", service="shop") == 0
    listed = run_command("ls", "--url", serving.url, "--state", "LOST", "--json").stdout.splitlines()
    assert len([one for one in listed if json.loads(one)["service"] == "shop"]) == 30
    assert not [one for one in serving.json("/api/v1/changes", limit=1000)["changes"] if one["new"] == "LOST"]
    serving.beats(30, timeoutMs=600_000)
    assert counts(serving)["states"] == {"UP": 30, "NEW": 1}


def test_checks_that_ping_once_are_each_lost_when_their_timeout_ends(serve):
    serving = serve()
    connection = serving.connect()
    for n in range(400):
        connection.request("GET", f"/ping/check-{n}?timeout=3s")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()
    until(lambda: counts(serving)["states"].get("LOST") == 400, "that all are lost")
    assert counts(serving)["held"] == 0
    assert value(serving, "heartfelt_holds_total") == 0


def sermant_beat(serving, instance_id):
    """Connects as an agent does, and sends its first beat."""
    connection = socket.create_connection(tuple(serving.ready["tcp"]))
    text = json.dumps({"service": "orders", "instanceId": instance_id})
    connection.sendall(encode_frame([(HEARTBEAT, pack(text.encode()))]))
    return connection


def test_agents_on_tcp_may_reconnect_after_the_monitors_own_outage(serve, tmp_path):
    settings = {"data": tmp_path / "same", "lease_timeout": "2 s", "hold_reconnect": "4 s"}
    serving = serve(**settings)
    with contextlib.ExitStack() as agents:
        for n in range(3):
            agents.enter_context(sermant_beat(serving, f"agent-{n}"))
        for instance_id in ("back", "gone"):
            serving.beat("shop", instance_id)
        until(lambda: counts(serving)["total"] == 5)
        serving.stop()
    serving = serve(**settings)
    beating_until(lambda: state(serving, "gone") == "LOST", lambda: serving.beat("shop", "back"))
    assert counts(serving)["states"].get("LOST") == 1  # the agents' timeout is over, too
    with sermant_beat(serving, "agent-0"):
        beating_until(lambda: state(serving, "agent-2") == "LOST", lambda: serving.beat("shop", "back"))

    def losses():
        lost = [one for one in serving.json("/api/v1/changes")["changes"] if one["new"] == "LOST"]
        return {one["instance_id"]: one["reason_args"] for one in lost}

    until(lambda: {"gone", "agent-2"} <= set(losses()), "that they are stored")
    reasons = losses()
    assert reasons["agent-2"]["silent_ms"] >= 6000 and reasons["agent-2"]["reconnect_ms"] == 4000
    assert reasons["gone"]["silent_ms"] < 6000


def test_as_long_as_none_of_a_few_has_come_back_their_losses_are_held(serve, tmp_path):
    settings = {"data": tmp_path / "same", "lease_timeout": "1 s", "hold_window": "1 s"}
    serving = serve(**settings)
    serving.beats(3)
    serving.stop()
    serving = serve(**settings)
    until(lambda: counts(serving)["held"] == 3, "that they are held")
    hold = serving.json("/api/v1/hold")
    assert (hold["reason_code"], hold["reason_args"], hold["scope"]) == ("none_back", {"known": 3}, "")
    assert hold["until_ms"] < (time.time() + 211) * 1000
    assert counts(serving)["states"] == {"LOST": 3}
    serving.beats(3, timeoutMs=600_000)
    assert counts(serving)["states"] == {"UP": 3}
    until(lambda: serving.json("/api/v1/hold")["state"] == "NONE", "the end of the hold")
    assert not [one for one in serving.json("/api/v1/changes")["changes"] if one["new"] == "LOST"]
