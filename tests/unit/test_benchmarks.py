# SPDX-License-Identifier: MIT
"""The benchmarks run, and tell what they are to tell: with few keys, and with the peers that happen to be installed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
N_KEYS = 500
OURS = {"hub.heartbeat(key)", "heart.beat()", "hub.heartbeat_many(keys)", "hub.heartbeat_ids(ids)"}
ALWAYS_THERE = {"dict", "heapq", "asyncio call_later", "threading.Timer"}
MAYBE = {"cachetools": "cachetools.TTLCache", "cachebox": "cachebox.TTLCache", "theine": "theine"}
GOALS = {
    "heartbeat(key)",
    "heartbeat(equal key)",
    "heart.beat()",
    "heartbeat_many(list)",
    "heartbeat_ids(ids)",
    "heartbeat(new key)",
    "all expire, drained",
    "all expire, 2 workers",
}

pytest.importorskip("numpy", reason="the benchmarks of heartbeat_ids need numpy")


pytestmark = pytest.mark.time_limit(180, reason="runs each benchmark once, and all that they are compared with")


def run(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def installed(package):
    return importlib.util.find_spec(package) is not None


def test_every_benchmark_runs():
    once = ["--benchmark-disable"] if installed("pytest_benchmark") else []
    out = run("-m", "pytest", "-v", "-p", "no:cacheprovider", BENCHMARKS, f"--keys={N_KEYS}", *once)
    n_missing = sum(not installed(package) for package in MAYBE)
    n_skipped = re.search(r"(\d+) skipped", out)
    assert int(n_skipped[1] if n_skipped else 0) == 3 * n_missing, out  # its beat, join and expiry
    passed = set(re.findall(r"^\S*(test_\w+\.py)::.* PASSED", out, re.MULTILINE))
    assert passed == {path.name for path in BENCHMARKS.glob("test_*.py")}, out


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Runs `ratios.py --peers`; returns the file that it writes and what it prints."""
    file = tmp_path_factory.mktemp("bench") / "made" / "bench.json"
    out = run(BENCHMARKS / "ratios.py", "--keys", N_KEYS, "--peers", "--markdown", "--json", file)
    return file, out


def test_ratios_answers_every_question(found):
    file, out = found
    written = json.loads(file.read_text(encoding="utf-8"))
    ways = OURS | ALWAYS_THERE | {name for package, name in MAYBE.items() if installed(package)}
    assert {one["name"] for one in written["goals"]} >= GOALS
    assert {one["name"] for one in written["peers"] if one["question"] == "beat"} == ways
    expiring = ways - OURS - {"threading.Timer"} | {"hub.heartbeat(key)"}
    assert {one["name"] for one in written["peers"] if one["question"] == "expiry"} == expiring
    for one in written["goals"]:
        assert one["n_keys"] == N_KEYS
        assert one["theirs"] > 0
    for package in MAYBE:
        assert installed(package) or f"{package} is not installed" in out
    assert written["about"]["python"] in out


def test_ratios_prints_markdown(found):
    _, out = found
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert sum("`heart.beat()`" in line for line in rows) == 2  # the goals; the ways
    assert len({line.count("|") for line in rows if "4-tuples" in line or "operation" in line}) == 1


def test_plot_draws_the_same_from_the_same(found, tmp_path):
    pytest.importorskip("matplotlib")
    file, _ = found
    drawn = []
    for _ in range(2):
        run(BENCHMARKS / "plot.py", file, "--out", tmp_path)
        drawn.append([(tmp_path / name).read_bytes() for name in ("beat.svg", "expiry.svg")])
    assert drawn[0] == drawn[1]
    assert all(picture.rstrip().endswith(b"</svg>") for picture in drawn[0])
