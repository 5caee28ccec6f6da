# SPDX-License-Identifier: MIT
"""Receives datagrams, many at a time: by recvmmsg where there is a compiled receiver, or one by one."""

from __future__ import annotations

import socket
from collections.abc import Callable

__all__ = ["AT_ONCE", "receive_one_by_one", "receiver"]

AT_ONCE = 64
_LARGEST = 65535

Receive = Callable[[int], list[tuple[bytes, str]]]
"""(descriptor) -> datagrams and their senders' addresses, as many as there are, up to AT_ONCE; does not block."""


def receiver() -> Receive:
    return receive_one_by_one()


def receive_one_by_one() -> Receive:
    """Everywhere."""

    def receive(fd: int) -> list[tuple[bytes, str]]:
        out: list[tuple[bytes, str]] = []
        sock = socket.socket(fileno=fd)
        try:
            for _ in range(AT_ONCE):
                data, address = sock.recvfrom(_LARGEST)
                out.append((data, address[0]))
        except (BlockingIOError, InterruptedError):
            pass
        finally:
            sock.detach()
        return out

    return receive
