# SPDX-License-Identifier: MIT
"""Runs that begin and do not end: each is noticed at its own deadline, whatever other runs do and who restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("msgspec")
from tests.monitor.serving import command, plain_environ, until

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def state(serving, key):
    found = serving.find(key)
    return found and found["state"]


def failed(serving, key):
    return until(lambda: (one := serving.find(key)) and one["state"] == "FAILED" and one, f"the failure of {key}")


def test_a_start_and_then_nothing_is_noticed_even_if_nothing_else_was_ever_heard(serve):
    serving = serve()
    assert serving.get("/ping/n/start?timeout=300ms").status == 200
    assert state(serving, "n") in ("NEW", "FAILED")
    one = failed(serving, "n")
    assert one["reason_code"] == "run_overdue" and one["reason"].startswith("the run that began at ")
    assert "has not ended" in one["reason"]
    serving.get("/ping/m/ok?timeout=1d")
    serving.get("/ping/m/start?timeout=200ms")
    failed(serving, "m")
    assert serving.find("m")["lease_ms"] == 86_400_000
    changes = until(
        lambda: (found := serving.json("/api/v1/changes", service="m")["changes"])[1:] and found, "both changes"
    )
    assert [(one["new"], one["level"]) for one in changes] == [("FAILED", "EMERGENCY"), ("NEW", "NORMAL")]


def test_of_two_runs_at_once_the_one_that_hangs_is_named(serve):
    serving = serve()
    serving.get("/ping/n/start?rid=good&timeout=300ms")
    serving.get("/ping/n/start?rid=hangs&timeout=300ms")
    serving.get("/ping/n/ok?rid=good")
    assert "(run hangs)" in failed(serving, "n")["reason"]
    serving.get("/ping/n/ok?rid=hangs")
    assert state(serving, "n") == "UP"  # late, and well all the same


def test_the_longest_duration_of_a_key_is_the_deadline_of_its_runs(serve):
    serving = serve(**{"service_x.max_duration": "300 ms"})
    serving.get("/ping/x/start")
    failed(serving, "x")
    serving.get("/ping/y/ok?max_duration=300ms")
    serving.get("/ping/y/start")
    failed(serving, "y")


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_deadlines_go_on_after_a_restart(serve, number):
    serving = serve()
    serving.get("/ping/passes/start?timeout=200ms&rid=p")
    serving.get("/ping/later/start?timeout=2s")
    serving.get("/ping/never/start?timeout=1h")
    id_ = serving.find("never")["id"]
    until(lambda: serving.json(f"/api/v1/instances/{id_}/runs")["runs"], "the runs in the store")
    serving.stop(number)
    again = serve()
    failed(again, "passes")
    failed(again, "later")
    again.get("/ping/never/ok")
    assert state(again, "never") in ("NEW", "UP")
    again.get("/ping/passes/ok?rid=p")
    assert state(again, "passes") == "UP"
    id_ = again.find("passes")["id"]
    runs = until(
        lambda: (found := again.json(f"/api/v1/instances/{id_}/runs")["runs"])[0]["end_ms"] and found, "its end"
    )
    assert len(runs) == 1 and runs[0]["result"] == "OK"


@posix_only
def test_a_command_whose_heartfelt_run_is_killed_is_noticed(serve):
    serving = serve()
    environ = plain_environ() | {"HEARTFELT_URL": serving.url}
    words = command("run", "--key", "k", "--interval", "200ms", "--timeout", "1s", "--", "sleep", "60")
    process = subprocess.Popen(words, env=environ, start_new_session=True)
    try:
        until(lambda: (one := serving.find("k")) and one["beats"] >= 3, "its beats")
        assert state(serving, "k") == "UP"
        process.kill()
        process.wait()
        assert failed(serving, "k")["reason_code"] == "run_silent"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
