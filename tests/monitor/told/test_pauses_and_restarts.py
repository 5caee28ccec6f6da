# SPDX-License-Identifier: MIT
"""A pause, a restart of a real monitor, and the pause's end: people are told what is new, and nothing twice."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from tests.monitor.serving import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
SETTINGS = {"lease_timeout": "0.3 s", "hold_enable": "false"}
LONG_MS = 30 * 86_400_000


@pytest.fixture
def paused(serve):
    """paused(state, **body): a monitor whose instance `one` is paused in that state, once that is stored."""

    def start(state, **body):
        serving = serve(**SETTINGS)
        timeout = {} if state == "LOST" else {"timeoutMs": LONG_MS}
        for _ in range(2):
            serving.beat(expected=True, **timeout)
        if state == "LEFT":
            serving.beat(goodbye=True)
        until(lambda: serving.find("one")["state"] == state, state)
        answer = serving.post(f"/api/v1/instances/{serving.find('one')['id']}/pause", body)
        assert answer.json["state"] == "PAUSED"
        newest(serving, new="PAUSED")
        return serving

    return start


def changes(serving):
    return serving.json("/api/v1/changes", service="shop")["changes"]


def newest(serving, **fields):
    """The newest change, once it has these fields."""

    def found():
        newest = changes(serving)[:1]
        return newest and fields.items() <= newest[0].items() and newest[0]

    return until(found, f"the change {fields}")


def again(serve, serving, how):
    serving.stop(how)
    return serve(**SETTINGS)


def resumed(serving):
    answer = serving.post("/api/v1/instances/resume", {}, service="shop")
    assert answer.json == {"matched": 1, "changed": 1}
    return newest(serving, old="PAUSED")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("state", ["LEFT", "LOST"])
def test_what_was_told_before_the_pause_is_not_told_after_it(serve, paused, state, how):
    serving = again(serve, paused(state), how)
    change = resumed(serving)
    assert (change["new"], change["level"]) == (state, "NORMAL")
    assert [one["new"] for one in changes(serving)][:3] == [state, "PAUSED", state]


def test_a_pause_that_ended_while_the_monitor_was_down(serve, paused):
    serving = paused("LOST", for_s=2)
    ends_ms = serving.find("one")["paused_until_ms"]
    serving.stop(signal.SIGTERM)
    until(lambda: time.time() * 1000 > ends_ms, "the end of the pause")
    serving = serve(**SETTINGS)
    change = newest(serving, old="PAUSED")
    assert (change["new"], change["level"]) == ("LOST", "NORMAL")
    assert change["reason"].startswith("pause ended; no heartbeat")


def test_a_beat_in_the_pause_is_remembered_over_a_restart(serve, paused):
    serving = paused("LOST")
    serving.beat(timeoutMs=LONG_MS)
    serving.stop(signal.SIGTERM)
    serving = serve(**SETTINGS)
    serving.beat(timeoutMs=LONG_MS)
    change = resumed(serving)
    assert (change["new"], change["level"]) == ("UP", "IMPORTANT")


def test_a_goodbye_in_the_pause_is_remembered_over_a_restart(serve, paused):
    serving = paused("UP")
    serving.beat(goodbye=True)
    serving = again(serve, serving, signal.SIGTERM)
    change = resumed(serving)
    assert (change["new"], change["level"]) == ("LEFT", "NORMAL")


def test_an_acknowledgement_outlives_a_pause_and_a_restart(serve, paused):
    serving = serve(**SETTINGS)
    serving.beat(expected=True)
    until(lambda: serving.find("one")["state"] == "LOST", "the loss")
    path = f"/api/v1/instances/{serving.find('one')['id']}"
    ack = serving.post(f"{path}/ack", {"by": "Ann", "why": "its disk is full"}).json["ack"]
    serving.post(f"{path}/pause", {})
    serving = again(serve, serving, signal.SIGTERM)
    change = resumed(serving)
    assert (change["new"], change["level"]) == ("LOST", "NORMAL")
    assert serving.find("one")["ack"] == ack
    until_ms = ack["at_ms"] + 1
    assert serving.post(f"{path}/ack", {"until_ms": until_ms}).status == 400  # it has passed
    assert serving.post(f"{path}/ack", {"by": "Bob", "for_s": 0.2}).status == 200
    change = newest(serving, old="LOST")
    assert (change["new"], change["level"], change["reason_code"]) == ("LOST", "EMERGENCY", "ack_ended")
    assert serving.find("one")["ack"] is None
    serving.beat(timeoutMs=LONG_MS)
    assert newest(serving, new="UP")["level"] == "IMPORTANT"
