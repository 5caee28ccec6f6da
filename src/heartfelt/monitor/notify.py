# SPDX-License-Identifier: MIT
"""Tells systemd how the monitor is doing: the sd_notify protocol, datagrams to the socket in NOTIFY_SOCKET.

A pulse of the watchdog is sent by the event loop, and only while verdicts flow: if the loop hangs, or timeouts are no
longer read, no pulse is sent and systemd restarts the monitor. A disk that does not respond withholds no pulse, since a
restart would not mend it, and losses are still reported meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from heartfelt.monitor.metric import Figures, Reading, counter, read

__all__ = ["Notifier", "Pulse"]

STATUS_S = 10.0
"""The most often that the status is sent."""
AGAIN_S = 1.0
"""How soon it is asked again whether the monitor works, after it did not."""
MOST_SOCKET_NAME = 107
FIGURES: Figures = {
    "sent": counter("heartfelt_notify_sent", "Messages to the service manager (sd_notify)"),
    "failures": counter("heartfelt_notify_failures", "Messages that the service manager did not take"),
    "withheld": counter("heartfelt_notify_withheld", "Watchdog pulses that were not sent, since verdicts did not flow"),
}
_logger = logging.getLogger("heartfelt.monitor")


class Notifier:
    """Sends states to the service manager; does nothing without one. Never blocks or raises: failures are counted, and
    the first is logged.

    address: NOTIFY_SOCKET; a name that begins with "@" is abstract. watchdog_s: the time within which systemd expects
    the next pulse; None: it expects none.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s if address else None
        self.sent = self.failures = self.withheld = 0
        self._address = b""
        self._socket: socket.socket | None = None
        if address:
            self._open(address)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] | None = None) -> Notifier:
        """Takes the variables out of the environment, so that no child process notifies for the monitor."""
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", None)
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = not pid or pid == str(os.getpid())
        watched = is_ours and usec.isascii() and usec.isdigit() and len(usec) < 19 and int(usec) > 0
        return cls(address, int(usec) / 1e6 if watched else None)

    def _open(self, address: str) -> None:
        name = os.fsencode(address)
        if not name.startswith((b"/", b"@")) or len(name) > MOST_SOCKET_NAME or not hasattr(socket, "AF_UNIX"):
            self._failed(f"NOTIFY_SOCKET must be a path or @name; got {address[:200]!r}")
            return
        self._address = b"\0" + name[1:] if name.startswith(b"@") else name
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        except OSError as error:
            self._failed(str(error))

    @property
    def is_used(self) -> bool:
        return self._socket is not None

    def send(self, **states: str | int) -> None:
        """Sends states by their names, such as READY=1, in one message."""
        if self._socket is None:
            return
        lines = [f"{name}={str(value).translate(_ONE_LINE)}" for name, value in states.items()]
        try:
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            self._failed(str(error))
        else:
            self.sent += 1

    def ready(self, status: str) -> None:
        self.send(READY=1, STATUS=status)

    def reloading(self) -> None:
        """Begins a reload; `ready` ends it."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self, seconds: float) -> None:
        """Begins the stop, which may take this long."""
        self.send(STOPPING=1, STATUS="stopping", EXTEND_TIMEOUT_USEC=int(seconds * 1e6))

    def close(self) -> None:
        """Idempotent."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _failed(self, why: str) -> None:
        self.failures += 1
        if self.failures == 1:
            _logger.warning("the service manager cannot be notified (later failures are only counted): %s", why)

    def stats(self) -> dict[str, Any]:
        return {"sent": self.sent, "failures": self.failures, "withheld": self.withheld}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


_ONE_LINE = {10: " ", 13: " "}


class Pulse:
    """Sends the watchdog's pulses, at half of the time that systemd allows, and the status when it has changed.

    fault: returns why the monitor does not do its work, or None. status: a short text for people.
    """

    def __init__(self, notifier: Notifier, *, fault: Callable[[], str | None], status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._fault = fault
        self._status = status
        self._shown = ""
        self._shown_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._is_faulty = False
        watchdog_s = notifier.watchdog_s
        self._every_s = STATUS_S if watchdog_s is None else min(STATUS_S, watchdog_s / 2)

    def start(self) -> None:
        if self._notifier.is_used:
            self._beat()

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = self._every_s
        states: dict[str, str | int] = {}
        if self._notifier.watchdog_s is not None:
            if (fault := self._fault()) is None:
                states["WATCHDOG"] = 1
                self._is_faulty = False
            else:
                self._withhold(fault)
                next_s = min(next_s, AGAIN_S)
        if loop.time() - self._shown_s >= STATUS_S and (status := self._status()) != self._shown:
            self._shown, self._shown_s = status, loop.time()
            states["STATUS"] = status
        if states:
            self._notifier.send(**states)
        self._timer = loop.call_later(next_s, self._beat)

    def _withhold(self, fault: str) -> None:
        self._notifier.withheld += 1
        if not self._is_faulty:
            self._is_faulty = True
            _logger.error("the watchdog gets no pulse, so the service manager will restart the monitor: %s", fault)
