# SPDX-License-Identifier: MIT
"""Look-ups of host names for the native sender, which cannot do them itself.

One thread waits until a line wishes for a look-up, which then runs on a thread of its own (heartfelt._net.resolver).
The native sender uses the last addresses until it gets others. All are daemon threads of the system, also where gevent
or eventlet patches threads: they wait in compiled code. The one that waits ends with the last line that has a name. A
line to an IP address needs none of these threads.
"""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Sequence

from heartfelt import _sender
from heartfelt._greenlets import allocate_lock
from heartfelt._net.resolver import Address, LookUp, Resolver
from heartfelt._threads import Thread

__all__ = ["Named", "native_addresses"]


def native_addresses(addresses: Sequence[Address]) -> list[tuple[str, int, int]]:
    """Addresses as SenderLine.set_addresses takes them: the address as text, the port, the scope id."""
    return [
        (str(where[0]).partition("%")[0], int(where[1]), int(where[3]) if len(where) > 3 else 0)
        for _, _, where in addresses
    ]


class Named:
    """A line to a host that has a name. `error` is the reason of the last look-up that failed."""

    def __init__(self, line: _sender.SenderLine, host: str, port: int, kind: socket.SocketKind) -> None:
        self.error: str | None = None
        self._line = line
        self._resolver = Resolver(host, port, kind)
        self._look_up: LookUp | None = None  # set by the waiting thread, unset by the look-up's

    def attend(self) -> None:
        """Serves the line's wishes. Raises RuntimeError without a thread, MemoryError without a descriptor."""
        number = id(self)
        _sender.wait_for_wish(0)
        _served[number] = weakref.ref(self, lambda _: _forget(number))
        _keep_waiting()

    def leave(self) -> None:
        _forget(id(self))

    def _look_up_if_wished(self) -> None:
        if self._look_up is not None or not self._line.take_wish():
            return
        try:
            self._look_up = self._resolver.start()
        except RuntimeError as error:  # no thread can be started; the line tries again after its wait
            self._failed(str(error))
        else:
            self._look_up.listen(self._looked_up)

    def _looked_up(self) -> None:
        look_up, self._look_up = self._look_up, None
        assert look_up is not None
        if look_up.error is None:
            self._line.set_addresses(native_addresses(look_up.found))
        else:
            self._failed(look_up.error.strerror or str(look_up.error))
        _sender.ring_wishes()  # there may be a new wish by now

    def _failed(self, why: str) -> None:
        self.error = why
        self._line.lookup_failed()


# The lines that are served, by their id(). Each operation on the dict is atomic, with a GIL and without one.
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


def _reset() -> None:
    """Called in a forked child, where the waiting thread does not exist, and its lock may be held for ever."""
    global _starting, _waiter
    _starting, _waiter = allocate_lock(), None
    _served.clear()


os.register_at_fork(after_in_child=_reset)
