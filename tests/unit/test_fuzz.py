# SPDX-License-Identifier: MIT
"""What `make fuzz` does for long, for a moment: no bytes make what parses them do anything but refuse them clearly."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZERS = sorted((Path(__file__).parents[1] / "fuzz").glob("fuzz_*.py"))


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=lambda path: path.stem)
def test_a_moment_of_fuzzing(fuzzer):
    done = subprocess.run([sys.executable, fuzzer, "1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    if "is not installed" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert int(done.stdout.split()[0]) > 0
