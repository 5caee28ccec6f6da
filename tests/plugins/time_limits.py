# SPDX-License-Identifier: MIT
"""A pytest plugin: each test has a time limit, and a hang is a failure that shows the stacks of all threads.

The limit is LIMIT_S, or that of `@pytest.mark.time_limit(seconds, reason="...")`, times `--limit-times` (sanitizers
slow a test down). Two things watch it:

1. pytest-timeout, by SIGALRM: the test fails with the stacks of all threads, and the run goes on.
2. A watchdog, GRACE_S later, for what the signal cannot interrupt: C code that keeps the GIL, a teardown or an exit
   that hangs, an exception that is swallowed. It is a C thread of faulthandler's and needs no GIL. It writes the stacks
   to stderr and ends the process with exit status 1; an xdist worker that ends so is a failure of its test.

The watchdog also watches what is between the tests: collection, the end of the session, the exit of the interpreter;
and in the controller of xdist, which may wait for a worker for ever, the whole session: SESSION_S.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 60.0
GRACE_S = 20.0
SESSION_S = 45 * 60.0

_TASKS = Path("/proc/self/task")
_SETTINGS = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("time limits")
    group.addoption(
        "--limit-times", type=float, default=1.0, metavar="N", help="give each test N times its time limit (default: 1)"
    )
    group.addoption(
        "--limit-grace", type=float, default=GRACE_S, metavar="SECONDS",
        help=f"end the process so long after a test's limit if it still hangs (default: {GRACE_S:g})",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"time_limit(seconds, *, reason): lets a test run for another time than {LIMIT_S:g} s, and says why"
    )
    if not config.pluginmanager.hasplugin("timeout"):
        raise pytest.UsageError("pytest-timeout is not installed: python -m pip install --group test")
    config.pluginmanager.register(Watchdog(config), "watchdog")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Turns a test's limit into the mark that pytest-timeout reads."""
    if item.get_closest_marker("timeout"):
        raise pytest.UsageError(f"{item.nodeid}: say time_limit(seconds, reason=...) instead of timeout(...)")
    given = item.config.getoption("timeout")
    seconds = LIMIT_S if given is None else given
    marker = item.get_closest_marker("time_limit")
    if marker is not None and seconds:  # --timeout=0 turns all limits off
        seconds = _marked(item, *marker.args, **marker.kwargs)
    item.add_marker(pytest.mark.timeout(seconds * item.config.getoption("limit_times")))


def _marked(item: pytest.Item, *arguments: object, reason: object = None, **others: object) -> float:
    match arguments, reason:
        case [[int() | float() as seconds], str()] if seconds > 0 and reason.strip() and not others:
            return float(seconds)
    raise pytest.UsageError(
        f"{item.nodeid}: time_limit needs a number of seconds above 0 and a reason: "
        f"@pytest.mark.time_limit(120, reason='...'), not {arguments!r}, reason={reason!r}, {others!r}"
    )


class Watchdog:
    def __init__(self, config: pytest.Config) -> None:
        self._stderr = os.dup(2)  # pytest does not capture it now; in a worker it is that of the controller
        self._times = config.getoption("limit_times")
        self._grace_s = config.getoption("limit_grace")
        given = config.getoption("timeout")
        self._between_s = (LIMIT_S if given is None else given) * self._times + self._grace_s
        self._off = given == 0 or config.getoption("usepdb")
        self._is_worker = hasattr(config, "workerinput")
        self._is_controller = not self._is_worker and bool(config.getoption("tx", None))
        self._lock = threading.RLock()  # a test may fork from any thread
        self._expires: float | None = None
        self._own_task: set[str] = set()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._lock.release
            )
        self._arm_between_tests()

    # -- hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            if not self._is_controller:
                self._arm_between_tests()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """Begins a run of the test: each of its reruns has the whole time again."""
        settings = item.stash.get(_SETTINGS, None)
        if settings is not None:
            if getattr(item, "execution_count", 1) > 1:
                item.config.hook.pytest_timeout_cancel_timer(item=item)
                item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)
            self._arm(settings.timeout + self._grace_s)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> Iterator[None]:
        """Arms the watchdog again: pytest cancels it when a test fails, but its teardown may hang as well."""
        yield
        settings = node.stash.get(_SETTINGS, None)
        if settings is not None:
            self._arm(settings.timeout + self._grace_s)

    @pytest.hookimpl(wrapper=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> Iterator[object]:
        item.stash[_SETTINGS] = settings
        return (yield)

    def pytest_sessionfinish(self) -> None:
        if not self._is_controller:
            self._arm(self._between_s)

    def pytest_enter_pdb(self) -> None:
        self._off = True
        self._cancel()

    # -- the watchdog itself

    def _arm_between_tests(self) -> None:
        if self._is_worker:
            self._cancel()  # it may have to wait for the other workers for long
        elif self._is_controller:
            self._arm(SESSION_S * self._times)
        else:
            self._arm(self._between_s)

    def _arm(self, seconds: float) -> None:
        with self._lock:
            self._cancel()
            if not self._off:
                before = _tasks()
                faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
                self._own_task = _tasks() - before
                self._expires = time.monotonic() + seconds

    def _cancel(self) -> None:
        """Stops the watchdog's thread. Waits until it is gone, since there are tests that count threads."""
        with self._lock:
            faulthandler.cancel_dump_traceback_later()
            give_up = time.monotonic() + 1
            while len(self._own_task) == 1 and self._own_task <= _tasks() and time.monotonic() < give_up:
                time.sleep(0.0001)
            self._own_task, self._expires = set(), None

    def _before_fork(self) -> None:
        """A child would wait for ever for the watchdog's thread, which it does not have: at its exit, or when it uses
        faulthandler itself."""
        self._lock.acquire()
        expires = self._expires
        self._cancel()
        self._expires = expires

    def _after_fork(self) -> None:
        if self._expires is not None:
            self._arm(max(0.001, self._expires - time.monotonic()))
        self._lock.release()


def _tasks() -> set[str]:
    return {task.name for task in _TASKS.iterdir()} if _TASKS.exists() else set()
