# SPDX-License-Identifier: MIT
"""A repeated beat makes no Python object and allocates nothing in C: counted in a process whose every allocation is."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import ROOT

HERE = Path(__file__).parent
N_KEYS = [0, 64, 1000, 10_000]
ONE_CALL_A_KEY = [
    "heartbeat(key)",
    "heartbeat(equal key that lasts)",
    "heartbeat(int)",
    "heartbeat(bytes)",
    "heart.beat()",
    "heart()",
]
ONE_CALL_FOR_ALL = [
    "heartbeat_many(list)",
    "heartbeat_many(tuple)",
    "heartbeat_ids(array)",
    "heartbeat_ids(numpy)",
]

COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
pytestmark = [
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts what is asked of glibc"),
    pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="has an allocator of its own, always"),
    pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason=f"no C compiler: {COMPILER[0]}"),
]


@pytest.fixture(scope="module")
def allocations(tmp_path_factory):
    """{call: [allocations for each of N_KEYS]}"""
    pytest.importorskip("numpy")
    counter = tmp_path_factory.mktemp("allocations") / "count_allocations.so"
    source = HERE / "count_allocations.c"
    subprocess.run([*COMPILER, "-shared", "-fPIC", "-O1", "-o", str(counter), str(source)], check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "tests.speed.count_allocations", *map(str, N_KEYS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONMALLOC": "malloc", "LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_counter_counts(allocations):
    """Also an object that comes from a free list of Python's, and goes back to it before the next is made."""
    none, *some = allocations["abs(float)"]
    assert all(number > none for number in some)
    none, *some = allocations["bytearray(int)"]
    assert all(number - none >= 2 * n for number, n in zip(some, N_KEYS[1:], strict=True))


@pytest.mark.parametrize("call", ONE_CALL_A_KEY)
def test_a_repeated_beat_allocates_nothing(allocations, call):
    """As much as no beat at all."""
    assert allocations[call] == allocations[call][:1] * len(N_KEYS)


@pytest.mark.parametrize("call", ONE_CALL_FOR_ALL)
def test_many_beats_in_one_call_allocate_nothing_for_a_key(allocations, call):
    """A number for the call, such as a buffer's, is the same for 64 keys as for 10,000."""
    _, *some = allocations[call]
    assert some == some[:1] * len(some)


def test_every_hot_call_is_looked_at(allocations):
    made_by_the_caller = {"heartbeat(equal key, new)"}
    looked_at = {*ONE_CALL_A_KEY, *ONE_CALL_FOR_ALL, *made_by_the_caller}
    assert looked_at == {call for call in allocations if "heart" in call}
