# SPDX-License-Identifier: MIT
"""A pytest plugin: a test leaves the process as it found it, or fails.

Tests share a process, and under pytest-xdist each run shares it differently: a log level or a signal handler that one
test leaves behind makes another fail, in one run of many. So what belongs to the whole process is compared before and
after each test, its fixtures included. What differs is put back, and the test that left it fails by name.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SIGNALS = signal.valid_signals() - {getattr(signal, "SIGALRM", None)}  # pytest-timeout's own
_PYTESTS_OWN = {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}


def _levels() -> dict[str, int]:
    named = dict(logging.root.manager.loggerDict)
    return {
        "": logging.root.level,
        **{name: one.level for name, one in named.items() if isinstance(one, logging.Logger) and one.level},
    }


def _restore_levels(levels: dict[str, int]) -> None:
    for name in {*levels, *_levels()}:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _restore_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _PYTESTS_OWN}


def _restore_environment(environment: dict[str, str]) -> None:
    for name in _environment().keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _restore_collector(state: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if state[0] else gc.disable)()
    gc.set_threshold(*state[1])


def _restore_hooks(hooks: tuple[Any, Any, Any]) -> None:
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


# what it is called: (reads it, puts it back)
_WATCHED: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the levels of loggers": (_levels, _restore_levels),
    "the handlers of signals": (_handlers, _restore_handlers),
    "the environment": (_environment, _restore_environment),
    "the working directory": (os.getcwd, os.chdir),
    "the umask": (_umask, os.umask),
    "the garbage collector": (lambda: (gc.isenabled(), gc.get_threshold()), _restore_collector),
    "sys.path": (lambda: list(sys.path), lambda path: sys.path.__setitem__(slice(None), path)),
    "the hooks for exceptions": (
        lambda: (sys.excepthook, threading.excepthook, sys.unraisablehook),
        _restore_hooks,
    ),
}
if resource is not None:
    _WATCHED["the limit of descriptors"] = (
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        lambda limit: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    before = {name: read() for name, (read, _) in _WATCHED.items()}
    yield
    left = []
    for name, (read, restore) in _WATCHED.items():
        if (found := read()) != before[name]:
            left.append(f"{name}: {_difference(before[name], found)}")
            restore(before[name])
    assert not left, "the test has left behind, for all tests after it in this process:\n" + "\n".join(left)


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return ", ".join(f"{name!r}: {before.get(name)!r} -> {after.get(name)!r}" for name in names)
    return f"{before!r} -> {after!r}"
