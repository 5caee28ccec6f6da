# SPDX-License-Identifier: MIT
"""Shared by the tests of commands: a monitor, and ways to run the command line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.ping_monitor import LONG_S, certificate, https_monitor, make_monitor, monitor, mute, nobody

__all__ = ["certificate", "https_monitor", "make_monitor", "monitor", "mute", "nobody"]  # fixtures

# Tests that talk to a real monitor, or share its types, need heartfelt[monitor].
_NEED_MONITOR = ["test_bulk.py", "test_client.py", "test_follow.py", "test_monitor_commands.py", "test_top_*.py"]
collect_ignore_glob = [] if importlib.util.find_spec("msgspec") else _NEED_MONITOR


@pytest.fixture
def heartfelt():
    """heartfelt(*args, **options of subprocess.run): runs the command to its end."""

    def run(*args, **options):
        command = [sys.executable, "-m", "heartfelt", *args]
        options = {"text": True, **options}
        return subprocess.run(command, capture_output=True, timeout=LONG_S, check=False, **options)

    return run


@pytest.fixture
def start_heartfelt():
    """start_heartfelt(*args, **options of Popen): starts the command; killed at the end of the test."""
    started = []

    def start(*args, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-m", "heartfelt", *args], **{**pipes, **options})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LONG_S)
