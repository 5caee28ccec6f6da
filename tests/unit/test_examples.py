# SPDX-License-Identifier: MIT
"""The examples do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, *args):
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_ten_thousand_services_reports_the_first_three_once_each():
    found = re.findall(
        r"^TIME_OUT heartKey=(\d+) .* found after (\S+) ms$", run_example("ten_thousand_services", "2.5"), re.MULTILINE
    )
    keys = [key for key, _ in found]
    assert all(keys.count(key) == 1 for key in ("67", "100", "120"))
    assert all(float(after) >= 1000 for _, after in found)


def test_own_timeouts_come_in_the_order_of_the_deadlines():
    keys = [line.split(":")[0] for line in run_example("own_timeouts").splitlines()]
    assert keys == ["web server", "thermometer", "mail queue", "nightly backup"]


def test_asyncio_reader_sees_both_jobs_join_and_hang():
    lines = run_example("asyncio_reader").splitlines()
    assert sorted(lines) == ["JOIN long job", "JOIN short job", "TIME_OUT long job", "TIME_OUT short job"]
    assert lines[-2:] == ["TIME_OUT short job", "TIME_OUT long job"]


def test_examples_are_short():
    sizes = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert len(sizes) >= 3
    assert max(sizes.values()) < 60
