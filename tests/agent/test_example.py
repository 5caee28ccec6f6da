# SPDX-License-Identifier: MIT
"""examples/agent.py does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent.py"


def run_example(url):
    return subprocess.run(
        [sys.executable, str(EXAMPLE), url], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_with_a_monitor(serve):
    server = serve("http")
    told = run_example(server.url)
    assert re.fullmatch(r"instance \S+\n[1-9]\d* beats taken by 127\.0\.0\.1, 0 not\n", told)
    [goodbye] = server.goodbyes
    assert goodbye["pluginInfoMap"]["worker"]["extInfo"]["status"] == "working"
    assert goodbye["timeoutMs"] == 1000


def test_without_one(serve):
    server = serve("http")
    server.refuse()
    assert re.search(r"\n0 beats taken by 127\.0\.0\.1, .*\nlast error: .*refused", run_example(server.url))
