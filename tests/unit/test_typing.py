# SPDX-License-Identifier: MIT
"""The types that users see are true: mypy over the sources and tests/typing, stubtest over the compiled modules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).parents[2]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_mypy_strict_finds_nothing():
    done = run("mypy", "--strict", "src", "tests/typing")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_a_wrong_use(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from heartfelt import HeartHub\nHeartHub(1).heartbeat(1.5)\n")
    done = run("mypy", "--strict", str(wrong))
    assert "wrong.py:2: error:" in done.stdout, done.stdout + done.stderr


def test_the_stubs_are_as_the_compiled_modules_are():
    allowed = ["--allowlist", "tests/typing/stubtest_allow.txt", "--ignore-unused-allowlist"]
    done = run("mypy.stubtest", "heartfelt._core", "heartfelt._event", *allowed)
    assert done.returncode == 0, done.stdout + done.stderr
