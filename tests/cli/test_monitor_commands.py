# SPDX-License-Identifier: MIT
"""Commands that talk to a monitor: ls, events, demo --monitor."""

from __future__ import annotations

import json
import subprocess

import pytest

from heartfelt.cli._fleet import STOPPING, STUCK, make_fleet
from tests.monitor.serving import command, plain_environ, run_command, until


def test_ls(serve):
    serving = serve()
    serving.beats(1500, "shop", version="1.2", ip=["10.0.0.1"])
    serving.beat("cart", "two", version="\x1b[31m")
    done = run_command("ls", "--url", serving.url)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1502
    assert lines[0].split() == ["STATE", "SERVICE", "INSTANCE", "ADDRESS", "VERSION", "LAST", "BEAT"]
    assert "\x1b" not in done.stdout
    one = run_command("ls", "--url", serving.url, "--service", "shop", "--text", "shop-7", "--json").stdout.splitlines()
    assert {json.loads(line)["instance_id"] for line in one} >= {"shop-7", "shop-70", "shop-777"}
    assert run_command("ls", "--url", serving.url, "--state", "lost", "--json").stdout == ""
    bad = run_command("ls", "--url", serving.url, "--sort", "colour")
    assert bad.returncode == 1
    assert "sort" in bad.stderr
    assert "last_beat" in bad.stderr


def test_ls_has_the_worst_first_with_a_note(serve):
    serving = serve(hold_enable="false")
    serving.beat("alpha", "well", timeoutMs=600_000)
    serving.beat("beta", "gone", timeoutMs=500)
    assert serving.post("/ping/nightly/3", b"disk \x1b[31mfull").status == 200
    until(lambda: serving.find("gone")["state"] == "LOST", "the loss")
    lines = run_command("ls", "--url", serving.url).stdout.splitlines()
    assert lines[0].split()[-3:] == ["LAST", "BEAT", "NOTE"]
    assert [line.split()[:2] for line in lines[1:]] == [["FAILED", "nightly"], ["LOST", "beta"], ["NEW", "alpha"]]
    assert "exit status 3" in lines[1]
    assert "full" in lines[1]
    assert "no heartbeat for" in lines[2]
    assert lines[3].endswith("ago")
    assert "\x1b" not in "".join(lines)
    failed = run_command("ls", "--url", serving.url, "--state", "failed", "--json").stdout.splitlines()
    assert [json.loads(line)["instance_id"] for line in failed] == ["nightly"]
    by_service = run_command("ls", "--url", serving.url, "--sort", "service").stdout.splitlines()
    assert [line.split()[1] for line in by_service[1:]] == ["alpha", "beta", "nightly"]


def test_where_no_monitor_is_it_says_so():
    done = run_command("ls", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "heartfelt serve" in done.stderr
    assert "Traceback" not in done.stderr
    for url in ("127.0.0.1:8900", "ftp://x", "http://", "http://a:b@c"):
        assert run_command("ls", "--url", url).returncode == 2


def test_events_and_what_follows(serve):
    serving = serve()
    serving.beat("shop", "one")
    until(lambda: serving.json("/api/v1/events")["events"], "the event")
    done = run_command("events", "--url", serving.url)
    assert "shop/one" in done.stdout
    assert "INSTANCE_NEW" in done.stdout
    following = subprocess.Popen(
        command("events", "--url", serving.url, "--follow", "--json", "--level", "emergency"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=plain_environ(),
    )  # fmt: skip
    try:
        until(lambda: serving.json("/api/v1/stats")["parts"]["stream"]["viewers"] == 1, "the viewer")
        assert serving.post("/ping/jobs%2Fbackup/fail", b"disk full").status == 200
        event = json.loads(following.stdout.readline())
        assert (event["level"], event["service"]) == ("EMERGENCY", "jobs")
        serving.stop()
        assert following.wait(60) == 1  # the stream has ended
        assert "ended" in following.stderr.read()
    finally:
        following.kill()
        following.communicate()


def test_tokens_come_from_a_file_or_the_environment(serve, tmp_path):
    secret = run_command("token", "create", "r", "--scope", "read", "--data", tmp_path / "data").stdout.strip()
    serving = serve(auth_require="always")
    assert run_command("ls", "--url", serving.url).returncode == 1
    assert run_command("ls", "--url", serving.url, HEARTFELT_TOKEN=secret).returncode == 0
    path = tmp_path / "token"
    path.write_text(secret + "\n")
    assert run_command("ls", "--url", serving.url, "--token-file", path).returncode == 0
    missing = run_command("ls", "--url", serving.url, "--token-file", tmp_path / "none")
    assert (missing.returncode, "--token-file" in missing.stderr) == (1, True)


def test_a_feed_feeds_a_monitor(serve):
    serving = serve()
    done = run_command(
        "demo",
        "--monitor",
        serving.url,
        "--services",
        200,
        "--interval",
        1,
        "--timeout",
        10,
        "--duration",
        2.5,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    fed = json.loads(done.stdout.splitlines()[-1])["summary"]
    services = serving.json("/api/v1/services")
    assert sum(one["total"] for name, one in services["services"].items() if not name.startswith("jobs")) == 200
    assert fed["missed"] == 0
    assert fed["beats"] >= 400
    assert serving.json("/api/v1/stats")["parts"]["intake"]["beats_http"] >= fed["beats"]


@pytest.mark.parametrize(
    ("extra", "said"), [(["--stuck", "1"], "--stuck"), (["--interval", "9", "--timeout", "5"], "--interval")]
)
def test_what_is_not_for_a_feed_is_refused(extra, said):
    done = run_command("demo", "--monitor", "http://127.0.0.1:1", *extra)
    assert (done.returncode, said in done.stderr) == (2, True)
    assert run_command("demo", "--ca", "x").returncode == 2


def test_a_feed_without_a_monitor_fails_and_says_why():
    done = run_command("demo", "--monitor", "http://127.0.0.1:1", "--services", 5, "--duration", 0.3)
    assert done.returncode == 1
    assert "heartfelt serve" in done.stdout


def test_the_fleet_has_all_that_can_befall_an_instance():
    fleet = make_fleet(300, 3.0, 10.0)
    assert len({one.head["instanceId"] for one in fleet}) == 300
    assert len({one.head["service"] for one in fleet}) == 12
    seen = {}
    goodbyes = 0
    for second in range(400):
        for one in fleet:
            if one.due_s <= second:
                beat = one.beat(float(second), 1_000_000 + second * 1000)
                seen.setdefault(one.number, []).append(beat)
                goodbyes += beat is not None and "goodbye" in beat
    assert goodbyes >= 3
    for number, beats in seen.items():
        if number % 100 in STOPPING:
            assert None in beats  # it stops,
            assert beats[-1] is not None or None not in beats[-3:] or beats[0] is not None
        if number % 100 in STUCK:
            assert max(beat["lagMs"] for beat in beats) > 20_000
        if number % 100 == 1:
            assert None not in beats
            assert [beat["beat"] for beat in beats] == list(range(1, len(beats) + 1))
