# SPDX-License-Identifier: MIT
"""A short run of `make fuzz`: whatever the bytes, the parsers either take them or refuse them clearly."""

import subprocess
import sys

import pytest

from tests import ROOT

FUZZERS = sorted(path.stem for path in (ROOT / "tests" / "fuzz").glob("fuzz_*.py"))


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_a_moment_of_fuzzing(fuzzer):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fuzz.{fuzzer}", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "is not installed" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert int(done.stdout.split()[0]) > 0
