# SPDX-License-Identifier: MIT
"""Sockets for threads that must never hang: each wait has a deadline, and another thread can cancel it.

Deadlines are times of time.monotonic().
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from heartfelt._greenlets import allocate_lock

__all__ = ["Cancelled", "Connection", "Waker", "connect"]

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # neither has a descriptor that a fork shares
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_PIECE = 65536
_LONGEST_WAIT_S = 3600.0  # poll takes at most 2**31 ms

T = TypeVar("T")

_IGNORED = (OSError, ValueError)  # what closing may raise; nobody is left to handle it


class Cancelled(Exception):
    """The wait was cancelled by its Waker."""


class Waker:
    """Wakes a thread that waits. `until` bounds all its waits, whatever their own deadlines."""

    def __init__(self) -> None:
        self.until = float("inf")
        self._lock = allocate_lock()  # wake and close: the byte must not go to a descriptor that was reused
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def wake(self) -> None:
        """Ends the current wait, or the next one, early. From any thread."""
        with self._lock, contextlib.suppress(BlockingIOError, OSError):  # full: it will wake; closed: nobody waits
            self._there.send(b"\0")

    def cancel(self) -> None:
        """Makes all waits, from now on, raise Cancelled. From any thread."""
        self.until = float("-inf")
        self.wake()

    def wait(self, deadline: float, done: Callable[[], object]) -> None:
        """Waits until done() is true, which is checked after each wake-up, or the deadline. Raises Cancelled."""
        while not done() and time.monotonic() < deadline:
            self.wait_for(None, 0, deadline)

    def wait_for(self, channel: socket.socket | None, events: int, deadline: float) -> bool:
        """Waits for the socket's events (True), a wake-up or the deadline. Raises Cancelled beyond `until`."""
        now = time.monotonic()
        if now >= self.until:
            raise Cancelled
        left = min(deadline - now, self.until - now, _LONGEST_WAIT_S)
        with _Selector() as selector:
            selector.register(self._here, _READ)
            if channel is not None:
                selector.register(channel, events)
            ready = selector.select(max(0.0, left))
        is_ready = False
        for key, _ in ready:
            if key.fileobj is self._here:
                with contextlib.suppress(BlockingIOError):
                    self._here.recv(4096)
            else:
                is_ready = True
        return is_ready

    def close(self) -> None:
        with self._lock:
            self._here.close()
            self._there.close()

    def abandon(self) -> None:
        """Closes it in a forked child, where the lock may be held by a thread that does not exist there."""
        self._lock = allocate_lock()
        self.close()


class Connection:
    """A connected socket, with or without TLS. Raises OSError (TimeoutError and ssl.SSLError among them), Cancelled."""

    def __init__(self, connected: socket.socket, waker: Waker | None = None) -> None:
        self._socket = connected
        self._waker = waker

    @classmethod
    def dial(
        cls,
        family: int,
        kind: socket.SocketKind,
        address: tuple[Any, ...],
        *,
        deadline: float,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        waker: Waker | None = None,
    ) -> Connection:
        """Connects to one address; with `tls`, a handshake follows."""
        plain = socket.socket(family, kind)
        connection = cls(plain, waker)
        try:
            plain.setblocking(False)
            if kind == socket.SOCK_STREAM:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                plain.connect(address)
            except (BlockingIOError, InterruptedError):
                connection._wait(_WRITE, deadline, "connecting")
                failed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed)) from None
            if tls is not None:
                wrapped = tls.wrap_socket(plain, server_hostname=server_hostname, do_handshake_on_connect=False)
                connection._socket = wrapped
                connection._repeat(wrapped.do_handshake, _WRITE, deadline, "the TLS handshake")
        except BaseException:
            connection.close()
            raise
        return connection

    def send(self, data: bytes, deadline: float) -> None:
        """Sends all of it; on a datagram socket, as one datagram."""
        view = memoryview(data)
        while view:
            view = view[self._repeat(lambda: self._socket.send(view), _WRITE, deadline, "writing") :]  # noqa: B023

    def receive(self, deadline: float) -> bytes:
        """Returns some bytes; none if the peer has closed the connection."""
        return self._repeat(lambda: self._socket.recv(_PIECE), _READ, deadline, "the answer")

    def discard(self) -> bool:
        """Throws away what has arrived; False if the peer has closed the connection. Does not wait."""
        for _ in range(16):  # the rest stays for the next time, so that a peer that never stops delays no beat
            try:
                if not self._socket.recv(_PIECE):
                    return False
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
        return True

    def idle(self, deadline: float) -> bool:
        """Waits for the deadline or a wake-up; True if there is something to read, or the end, before that."""
        return self._wait_for(_READ, deadline)

    def finish(self) -> None:
        """Closes it in such a way that the peer receives everything that was sent."""
        with contextlib.suppress(*_IGNORED):
            self.discard()  # with unread data the kernel would reset the connection
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
        with contextlib.suppress(*_IGNORED):
            self._socket.shutdown(socket.SHUT_WR)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(*_IGNORED):
            self._socket.close()

    def _repeat(self, function: Callable[[], T], events: int, deadline: float, what: str) -> T:
        while True:
            try:
                return function()
            except (BlockingIOError, InterruptedError):
                self._wait(events, deadline, what)
            except ssl.SSLWantReadError:
                self._wait(_READ, deadline, what)
            except ssl.SSLWantWriteError:
                self._wait(_WRITE, deadline, what)

    def _wait(self, events: int, deadline: float, what: str) -> None:
        while not self._wait_for(events, deadline):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{what} took too long")

    def _wait_for(self, events: int, deadline: float) -> bool:
        if self._waker is not None:
            return self._waker.wait_for(self._socket, events, deadline)
        with _Selector() as selector:
            selector.register(self._socket, events)
            return bool(selector.select(max(0.0, min(deadline - time.monotonic(), _LONGEST_WAIT_S))))


def connect(
    addresses: Sequence[tuple[int, socket.SocketKind, tuple[Any, ...]]],
    *,
    deadline: float,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    waker: Waker | None = None,
) -> Connection:
    """Connects to the first address that takes the connection.

    Each attempt gets an equal share of the time that is left, so that an address that does not answer leaves some for
    the others. Raises the last attempt's OSError, and Cancelled.
    """
    error: OSError = OSError("there is no address to connect to")
    for tried, (family, kind, address) in enumerate(addresses):
        now = time.monotonic()
        until = now + (deadline - now) / (len(addresses) - tried)
        try:
            return Connection.dial(
                family, kind, address, deadline=until, tls=tls, server_hostname=server_hostname, waker=waker
            )
        except OSError as failed:
            error = failed
    raise error
