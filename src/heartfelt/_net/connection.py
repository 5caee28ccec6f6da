# SPDX-License-Identifier: MIT
"""Sockets for a thread that must never hang: every wait has a deadline, and can be cut short from another thread."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Channel", "Closing", "Waker"]

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # neither has a descriptor that a fork shares
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_PIECE = 65536
_LONGEST_WAIT_S = 3600.0  # poll takes at most 2**31 ms

T = TypeVar("T")

FORGOTTEN = (OSError, ValueError)  # what closing may raise: there is nobody left whom it would concern


class Closing(Exception):
    """The wait was cut short: the line is being closed, and its time is over."""


class Waker:
    """Wakes a thread that waits for a channel; `until` bounds all its waits, whatever their own deadlines."""

    def __init__(self) -> None:
        self.until = float("inf")
        self._lock = threading.Lock()  # wake and close: no byte for a descriptor that is another's by then
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def wake(self) -> None:
        """From any thread."""
        with self._lock, contextlib.suppress(BlockingIOError, OSError):  # full: it will wake; closed: nobody waits
            self._there.send(b"\0")

    def wait(self, deadline: float, done: Callable[[], object]) -> None:
        """Until done() or the deadline; looks anew whenever it is woken. Raises Closing beyond `until`."""
        while not done() and time.monotonic() < deadline:
            self.wait_for(None, 0, deadline)

    def wait_for(self, channel: socket.socket | None, events: int, deadline: float) -> bool:
        """Until the channel is ready for the events (True), or it is woken, or the deadline has come."""
        now = time.monotonic()
        if now >= self.until:
            raise Closing
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
        """close, in a forked child, where the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
        self.close()


class Channel:
    """A connected socket, with or without TLS. Raises OSError (TimeoutError, ssl.SSLError among them) and Closing."""

    def __init__(self, connected: socket.socket, waker: Waker) -> None:
        self._socket = connected
        self._waker = waker

    @classmethod
    def dial(
        cls,
        family: int,
        kind: socket.SocketKind,
        address: tuple[object, ...],
        waker: Waker,
        deadline: float,
        tls: ssl.SSLContext | None,
        server_hostname: str,
    ) -> Channel:
        """Connects to one address, and shakes hands."""
        plain = socket.socket(family, kind)
        channel = cls(plain, waker)
        try:
            plain.setblocking(False)
            if kind == socket.SOCK_STREAM:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                plain.connect(address)
            except (BlockingIOError, InterruptedError):
                channel._wait(_WRITE, deadline, "connecting")
                failed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed)) from None
            if tls is not None:
                wrapped = tls.wrap_socket(plain, server_hostname=server_hostname, do_handshake_on_connect=False)
                channel._socket = wrapped
                channel._repeat(wrapped.do_handshake, _WRITE, deadline, "the TLS handshake")
        except BaseException:
            channel.close()
            raise
        return channel

    def send(self, data: bytes, deadline: float) -> None:
        """All of it; of a datagram socket: as one datagram."""
        view = memoryview(data)
        while view:
            view = view[self._repeat(lambda: self._socket.send(view), _WRITE, deadline, "writing") :]  # noqa: B023

    def receive(self, deadline: float) -> bytes:
        """Some bytes; none if the peer has closed."""
        return self._repeat(lambda: self._socket.recv(_PIECE), _READ, deadline, "the answer")

    def discard(self) -> bool:
        """Throws away what has come; False if the peer has closed. Does not wait."""
        for _ in range(16):  # more stays for the next time, so that a peer that talks without end keeps no beat waiting
            try:
                if not self._socket.recv(_PIECE):
                    return False
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
        return True

    def idle(self, deadline: float) -> bool:
        """Waits for the deadline, or to be woken; True if there is something to be read, or an end, before."""
        return self._waker.wait_for(self._socket, _READ, deadline)

    def finish(self) -> None:
        """Closes it such that the peer gets all that was sent."""
        with contextlib.suppress(*FORGOTTEN):
            self.discard()  # unread data would make a reset of the close
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
        with contextlib.suppress(*FORGOTTEN):
            self._socket.shutdown(socket.SHUT_WR)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(*FORGOTTEN):
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
        while not self._waker.wait_for(self._socket, events, deadline):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{what} took too long")
