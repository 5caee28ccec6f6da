# SPDX-License-Identifier: MIT
"""A pytest plugin: what a rerun (pytest-rerunfailures) may not hide.

A test that hangs is not run again. A worker of xdist that ends (a crash, or the watchdog of time_limits.py) fails the
run, even if its test passes on another worker. Each rerun is written to the file that PYTEST_RERUN_LIST names.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest

HANG = r"from pytest-timeout"  # what a failure by pytest-timeout ends with


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    if config.getoption("reruns"):
        config.option.rerun_except = [*(config.option.rerun_except or []), HANG]
    if not hasattr(config, "workerinput"):  # the controller gets the reports of its workers
        config.pluginmanager.register(Reruns(os.environ.get("PYTEST_RERUN_LIST")), "reruns_watch")


class Reruns:
    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._crashed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "rerun" or self._path is None:
            return
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash is not None else str(report.longrepr or "")
        first_line = (message.strip().splitlines() or ["no message"])[0][:200]
        with self._path.open("a") as file:
            file.write(f"{report.nodeid} ({report.when}, Python {platform.python_version()}): {first_line}\n")

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        self._crashed.append(crashitem)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._crashed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for nodeid in self._crashed:
            terminalreporter.write_line(f"A worker ended while it ran {nodeid}: a failure, whatever a rerun says.")
