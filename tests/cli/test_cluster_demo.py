# SPDX-License-Identifier: MIT
"""`heartfelt demo --cluster`: a small fleet from the start to the verdict, and how it ends otherwise."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
from pathlib import Path

import pytest

from heartfelt.cli._cluster import demo
from heartfelt.cli._cluster.demo import ClusterOutcome, ClusterPlan, complaints
from heartfelt.cli._cluster.feed import ClusterInstance, RovingFeed
from heartfelt.cli._fleet import make_fleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import PATIENCE_S, command, plain_environ, run_command

with_redis = pytest.mark.skipif(
    REDIS is None or importlib.util.find_spec("redis") is None, reason="redis-server or redis-py is not installed"
)
SMALL = ClusterPlan(services=150, interval_s=0.5, timeout_s=6.0, duration_s=14.0, lease_s=3.0, silent=4)


@with_redis
def test_a_monitor_is_killed_and_all_that_was_promised_holds(capsys):
    status = demo.run(SMALL, as_json=True)
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    summary = last["summary"]
    assert (status, summary["wrong"]) == (0, []), summary
    assert len(summary["lost"]) == summary["fell_silent"] == 8
    assert summary["owned_at_end"] == 150
    assert sum(summary["taken"].values()) >= summary["owned_before"] == 50
    assert summary["leader"] not in (None, summary["killed"])
    assert summary["retried"] > 0
    assert any("is killed" in line.get("event", "") for line in lines)
    assert {number for line in lines for number in line.get("owned", ())} == {"1", "2", "3"}


@with_redis
@pytest.mark.parametrize(("number", "folder"), [(signal.SIGINT, "s"), (signal.SIGTERM, "l" * 100)])
def test_a_signal_ends_all_processes_and_leaves_nothing(tmp_path, number, folder):
    """Also if the path of the temporary folder is too long for a socket's."""
    tmp_path = tmp_path / folder
    tmp_path.mkdir()
    arguments = command("demo", "--cluster", "--services", 30, "--json")
    environ = plain_environ() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        for line in process.stdout:
            if "owned" in json.loads(line):
                break
        assert list(tmp_path.iterdir())
        short = list(Path("/tmp").glob(f"heartfelt-demo-{process.pid}-*/redis.sock"))
        assert short if len(folder) > 1 else short or list(tmp_path.glob("*/redis.sock"))
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["summary"]["interrupted"]
    assert list(tmp_path.iterdir()) == []
    assert not list(Path("/tmp").glob(f"heartfelt-demo-{process.pid}-*"))


def test_without_a_redis_it_says_so_in_one_line(tmp_path):
    done = run_command("demo", "--cluster", PATH=str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "install" in done.stderr


def test_options_that_do_not_go_together():
    for option, value in (("--monitor", "http://127.0.0.1:1"), ("--stuck", "1"), ("--parallelism", "2")):
        done = run_command("demo", "--cluster", option, value)
        assert done.returncode == 2
        assert option in done.stderr
    assert run_command("demo", "--cluster", "--interval", "9", "--timeout", "3").returncode == 2


# -- the verdict


def outcome(**changes):
    silent = make_fleet(2, 1.0, 5.0, kind=ClusterInstance)
    good = {
        "silent": silent, "lost": {one.name: 6.0 for one in silent}, "killed": 1, "leader": 2, "led_after_s": 4.0,
        "taken_after_s": 6.0, "taken": {2: 25, 3: 25}, "owned_at_end": 150,
    }  # fmt: skip
    return ClusterOutcome(**(good | changes))


def test_nothing_is_wrong_if_all_holds():
    assert complaints(SMALL, outcome()) == []
    assert "ok: each of the 2" in demo.text(SMALL, outcome(), [])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"lost": {}}, "fell silent and not reported: 2"),
        ({"repeated": ["a"]}, "more than once: 1"),
        ({"falsely": list("abcdefg")}, "although they kept beating: 7 (a, b, c, d, e and 2 more)"),
        ({"late_feed": ["a"]}, "too busy"),
        ({"taken_after_s": None}, "were not|not all instances"),
        ({"owned_at_end": 149}, "own 149 instances at the end, not 150"),
        ({"leader": None}, "no other monitor leads"),
    ],
)
def test_what_does_not_hold_is_named(changes, text):
    found = complaints(SMALL, outcome(**changes))
    assert len(found) == 1
    assert any(one in found[0] for one in text.split("|"))
    assert "FAILED" in demo.text(SMALL, outcome(**changes), found)


# -- the instances


def test_an_agent_goes_to_another_monitor_with_the_same_beats(serve):
    pytest.importorskip("uvicorn", reason="needs heartfelt[monitor]")
    serving = serve()
    members = make_fleet(3, 1.0, 60.0, kind=ClusterInstance)
    feed = RovingFeed(["http://127.0.0.1:1", serving.url], 0, members)
    try:
        feed.step(2.0)
        assert (feed.at, feed.moves) == (1, 1)
        assert feed.fed.beats == 3
        assert feed.fed.failures == 1
        assert {one.name for one in members} == set(serving.states())
        assert all(one.answered_s is not None for one in members)
        members[0].silent_s = 3.0
        feed.step(3.5)
        assert feed.fed.beats == 5
        assert members[1].gap_s > 1.4
    finally:
        feed.close()
