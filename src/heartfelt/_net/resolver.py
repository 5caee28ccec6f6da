# SPDX-License-Identifier: MIT
"""Addresses of a host. A look-up can hang for a minute and cannot be cut short, so it has a thread of its own."""

from __future__ import annotations

import socket
import threading
from typing import Any

from heartfelt._net.connection import Waker

__all__ = ["Addresses"]

Address = tuple[int, socket.SocketKind, tuple[Any, ...]]
"""Family, kind, and the address as connect wants it."""


class Addresses:
    """Of one host and port. At most one look-up is under way, and one that hangs is not started again."""

    def __init__(self, host: str, port: int, kind: socket.SocketKind, waker: Waker) -> None:
        self._host, self._port, self._kind, self._waker = host, port, kind, waker
        self._under_way: _LookUp | None = None
        self._last_good: list[Address] = []

    def get(self, deadline: float) -> list[Address]:
        """Looked up anew; if that fails or takes longer than until the deadline, the last good ones.

        Raises OSError if there are none, and Closing.
        """
        try:
            found = _look_up(self._host, self._port, self._kind, socket.AI_NUMERICHOST)
        except (socket.gaierror, UnicodeError):  # it is a name
            pass
        else:
            return found
        one = self._under_way
        if one is None:
            one = self._under_way = _LookUp(self._host, self._port, self._kind, self._waker)
        self._waker.wait(deadline, one.done.is_set)
        error: OSError = TimeoutError(f"looking up {self._host!r} took too long")
        if one.done.is_set():
            self._under_way = None
            if one.error is None:
                self._last_good = one.found
                return one.found
            error = one.error
        if not self._last_good:
            raise error
        return self._last_good


class _LookUp:
    def __init__(self, host: str, port: int, kind: socket.SocketKind, waker: Waker) -> None:
        self.done = threading.Event()
        self.found: list[Address] = []
        self.error: OSError | None = None
        self._arguments = (host, port, kind, 0)
        self._waker = waker
        threading.Thread(target=self._run, name="heartfelt look-up", daemon=True).start()

    def _run(self) -> None:
        try:
            self.found = _look_up(*self._arguments)
        except OSError as error:
            self.error = error
        except ValueError as error:  # what cannot be a name, such as a label of more than 63 characters
            self.error = OSError(f"{self._arguments[0]!r} cannot be a host's name: {error}")
        self.done.set()
        self._waker.wake()


def _look_up(host: str, port: int, kind: socket.SocketKind, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=kind, flags=flags)
    return [(family, kind, address) for family, _, _, _, address in found]
