# SPDX-License-Identifier: MIT
"""Runs of pytest on planted tests, to see what the plugins of tests/plugins do with them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

PLUGINS = Path(__file__).parents[1] / "plugins"
HANG_S = 50  # far longer than a planted run takes


def planted_run(
    directory: Path, source: str, *arguments: str, plugins: Iterable[str], **environ: str
) -> tuple[int, str]:
    """Exit status and output of a pytest run of its own, with these plugins only."""
    (directory / "test_planted.py").write_text(textwrap.dedent(source))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    loaded = [f"-p{name}" for name in (*plugins, "no:cacheprovider")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-Wignore", f"--rootdir={directory}", *loaded, *arguments,
         str(directory)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=HANG_S, check=False,
        env=plain | {"PYTHONPATH": str(PLUGINS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environ,
    )  # fmt: skip
    return done.returncode, done.stdout
