# SPDX-License-Identifier: MIT
"""The running services, and what happens to them at a fork and at the exit of the interpreter.

In a forked child, services start again a moment after the fork, not during it: a child that runs another program at
once, or ends, does not appear as an instance.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from typing import Protocol

from heartfelt.agent.service import refresh

RESTART_AFTER_S = 0.2
EXIT_WAIT_S = 2.0  # for all goodbyes together

_logger = logging.getLogger("heartfelt.agent")


class Running(Protocol):
    """A service, as far as forks and the exit concern it."""

    def _in_child(self) -> None:
        """Called in a forked child, in its only thread: lets go of what the parent's threads had."""

    def _start_in_child(self) -> None:
        """Starts again, a moment after the fork."""

    def _stop_at_exit(self, wait_s: float) -> None:
        """Says goodbye, for at most `wait_s`."""


_running: dict[Running, None] = {}  # each operation is atomic: no lock that a fork could leave locked


def remember(service: Running) -> None:
    _running[service] = None


def forget(service: Running) -> None:
    _running.pop(service, None)


def start_later(service: Running) -> None:
    """Starts a service of a forked child, after a moment."""
    refresh.the_refresher.add(_Restart(service), time.monotonic() + RESTART_AFTER_S)


class _Restart:
    """Starts a service, from the refresh thread of a child."""

    def __init__(self, service: Running) -> None:
        self._service = service

    def tick(self, now: float) -> None:
        self._service._start_in_child()

    def __repr__(self) -> str:
        return f"the start after a fork of {self._service!r}"


def _in_child() -> None:
    refresh.in_child()
    for service in list(_running):
        try:
            service._in_child()
        except Exception:  # an exception in a fork's hook would only be printed
            _logger.exception("%r does not continue after the fork", service)
    if _running and (util := sys.modules.get("multiprocessing.util")):
        # A child of multiprocessing ends without atexit, and drops finalizers registered before the fork.
        util.register_after_fork(_Restart, lambda _: util.Finalize(None, _at_exit, exitpriority=10))


@atexit.register
def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_WAIT_S
    for service in list(_running):
        try:
            service._stop_at_exit(deadline - time.monotonic())
        except Exception:
            _logger.exception("cannot stop %r", service)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
