# SPDX-License-Identifier: MIT
"""A repeated beat runs no more instructions than recorded, and calls no foreign function that may allocate or wait."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.speed.callgrind import N_KEYS, Cost, cost_in
from tests.speed.instructions import HOW_TO_STORE, changes, counted, fewer, none_stored, stored, table, too_many

pytestmark = pytest.mark.time_limit(240, reason="valgrind runs Python some fifty times slower")

# None of them allocates, locks or waits, with the arguments that a beat gives them.
MAY_BE_CALLED = {"clock_gettime", "memcmp", "PyLong_AsLongLongAndOverflow", "PyObject_Hash"}


@pytest.fixture(scope="module")
def known():
    """Instructions a beat by call, as stored."""
    if not sys.platform.startswith("linux"):
        pytest.skip("callgrind's numbers are those of Linux")
    if os.environ.get("HEARTFELT_BUILD", "release") != "release":
        pytest.skip("the numbers are those of a release build")
    known = stored()
    if known is None:
        pytest.skip(none_stored())
    return known


@pytest.fixture(scope="module")
def costs(known):
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not here: tests/get_tool.sh installs it")
    return counted(valgrind)


def test_a_beat_takes_no_more_instructions_than_are_stored(costs, known, capsys):
    assert set(costs) >= set(known)
    ratios = changes(costs, known)
    assert not too_many(ratios), f"more than 3 % too many\n{table(costs, known)}\nIf that is meant: {HOW_TO_STORE}."
    if fewer(ratios):
        with capsys.disabled():
            print(f"\nfewer instructions than are stored\n{table(costs, known)}\n{HOW_TO_STORE}")


def plain(function):
    """clock_gettime@@GLIBC_2.17: clock_gettime. __memcmp_avx2_movbe: memcmp."""
    name = function.partition("@")[0].partition("'")[0]
    return "memcmp" if "memcmp" in name else name


def test_a_beat_calls_nothing_that_may_allocate_or_wait(costs):
    """Foreign functions (libc, Python) must not be called as often as once in 64 beats: a call for many keys may call
    one once."""
    called = {
        call: {plain(function) for function, a_beat in cost.calls_out.items() if a_beat >= 1 / 64}
        for call, cost in costs.items()
    }
    others = {call: functions - MAY_BE_CALLED for call, functions in called.items()}
    assert not {call: functions for call, functions in others.items() if functions}
    assert "clock_gettime" in called["heartbeat(key)"]  # calls are seen at all


DUMP = """\
# callgrind format
positions: line
events: Ir

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ???
fn=(1) _PyEval_EvalFrameDefault
0 70000
cob=(2) /somewhere/heartfelt/_hot.cpython-311-x86_64-linux-gnu.so
cfn=(2) hub_heartbeat
calls=1000 0
0 99000

ob=(2)
fn=(2)
12 30000
+3 1000
* 500
cob=(3) /lib/x86_64-linux-gnu/libc.so.6
cfn=(3) clock_gettime@@GLIBC_2.17
calls=1000 0
0 60000
cfn=(4) hf_hub_beat
calls=1000 0
0 8000
-2 500

fn=(4)
0 8000

ob=(3)
fn=(3)
0 60000
"""


def test_a_dump_of_callgrind_is_read_right():
    """Our own instructions; not others', nor twice as those of a callee of ours; and calls to others."""
    assert N_KEYS == 1000
    assert cost_in(DUMP) == Cost(40.0, {"clock_gettime@@GLIBC_2.17": 1.0})


def test_three_percent_more_is_too_many_and_three_percent_less_is_told():
    known = {"a": 100.0, "b": 100.0, "c": 100.0}
    ratios = changes({"a": Cost(102.9, {}), "b": Cost(103.1, {}), "c": Cost(96.9, {}), "new": Cost(1, {})}, known)
    assert too_many(ratios) == ["b", "new"]
    assert fewer(ratios) == ["c"]
