# SPDX-License-Identifier: MIT
"""Stops, starvation and jumps of clocks: no key that was beaten is lost by them. Each runs in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT

FULL = bool(os.environ.get("HEARTFELT_FULL"))  # the sizes that the project promises, not those of every run
PATIENCE_S = 40
FAKETIME = next(
    (path for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None
) if sys.platform.startswith("linux") else None  # fmt: skip

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
with_faketime = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not here (Debian: faketime)")


class Program:
    """stalled.py, under way: it says "begin" when all keys are beaten, and on "end" tells what happened, in JSON."""

    def __init__(self, *arguments, before=(), **environment):
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.stress.stalled", *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        assert self.process.stdout.readline() == "begin\n"

    def stop(self, seconds):
        os.kill(self.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self):
        told, _ = self.process.communicate("end\n", timeout=PATIENCE_S)
        assert self.process.returncode == 0
        if FULL:
            print(told)
        return json.loads(told)


class BeatersStarvedError(AssertionError):
    """Keys timed out that were not beaten for their timeout: nothing can be told from that."""


def again_if_disturbed(test):
    """A machine that is busy otherwise can starve the beaters for longer than their timeouts, and the watcher not.
    Then once more, and twice at most: a fault fails each time."""

    @functools.wraps(test)
    def wrapped(*args, **options):
        for left in (2, 1, 0):
            try:
                return test(*args, **options)
            except BeatersStarvedError as error:
                if left == 0:
                    pytest.skip(str(error))
            except AssertionError:
                if left == 0:
                    raise
        return None

    return wrapped


def check_that_none_is_false(told):
    """Checks a run in which only a busy machine can stop the beaters."""
    if told["false"] and told["unbeaten"]:
        raise BeatersStarvedError(f"beaters were starved for longer than {told['unbeaten']} s")
    assert told["false"] == 0, told


@pytest.fixture
def start():
    programs = []

    def start(*arguments, **more):
        programs.append(Program(*arguments, **more))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()


STOP_S, N_KEYS, LONG = (5, 10_000, 10) if FULL else (1.5, 10_000, 2)


@pytest.mark.parametrize("hubs", [[f"0.5,{LONG}"], ["0.5", f"{LONG}"]], ids=["one hub", "two hubs"])
@pytest.mark.parametrize("guard", ["on", "gil", "off"])
@again_if_disturbed
def test_a_process_that_was_stopped(start, hubs, guard):
    program = start(guard, N_KEYS, *hubs)
    program.stop(STOP_S)
    told = program.end()
    assert told["false"] == 0 or guard == "off", told
    assert told["false"] > 0 or guard != "off", "without a guard the stop should have been seen"
    if guard == "off":
        assert not any(told["stalls"])
        return
    short = told["stalls"][0]  # of the hub with the shorter timeout
    long_ones = [length for length, _ in short if length > STOP_S / 2]
    assert len(long_ones) == 1 or guard == "gil", told
    assert any(STOP_S * 0.9 < length < STOP_S + 5 for length in long_ones), told
    # A key that was really dead is found one timeout after the process runs again.
    assert told["dead"] == told["dead_found"]
    assert told["worst_s_after_due"] < 2, told


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="nothing keeps other threads from running"
)
@again_if_disturbed
def test_python_that_could_not_run(start):
    """A call that holds the GIL, where Python threads beat: only stall_guard="gil" knows."""
    seconds = 4 if FULL else 1.5
    for guard in ("gil", "on", "off"):
        program = start(guard, 1000, "0.4", f"hold_gil={seconds}")
        told = program.end()
        assert (told["false"] == 0) == (guard == "gil"), (guard, told)
        if guard == "gil":
            assert any(length > seconds / 2 for length, _ in told["stalls"][0]), told


HOUR = 3600


def step(path, by):
    """libfaketime reads it at each call; replaced at once, so that it never reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(f"{by:+d}\n")
    new.rename(path)


def faked(tmp_path, **more):
    path = tmp_path / "offset"
    step(path, 0)
    return path, {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_NO_CACHE": "1", "FAKETIME_TIMESTAMP_FILE": str(path),
        **more,
    }  # fmt: skip


@with_faketime
@pytest.mark.parametrize("by", [HOUR, -HOUR])
@again_if_disturbed
def test_a_step_of_the_wall_clock_does_nothing(start, tmp_path, by):
    path, environment = faked(tmp_path, FAKETIME_DONT_FAKE_MONOTONIC="1")
    program = start("on", 100, "0.5", **environment)
    step(path, by)
    time.sleep(1)  # of a thing that must not happen: two timeouts for it
    told = program.end()
    assert told["wall_stepped_s"] == pytest.approx(by, abs=60), "the clock was not stepped"
    check_that_none_is_false(told)
    assert [stall for stall in told["stalls"][0] if stall[0] > 60] == []
    assert told["dead"] == told["dead_found"]
    assert told["inconsistent"] == 0


@with_faketime
@pytest.mark.parametrize("guard", ["on", "off"])
@again_if_disturbed
def test_a_jump_of_the_monotonic_clock_is_a_stall(start, tmp_path, guard):
    path, environment = faked(tmp_path)
    program = start(guard, 100, "0.3,5", **environment)
    step(path, HOUR)
    time.sleep(0.5)
    told = program.end()
    if guard == "off":
        assert told["false"] > 0
        return
    assert told["false"] == 0
    assert any(HOUR * 0.9 < length < HOUR * 1.1 for length, _ in told["stalls"][0]), told


@again_if_disturbed
def test_hogs_on_every_core(start):
    hog = [sys.executable, "-c", "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"]
    hogs = [subprocess.Popen(hog) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        program = start("on", N_KEYS, "0.5,1")
        time.sleep(10 if FULL else 1)
        told = program.end()
    finally:
        for one in hogs:
            one.kill()
            one.wait()
    check_that_none_is_false(told)


@pytest.fixture
def small_share(tmp_path_factory):
    """A cgroup whose processes get 2 ms of 100 ms."""
    root = Path("/sys/fs/cgroup/cpu")
    group = root / f"heartfelt-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroup's share of the CPU can be set here")
    try:
        (group / "cpu.cfs_period_us").write_text("100000")
        yield group
    finally:
        group.rmdir()


@again_if_disturbed
def test_a_process_that_gets_2_percent_of_a_core(start, small_share):
    program = start("on", 200, "1")
    (small_share / "cpu.cfs_quota_us").write_text("2000")
    (small_share / "cgroup.procs").write_text(str(program.process.pid))
    time.sleep(10 if FULL else 2)
    (small_share / "cpu.cfs_quota_us").write_text("-1")
    told = program.end()
    assert told["false"] == 0, told
