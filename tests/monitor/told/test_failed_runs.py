# SPDX-License-Identifier: MIT
"""A job that says that it failed, as people and programs see it: by curl, `heartfelt run`, and `@job`."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("msgspec")
from tests.browser.target import Target
from tests.monitor.serving import PATIENCE_S, plain_environ, run_command, until


def changes_of(serving, key, new):
    """The key's changes of state once the newest is to this state, the newest first."""
    return until(
        lambda: (found := serving.json("/api/v1/changes", service=key)["changes"]) and found[0]["new"] == new and found,
        f"the change to {new}",
    )


def runs_of(serving, key, count, **query):
    """The key's runs once there are so many, the newest first."""
    id_ = serving.find(key)["id"]
    return until(
        lambda: (found := serving.json(f"/api/v1/instances/{id_}/runs", **query)["runs"])[count - 1 :] and found,
        f"{count} runs",
    )


def test_each_way_to_fail_is_told_once_and_seen_everywhere(serve, tmp_path):
    with Target() as target:
        serving = serve(hold_enable="false")
        hook = {"kind": "generic", "url": target.url, "allow_private": True}
        assert serving.post("/api/v1/webhooks", hook).status == 201
        for _ in range(2):
            assert serving.get("/ping/backup/ok").body == b"OK"
        serving.post("/ping/backup/fail", "reading\ndisk full")
        serving.get("/ping/backup/1")
        environ = {"HEARTFELT_URL": serving.url}
        done = run_command("run", "--key", "nightly", "--", "sh", "-c", "echo no space >&2; exit 3", **environ)
        assert done.returncode == 3
        program = tmp_path / "etl.py"
        program.write_text(
            textwrap.dedent(
                """
                from heartfelt.agent import job

                @job("etl", max_duration=3600)
                def etl():
                    raise ValueError("no such table")

                etl()
                """
            )
        )
        subprocess.run(
            [sys.executable, str(program)], check=False, timeout=PATIENCE_S, env=plain_environ() | environ,
            capture_output=True,
        )  # fmt: skip
        assert serving.states() == dict.fromkeys(("backup", "nightly", "etl"), "FAILED")
        until(lambda: len(target.received) >= 3, "three messages")
        told = [body for _, body in target.received]
        assert len(told) == 3
        assert {one["level"] for one in told} == {"EMERGENCY"}
    assert serving.find("backup")["reason"] == "its run failed with exit status 1"
    assert "no space" in serving.find("nightly")["reason"] and "exit status 3" in serving.find("nightly")["reason"]
    assert "ValueError: no such table" in serving.find("etl")["reason"]
    services = serving.json("/api/v1/services")
    assert (services["all"]["up"], services["all"]["states"]) == (0, {"FAILED": 3})
    metrics = serving.get("/metrics").body.decode()
    lines = [line for line in metrics.splitlines() if 'service="etl"' in line and 'state="FAILED"' in line]
    assert [line.split()[-1] for line in lines] == ["1.0"]
    assert "FAILED" in run_command("ls", "--url", serving.url).stdout
    assert [one["new"] for one in changes_of(serving, "backup", "FAILED")] == ["FAILED", "UP", "NEW"]
    serving.get("/ping/backup")
    recovery = changes_of(serving, "backup", "UP")[0]
    assert (recovery["old"], recovery["new"], recovery["level"]) == ("FAILED", "UP", "IMPORTANT")
    assert recovery["outage_ms"] > 0 and recovery["reason_code"] == "succeeded_again"
    runs = runs_of(serving, "backup", 4)
    assert [(one["result"], one["status"], one["text"]) for one in runs] == [
        ("FAILED", 1, ""), ("FAILED", None, "reading\ndisk full"), ("OK", None, ""), ("OK", None, ""),
    ]  # fmt: skip


def test_a_job_that_fails_each_time_stays_failed_and_its_newest_runs_are_kept(serve):
    serving = serve()
    for n in range(45):
        serving.get("/ping/j/start")
        serving.get(f"/ping/j/{n + 1}")
    assert [one["new"] for one in changes_of(serving, "j", "FAILED")] == ["FAILED", "NEW"]
    runs = until(lambda: (found := runs_of(serving, "j", 45))[0]["end_ms"] and found, "the last run")
    assert [one["status"] for one in runs] == [*range(45, 0, -1)]
    first = serving.json(f"/api/v1/instances/{serving.find('j')['id']}/runs", limit=20)
    assert len(first["runs"]) == 20 and first["before"] == first["runs"][-1]["number"]
    rest = runs_of(serving, "j", 25, before=first["before"], limit=100)
    assert [one["status"] for one in rest] == [*range(25, 0, -1)]
    for n in range(80):
        serving.get(f"/ping/j/ok?duration_ms={n}")
    until(lambda: runs_of(serving, "j", 100)[0]["duration_ms"] == 79, "the last run")
    assert len(runs_of(serving, "j", 100)) == 100
    id_ = serving.find("j")["id"]
    assert serving.request("DELETE", f"/api/v1/instances/{id_}").status == 204
    assert serving.get(f"/api/v1/instances/{id_}/runs").status == 404


@pytest.mark.parametrize("kill", [False, True])
def test_a_failure_outlives_a_restart(serve, kill):
    serving = serve()
    serving.get("/ping/j/start?rid=a")
    serving.get("/ping/j/7?rid=a")
    number = until(lambda: (one := runs_of(serving, "j", 1)[0])["end_ms"] and one["number"], "its end")
    if kill:
        serving.end()
    else:
        assert serving.stop() == 0
    again = serve()
    assert again.states() == {"j": "FAILED"}
    again.get("/ping/j/ok?rid=b")
    assert again.states() == {"j": "UP"}
    assert changes_of(again, "j", "UP")[0]["reason_code"] == "succeeded_again"
    newest, oldest = runs_of(again, "j", 2)
    assert (oldest["number"], oldest["status"]) == (number, 7) and newest["number"] > number


def test_bounds_on_a_runs_duration_come_from_the_ping_or_the_settings(serve, tmp_path):
    config = tmp_path / "monitor.toml"
    config.write_text('[service.short]\nmin_duration = "1h"\n')
    serving = serve("--config", config)
    serving.get("/ping/short/start")
    serving.get("/ping/short/ok")
    serving.get("/ping/long/ok?duration_ms=7200000&max_duration=1h")
    found = {one["instance_id"]: one["reason_code"] for one in serving.json("/api/v1/instances")["instances"]}
    assert found == {"short": "run_too_short", "long": "run_too_long"}
    assert serving.states() == {"short": "FAILED", "long": "FAILED"}
