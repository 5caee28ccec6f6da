# SPDX-License-Identifier: MIT
"""Looking up host names. A look-up can hang for a minute and cannot be cancelled, so each has a thread of its own.

The thread is the system's, also where gevent or eventlet patches threads. An IP address needs neither a look-up nor a
thread.
"""

from __future__ import annotations

import codecs
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from heartfelt._greenlets import allocate_lock, original
from heartfelt._net.connection import Waker
from heartfelt._threads import Latch, Thread

__all__ = ["Address", "LookUp", "Resolver", "literal"]

Address: TypeAlias = tuple[int, socket.SocketKind, tuple[Any, ...]]
"""Family, kind, and the address as `socket.connect` takes it."""

# socket.getaddrinfo imports this codec when it is first called. A fork during that import, by another thread, would
# leave the child without it for good ("unknown encoding: idna"). Therefore it is imported here.
codecs.lookup("idna")


def literal(host: str, port: int, kind: socket.SocketKind) -> list[Address] | None:
    """The address if `host` is an IP address; None if it is a name. Does not block."""
    try:
        return _addresses(host, port, kind, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None


def _addresses(host: str, port: int, kind: socket.SocketKind, flags: int = 0) -> list[Address]:
    found = original(socket, "getaddrinfo")(host, port, type=kind, flags=flags)
    addresses = [
        (int(family), kind, address)
        for family, _, _, _, address in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    if not addresses:
        raise OSError(f"{host!r} has neither an IPv4 nor an IPv6 address")
    return addresses


class LookUp:
    """One look-up of a name. `found` and `error` are set before `done`."""

    def __init__(self, host: str) -> None:
        self.done = Latch()
        self.found: list[Address] = []
        self.error: OSError | None = None
        self._host = host
        self._listeners: dict[Callable[[], None], None] = {}  # a set in order: no more entries than waiters
        self._lock = allocate_lock()

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when the look-up is done: on its thread, or at once if it is done already."""
        with self._lock:
            if not self.done.is_set():
                self._listeners[listener] = None
                return
        listener()

    def run(self, port: int, kind: socket.SocketKind) -> None:
        """Asks the system, and blocks for as long as it does. Then call `finish`."""
        try:
            self.found = _addresses(self._host, port, kind)
        except OSError as error:
            self.error = error
        except ValueError as error:  # not a possible name, such as one with a label of more than 63 characters
            self.error = OSError(f"{self._host!r} cannot be the name of a host: {error}")

    def finish(self) -> None:
        with self._lock:
            self.done.set()
            listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            listener()


class Resolver:
    """The addresses of one host and port, for any number of threads.

    At most one look-up is under way; while one hangs, no other is started. The last addresses that were found stay in
    use until a look-up finds others.
    """

    def __init__(self, host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        self._host, self._port, self._kind = host, port, kind
        self._lock = allocate_lock()  # guards the two below; never held in a wait
        self._under_way: LookUp | None = None
        self._last_good: list[Address] = []

    def get(self, deadline: float, waker: Waker | None = None) -> list[Address]:
        """Looks the name up; if that fails or is not done by the deadline, the last addresses found.

        Blocks; `waker` can cancel it. Raises OSError if there are no addresses, Cancelled by the waker. If no thread
        can be started, as at the exit of the interpreter, the look-up runs in this one, which the deadline does not
        bound; with a waker that is an OSError instead.
        """
        addresses = literal(self._host, self._port, self._kind)
        if addresses is not None:
            return addresses
        try:
            look_up = self.start()
        except RuntimeError as error:
            if waker is not None:
                raise OSError(f"cannot look up {self._host!r}: {error}") from None
            look_up = LookUp(self._host)
            self._run(look_up)
        if waker is None:
            look_up.done.wait(max(0.0, deadline - time.monotonic()))
        else:
            look_up.listen(waker.wake)
            waker.wait(deadline, look_up.done.is_set)
        if look_up.done.is_set() and look_up.error is None:
            return look_up.found
        if self._last_good:
            return self._last_good
        if look_up.error is not None:
            raise look_up.error
        raise TimeoutError(f"looking up {self._host!r} took too long")

    def start(self) -> LookUp:
        """Returns the look-up that is under way, or a new one. Raises RuntimeError if no thread can be started."""
        with self._lock:
            if self._under_way is not None:
                return self._under_way
            look_up = LookUp(self._host)
            Thread(self._run, (look_up,), "heartfelt look-up").start()
            self._under_way = look_up
            return look_up

    def _run(self, look_up: LookUp) -> None:
        look_up.run(self._port, self._kind)
        with self._lock:  # before `finish`: a thread that waits for that may start the next one at once
            if self._under_way is look_up:
                self._under_way = None
            if look_up.error is None:
                self._last_good = look_up.found
        look_up.finish()
