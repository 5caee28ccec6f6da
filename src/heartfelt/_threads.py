# SPDX-License-Identifier: MIT
"""Real threads for code that waits in the compiled modules, and what is shared with them.

They are real even where gevent or eventlet has turned the standard library's threads into greenlets: see _greenlets.py.
Nothing that holds a lock from `_greenlets.allocate_lock` lets another greenlet run meanwhile.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Any

from heartfelt import _greenlets

__all__ = ["Latch", "Thread"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.02


class Latch:
    """A flag that is set once, by one thread; any number of threads can wait for it."""

    def __init__(self) -> None:
        self._is_set = False
        self._lock = _greenlets.allocate_lock()  # held until it is set
        self._lock.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Waits until it is set; returns whether it was in time. Lets other greenlets run."""
        if self._is_set:
            return True
        if _greenlets.may_switch():
            return self._wait_in_turns(time.monotonic() + seconds)
        if not self._lock.acquire(timeout=min(seconds, _thread.TIMEOUT_MAX)):
            return False
        self._lock.release()
        return True

    def _wait_in_turns(self, deadline: float) -> bool:
        # In short sleeps: a thread without the library's event loop must not release one of the library's locks.
        pause_s = FIRST_PAUSE_S
        while not self._is_set:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            _greenlets.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return True


class Thread:
    """A real daemon thread. It is a `threading.Thread` where those are not greenlets."""

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], name: str) -> None:
        self._work: tuple[Callable[..., object], tuple[Any, ...]] | None = (target, args)
        self._name = name
        self._ident = 0
        self._ended = Latch()
        self._plain: threading.Thread | None = None
        self.is_started = False

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError if the system cannot start one."""
        self.is_started = True
        try:
            if _greenlets.is_patched():
                _greenlets.original(_thread, "start_new_thread")(self._run, ())
            else:
                self._plain = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._plain.start()
        except BaseException:
            self.is_started = False
            raise

    def is_alive(self) -> bool:
        return self.is_started and not self._ended.is_set()

    def is_current(self) -> bool:
        return self._ident == _greenlets.get_ident() and not self._ended.is_set()

    def join(self, seconds: float) -> bool:
        """Waits for its end; returns whether it ended in time. Lets other greenlets run."""
        if not self.is_started:
            return True
        if self._plain is None or _greenlets.is_patched():
            return self._ended.wait(seconds)
        self._plain.join(min(seconds, _thread.TIMEOUT_MAX))
        return not self._plain.is_alive()

    def _run(self) -> None:
        work, self._work = self._work, None
        self._ident = _greenlets.get_ident()
        try:
            if work is not None:
                target, args = work
                work = None  # only the target may keep references to its arguments
                with _greenlets.natively():
                    target(*args)
        finally:
            self._ended.set()
