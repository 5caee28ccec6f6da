# SPDX-License-Identifier: MIT
"""The signals of `heartfelt serve`.

SIGTERM, SIGINT    stop. Again: stop faster, in the same order
SIGHUP             reload. Ignored if it was ignored when the process started, as by nohup
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Signals"]

_STOPS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Handles the signals of the process while it is entered, in the event loop's thread.

    stopping: set by the first signal to stop. hurry: called by each further one. reload: called for SIGHUP, unless the
    process is stopping.
    """

    def __init__(self, *, hurry: Callable[[], None], reload: Callable[[], None]) -> None:
        self.stopping = asyncio.Event()
        self._hurry = hurry
        self._reload = reload
        self._before: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Signals:
        self._loop = asyncio.get_running_loop()
        for one in _STOPS:
            self._handle(one, self.stop)
        if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._handle(signal.SIGHUP, self._hung_up)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if sys.platform == "win32":
            self._put_back()
            return
        # In between the default applies, which ends the process.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            self._put_back()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _put_back(self) -> None:
        for one, handler in self._before.items():
            if sys.platform != "win32":
                self._loop.remove_signal_handler(one)
            if handler is not None:  # None: it was not installed from Python
                signal.signal(one, handler)

    def _handle(self, one: int, function: Callable[[], None]) -> None:
        self._before[one] = signal.getsignal(one)
        if sys.platform == "win32":
            signal.signal(one, lambda *_: self._loop.call_soon_threadsafe(function) and None)
        else:
            self._loop.add_signal_handler(one, function)

    def stop(self) -> None:
        """Stops the process; the second call makes that faster."""
        if self.stopping.is_set():
            self._hurry()
        self.stopping.set()

    def _hung_up(self) -> None:
        if not self.stopping.is_set():
            self._reload()
