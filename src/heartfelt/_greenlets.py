# SPDX-License-Identifier: MIT
"""Processes patched by gevent or eventlet: real threads and locks there, and waiting in a greenlet.

In such a process `threading.Thread` is a greenlet, and locks are the library's. A greenlet that waited in compiled code
would block all others. So heartfelt's own threads and locks are real ones, whenever the patch was applied
(_threads.py), and a greenlet that waits for a hub waits by the library's own means, so that others run.

Neither library is imported here: a program that patches has already imported it. It is looked up in `sys.modules`.
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
        """Returns the greenlet of this thread's event loop; None if there is none, and hence no other greenlet."""
        find = getattr(sys.modules.get("gevent._hub_local"), "get_hub_if_exists", None)
        return find() if find is not None else sys.modules["gevent"].get_hub()  # which creates one

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
        # A duplicate: eventlet does not let two greenlets wait for the same descriptor.
        copied = os.dup(descriptor) if os.name == "posix" else descriptor
        try:
            sys.modules["eventlet.hubs"].trampoline(copied, read=True, timeout=seconds, timeout_exc=_TimedOut)
        finally:
            if copied != descriptor:
                os.close(copied)


_LIBRARIES = (_Gevent, _Eventlet)
_native: set[int] = set()  # heartfelt's own threads, by get_ident(); they have no greenlets


def _keep_own_thread() -> None:
    """Forgets all other threads in the child after a fork, where they do not exist."""
    _native.intersection_update({get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_own_thread)


def _find_library() -> type[_Gevent | _Eventlet] | None:
    for library in _LIBRARIES:
        if library.has_patched():
            return library
    return None


# Without a GIL a thread that reads sys.modules just as the interpreter ends may be stopped for good with its lock, and
# the interpreter then never ends. There, patches that come later are not seen; gevent has no such build anyway.
_FREE_THREADED = "free-threading" in sys.version
_library_at_import = _find_library()


def _library() -> type[_Gevent | _Eventlet] | None:
    return _library_at_import if _FREE_THREADED else _find_library()


def is_patched() -> bool:
    """Whether a thread started now by `threading` would be a greenlet."""
    return _library() is not None


def original(module: ModuleType, name: str) -> Any:
    """Returns `module.name`, as it was before any patch."""
    library = _library()
    return getattr(module, name) if library is None else library.original(module, name)


allocate_lock: Callable[[], Lock] = original(_thread, "allocate_lock")
get_ident: Callable[[], int] = original(_thread, "get_ident")


@contextlib.contextmanager
def natively() -> Iterator[None]:
    """Marks the calling thread, within the context, as one without greenlets, which may block."""
    ident = get_ident()
    _native.add(ident)
    try:
        yield
    finally:
        _native.discard(ident)


def _switching() -> type[_Gevent | _Eventlet] | None:
    """Returns the library that the caller must wait by; None if its waiting cannot block other greenlets."""
    library = _library()
    if library is None or get_ident() in _native or library.loop_greenlet() is None:
        return None
    return library


def may_switch() -> bool:
    """Whether there are other greenlets that the caller can let run by `sleep`."""
    library = _switching()
    return library is not None and library.loop_greenlet() is not sys.modules["greenlet"].getcurrent()


def sleep(seconds: float) -> None:
    """Lets other greenlets run. Call only if `may_switch()`."""
    library = _library()
    if library is not None:
        library.sleep(seconds)


def wait_for(bell: Bell, timeout_ns: int = -1) -> None:
    """Like `bell.wait`, but other greenlets run meanwhile. It may return early."""
    library = _switching()
    if library is None:
        bell.wait(timeout_ns)
        return
    seconds = LONGEST_WAIT_S if timeout_ns < 0 else min(timeout_ns / 1e9, LONGEST_WAIT_S)
    with contextlib.suppress(_TimedOut):
        library.wait_readable(bell.fileno(), seconds)
