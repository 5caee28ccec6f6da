# SPDX-License-Identifier: MIT
"""Host names for the native sender, which cannot look them up: one thread waits for wishes of lines that have a name.

A look-up may hang for a minute, and nothing can cut it short, so each has a thread of its own, at most one a line. The
last good addresses stay in use until there are others. An address needs no look-up and none of these threads. All are
daemon threads of the system's, also where gevent or eventlet makes greenlets of others: they wait in compiled code. The
one that waits ends with the last line that it serves.
"""

from __future__ import annotations

import os
import socket
import weakref

from heartfelt import _sender
from heartfelt._greenlets import allocate_lock, original
from heartfelt._threads import Thread

__all__ = ["Named", "literal"]

Address = tuple[str, int, int]
"""The address as text, port, scope id: as SenderLine.set_addresses takes it."""


def literal(host: str, port: int) -> list[Address] | None:
    """The address that `host` is; None if it is a name."""
    try:
        return _looked_up(host, port, socket.SOCK_STREAM, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return None


def _looked_up(host: str, port: int, kind: socket.SocketKind, flags: int = 0) -> list[Address]:
    found = []
    for family, _, _, _, address in original(socket, "getaddrinfo")(host, port, type=kind, flags=flags):
        if family in (socket.AF_INET, socket.AF_INET6):
            text = str(address[0]).partition("%")[0]
            found.append((text, port, int(address[3]) if len(address) > 3 else 0))
    if not found:
        raise OSError(f"{host!r} has neither an IPv4 nor an IPv6 address")
    return found


class Named:
    """A line to a host that has a name. `error` is what the last look-up that failed failed with."""

    def __init__(self, line: _sender.SenderLine, host: str, port: int, kind: socket.SocketKind) -> None:
        self.error: str | None = None
        self._line, self._host, self._port, self._kind = line, host, port, kind
        self._under_way = False  # set by the waiting thread, unset by the look-up's

    def attend(self) -> None:
        """From now on its wishes are granted. Raises RuntimeError: no thread; MemoryError: no descriptor to wait at."""
        number = id(self)
        _sender.wait_for_wish(0)
        _served[number] = weakref.ref(self, lambda _: _forget(number))
        _keep_waiting()

    def leave(self) -> None:
        _forget(id(self))

    def _look_up_if_wished(self) -> None:
        if self._under_way or not self._line.take_wish():
            return
        self._under_way = True
        try:
            Thread(self._look_up, (), "heartfelt look-up").start()
        except RuntimeError as error:  # no thread to be had, now or any more; the line tries again after its wait
            self._under_way = False
            self._failed(str(error))

    def _look_up(self) -> None:
        try:
            found = _looked_up(self._host, self._port, self._kind)
        except OSError as error:
            self._failed(error.strerror or str(error))
        except ValueError as error:  # what cannot be a name, such as a label of more than 63 characters
            self._failed(str(error))
        else:
            self._line.set_addresses(found)
        self._under_way = False
        _sender.ring_wishes()  # there may be a new wish by now

    def _failed(self, why: str) -> None:
        self.error = why
        self._line.lookup_failed()


# Lines that wish, by their id(): each operation on the dict is whole, with a GIL and without one.
_served: dict[int, weakref.ref[Named]] = {}
_starting = allocate_lock()  # guards _waiter
_waiter: Thread | None = None


def _forget(number: int) -> None:
    _served.pop(number, None)
    _sender.ring_wishes()


def _keep_waiting() -> None:
    global _waiter
    with _starting:
        if _waiter is None:
            waiter = Thread(_wait, (), "heartfelt names")
            waiter.start()
            _waiter = waiter
    _sender.ring_wishes()


def _wait() -> None:
    global _waiter
    while True:
        _sender.wait_for_wish()
        for ref in list(_served.values()):
            named = ref()
            if named is not None:
                named._look_up_if_wished()
            del named
        with _starting:
            if not _served:
                _waiter = None
                return


def _start_anew() -> None:
    """In the child after a fork there is no thread that waits, and its lock may be held for good."""
    global _starting, _waiter
    _starting, _waiter = allocate_lock(), None
    _served.clear()


os.register_at_fork(after_in_child=_start_anew)
