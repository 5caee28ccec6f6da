# SPDX-License-Identifier: MIT
"""Processes whose standard library gevent or eventlet has patched: what is real there, and how a greenlet waits.

In such a process `threading.Thread` is a greenlet, and a lock is the library's. If a greenlet waited in compiled code,
all others would stand still with it. So heartfelt's own threads and locks are the system's, whenever the patch was
applied (_threads.py), and a greenlet that waits for a hub lets the others run: it waits by the library's own means.

Neither library is imported here; a program that patches has done so. What they offer is taken from `sys.modules`.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heartfelt._bell import Bell

__all__ = [
    "Lock",
    "allocate_lock",
    "get_ident",
    "is_patched",
    "may_switch",
    "natively",
    "original",
    "sleep",
    "wait_for",
]

LONGEST_WAIT_S = 86400.0  # an event loop may refuse more than 2**31 ms

Lock = _thread.LockType


class _TimedOut(Exception):
    pass


class _Gevent:
    @staticmethod
    def has_patched() -> bool:
        monkey: Any = sys.modules.get("gevent.monkey")
        return monkey is not None and (monkey.is_module_patched("_thread") or monkey.is_module_patched("select"))

    @staticmethod
    def original(module: ModuleType, name: str) -> Any:
        return sys.modules["gevent.monkey"].get_original(module.__name__, name)

    @staticmethod
    def loop_greenlet() -> Any:
        """The greenlet of this thread's event loop; None if it has none, and so no other greenlet either."""
        find = getattr(sys.modules.get("gevent._hub_local"), "get_hub_if_exists", None)
        return find() if find is not None else sys.modules["gevent"].get_hub()  # which makes one

    @staticmethod
    def sleep(seconds: float) -> None:
        sys.modules["gevent"].sleep(seconds)

    @staticmethod
    def wait_readable(descriptor: int, seconds: float) -> None:
        sys.modules["gevent.socket"].wait_read(descriptor, seconds, _TimedOut)


class _Eventlet:
    @staticmethod
    def has_patched() -> bool:
        patcher: Any = sys.modules.get("eventlet.patcher")
        return patcher is not None and (patcher.is_monkey_patched("thread") or patcher.is_monkey_patched("select"))

    @staticmethod
    def original(module: ModuleType, name: str) -> Any:
        return getattr(sys.modules["eventlet.patcher"].original(module.__name__), name)

    @staticmethod
    def loop_greenlet() -> Any:
        return sys.modules["eventlet.hubs"].get_hub().greenlet

    @staticmethod
    def sleep(seconds: float) -> None:
        sys.modules["eventlet"].sleep(seconds)

    @staticmethod
    def wait_readable(descriptor: int, seconds: float) -> None:
        # A copy, since eventlet refuses a second greenlet that waits for the same descriptor.
        copied = os.dup(descriptor) if os.name == "posix" else descriptor
        try:
            sys.modules["eventlet.hubs"].trampoline(copied, read=True, timeout=seconds, timeout_exc=_TimedOut)
        finally:
            if copied != descriptor:
                os.close(copied)


_LIBRARIES = (_Gevent, _Eventlet)
_native: set[int] = set()  # heartfelt's own threads, by get_ident(): they have no greenlets


def _keep_own_thread() -> None:
    """In the child after a fork it is the only one."""
    _native.intersection_update({get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_own_thread)


def _library() -> type[_Gevent | _Eventlet] | None:
    for library in _LIBRARIES:
        if library.has_patched():
            return library
    return None


def is_patched() -> bool:
    """Whether a thread that is started now by `threading` would be a greenlet."""
    return _library() is not None


def original(module: ModuleType, name: str) -> Any:
    """`module.name` as it is, or was before it was patched."""
    library = _library()
    return getattr(module, name) if library is None else library.original(module, name)


allocate_lock: Callable[[], Lock] = original(_thread, "allocate_lock")
get_ident: Callable[[], int] = original(_thread, "get_ident")


@contextlib.contextmanager
def natively() -> Iterator[None]:
    """Within it the calling thread of the system has no greenlets, so it may wait as it is."""
    ident = get_ident()
    _native.add(ident)
    try:
        yield
    finally:
        _native.discard(ident)


def _switching() -> type[_Gevent | _Eventlet] | None:
    """The library by which the caller must wait; None: other greenlets cannot be held up by it."""
    library = _library()
    if library is None or get_ident() in _native or library.loop_greenlet() is None:
        return None
    return library


def may_switch() -> bool:
    """Whether the caller has other greenlets beside it, and can let them run by `sleep`."""
    library = _switching()
    return library is not None and library.loop_greenlet() is not sys.modules["greenlet"].getcurrent()


def sleep(seconds: float) -> None:
    """Lets other greenlets run; only where `may_switch`."""
    library = _library()
    if library is not None:
        library.sleep(seconds)


def wait_for(bell: Bell, timeout_ns: int = -1) -> None:
    """As `bell.wait`, but other greenlets run meanwhile. It may end early."""
    library = _switching()
    if library is None:
        bell.wait(timeout_ns)
        return
    seconds = LONGEST_WAIT_S if timeout_ns < 0 else min(timeout_ns / 1e9, LONGEST_WAIT_S)
    with contextlib.suppress(_TimedOut):
        library.wait_readable(bell.fileno(), seconds)
