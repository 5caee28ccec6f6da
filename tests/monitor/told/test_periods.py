# SPDX-License-Identifier: MIT
"""Periods and graces through the sockets of a monitor: what is learned from pings, and what somebody sets."""

from __future__ import annotations

import asyncio
import time

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.fleet.terms import TermsSource
from heartfelt.monitor.model import State
from heartfelt.monitor.reasons import english
from heartfelt.testing import ManualClock
from tests.monitor.ingest.world import ingest
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
    """Sends `n` beats, each at its time, if the machine is not too busy."""
    due_s = time.monotonic()
    for _ in range(n):
        until(lambda: time.monotonic() >= due_s)  # noqa: B023
        send()
        due_s += every_s


@pytest.mark.parametrize("via", ["ping", "beat"])
def test_beats_about_as_far_apart_as_the_default_timeout_are_no_losses(via):
    """By a clock of its own: how punctual this machine is does not matter."""
    clock = ManualClock()
    policy = Policy(lease_timeout_ms=1000, hold=HoldPolicy(enable=False))
    gaps_s = [1.03] * 6 if via == "ping" else [0.9, 0.9, 1.03, 1.03, 1.03, 1.03]  # an agent has no grace at first

    def wall_ms():
        return 1_700_000_000_000 + round(clock.time() * 1000)

    async def main():
        async with ingest(http=True, clock=clock, policy=policy, wall_ms=wall_ms) as world:

            def advance(seconds):
                for _ in range(round(seconds * 100)):
                    clock.advance(0.01)
                    while world.registry.poll():
                        pass

            async def send():
                if via == "ping":
                    assert (await world.call("/ping/cron"))[0] == 200
                else:
                    body = b'{"service":"cron","instanceId":"cron"}'
                    assert (await world.call("/api/v1/beats", body))[0] in (200, 202)

            await send()
            for gap_s in gaps_s:
                advance(gap_s)
                await send()
            assert [one.new.value for one in world.changes] == ["NEW", "UP"]
            learned = world.find("cron", "cron").terms
            assert learned.source is TermsSource.LEARNED
            assert 800 < learned.period_ms < 1300
            assert learned.timeout_ms == learned.period_ms + learned.grace_ms
            assert learned.grace_ms == learned.period_ms // 2
            advance(1.4)
            assert len(world.changes) == 2
            advance(0.3)
            lost = world.changes[-1]
            assert lost.new is State.LOST
            assert lost.reason.args["terms"]["code"] == "terms_learned"
            said = english(lost.reason)
            assert " s and a grace of " in said and ", learned)" in said

    asyncio.run(main())


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
