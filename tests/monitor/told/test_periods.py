# SPDX-License-Identifier: MIT
"""Periods and graces through the sockets of a monitor: what is learned from pings, and what somebody sets."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.monitor.serving import run_command, until


def ping(serving, key, query=""):
    answer = serving.get(f"/ping/{key}{query}")
    assert answer.status == 200, answer.body


def terms(serving, key):
    found = serving.find(key)
    return found["lease_ms"], found["period_ms"], found["grace_ms"], found["lease_source"]


def changes(serving, key):
    return serving.json(f"/api/v1/instances/{serving.find(key)['id']}/changes")["changes"]


def beat_regularly(send, every_s, n):
    """Sends `n` beats, each at its time. Returns the longest time between two of them."""
    due_s, sent = time.monotonic(), []
    for _ in range(n):
        until(lambda: time.monotonic() >= due_s)  # noqa: B023
        sent.append(time.monotonic())
        send()
        due_s += every_s
    return max(later - sooner for sooner, later in itertools.pairwise([*sent, time.monotonic()]))


@pytest.mark.parametrize("via", ["ping", "beat"])
def test_beats_about_as_far_apart_as_the_default_timeout_are_no_losses(serve, via):
    serving = serve(lease_timeout="1 s", hold_enable="false")
    for n in range(5):  # on a busy machine this sender itself may come too late
        key = f"cron-{n}"
        if via == "ping":
            longest_s = beat_regularly(lambda: ping(serving, key), 1.03, 7)  # noqa: B023
        else:  # an agent has no grace before its period is known
            longest_s = beat_regularly(lambda: serving.beat(key, key), 0.9, 3)  # noqa: B023
            longest_s = max(longest_s, beat_regularly(lambda: serving.beat(key, key), 1.03, 5))  # noqa: B023
        if longest_s < (1.4 if via == "ping" else 1.2):
            break
    assert [one["new"] for one in changes(serving, key)] == ["UP", "NEW"]
    lease_ms, period_ms, grace_ms, source = terms(serving, key)
    assert source == "learned"
    assert 800 < period_ms < 1300 and lease_ms == period_ms + grace_ms and grace_ms == period_ms // 2
    until(lambda: serving.find(key)["state"] == "LOST")
    lost = changes(serving, key)[0]
    assert lost["reason_args"]["terms"]["code"] == "terms_learned"
    assert " s and a grace of " in lost["reason"] and ", learned)" in lost["reason"]


def test_a_loss_by_an_explicit_timeout_says_that_it_is_too_short(serve):
    serving = serve(lease_timeout="1 min", hold_enable="false")
    for n in range(1, 4):
        ping(serving, "tight", "?timeout=1s")
        until(lambda: [one["new"] for one in changes(serving, "tight")].count("LOST") == n)  # noqa: B023
    assert terms(serving, "tight") == (1000, None, None, "beat")
    assert "(timeout 1 s: too short for a heartbeat about every 1" in changes(serving, "tight")[0]["reason"]


def test_what_is_set_for_all_for_a_service_and_by_a_beat(serve, tmp_path):
    path = tmp_path / "monitor.toml"
    path.write_text(
        '[lease]\ngrace = "20 s"\n[service.etl]\nevery = "1 h"\n[service.pay]\nevery = "1 min"\ngrace = 5\n'
    )
    serving = serve("--config", path, lease_job_timeout="2 h")
    ping(serving, "etl%2F1")
    ping(serving, "pay%2F1")
    ping(serving, "pay%2F2", "?every=10m&grace=1m")
    ping(serving, "plain")
    ping(serving, "every", "?every_ms=5000")
    ping(serving, "both", "?timeout=7s&every=5m&grace=1m")
    ping(serving, "none", "?every=1m&grace=0")
    ping(serving, "job/ok")
    serving.beat("shop", "one", everyMs=4000, graceMs=500)
    found = {
        "etl/1": (3_620_000, 3_600_000, 20_000, "service"),
        "pay/1": (65_000, 60_000, 5000, "service"),
        "pay/2": (660_000, 600_000, 60_000, "beat"),
        "plain": (80_000, None, 20_000, "default"),
        "every": (25_000, 5000, 20_000, "beat"),
        "both": (7000, None, None, "beat"),
        "none": (60_000, 60_000, 0, "beat"),
        "job": (7_200_000, None, None, "all"),
        "one": (4500, 4000, 500, "beat"),
    }
    assert {key: terms(serving, key) for key in found} == found
    done = run_command("serve", "--check", "--config", path)
    assert "service.etl.every = 3600.0" in done.stdout and "lease.grace = 20.0" in done.stdout


def test_a_learned_period_is_kept_over_a_restart(serve):
    settings = {"lease_timeout": "0.3 s", "hold_enable": "false"}
    serving = serve(**settings)
    for _ in range(5):  # two losses in a row that are as long as each other, if this sender is in time
        beat_regularly(lambda: ping(serving, "slow"), 1.0, 3)
        if serving.find("slow")["lease_source"] == "learned":
            break
    before = terms(serving, "slow")
    assert before[3] == "learned"
    serving.stop()
    again = serve(**settings)
    assert terms(again, "slow") == before
