# SPDX-License-Identifier: MIT
"""Plain keys by UDP: one per line, after the token if there is one. There is no answer."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence

from heartfelt._checks import shown
from heartfelt._net.resolver import Resolver
from heartfelt.cli import UsageError

MOST_BYTES = 1400  # of a datagram; a larger one might be fragmented on the way
LOOK_UP_S = 10.0  # how long looking up the host may take
REFUSAL_S = 0.05  # how long to wait for the host's answer that nothing listens
TOKEN_MARK = b"Bearer "


def address_of(text: str) -> tuple[str, int]:
    """Parses HOST:PORT, [ADDRESS]:PORT or HOST, whose port is 8901."""
    host, mark, port = text.rpartition(":")
    if not mark or text.endswith("]"):
        host, port = text, "8901"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise UsageError(f"argument --udp: {shown(text)} is not an address; give HOST:PORT, for example 127.0.0.1:8901")
    return host, int(port)


def datagrams(keys: Sequence[str], token: str | None) -> Iterator[bytes]:
    """Packs the keys into as few datagrams as possible, each with the token."""
    head = b"" if token is None else TOKEN_MARK + token.encode() + b"\n"
    held = head
    for key in keys:
        line = _checked(key) + b"\n"
        if held != head and len(held) + len(line) > MOST_BYTES:
            yield held
            held = head
        held += line
    yield held


def _checked(key: str) -> bytes:
    raw = key.encode()
    if raw[:1] in (b"{", b"[", b"\x1f") or raw.startswith(TOKEN_MARK) or b"\n" in raw or b"\r" in raw:
        raise UsageError(
            f"the key {shown(key)} cannot be sent by UDP: it contains a line break, or begins as other datagrams do "
            f"('{{', '[', '\\x1f', 'Bearer '); leave --udp out, or give another key"
        )
    return raw


def send(address: tuple[str, int], packets: Sequence[bytes]) -> str | None:
    """Sends them. Returns what went wrong; None means only that they were sent, not that anything received them."""
    problem = f"{address[0]}:{address[1]}"
    try:
        family, kind, target = Resolver(*address, socket.SOCK_DGRAM).get(time.monotonic() + LOOK_UP_S)[0]
    except OSError as error:
        return f"cannot find the host {address[0]!r} ({error}): check the argument --udp"
    with socket.socket(family, kind) as sock:
        try:
            sock.connect(target)
            for packet in packets:
                sock.send(packet)
            if select.select([sock], [], [], REFUSAL_S)[0]:
                sock.recv(1)  # raises the error of the sending, if there is one; an answer does not matter
        except ConnectionRefusedError:
            return f"nothing listens at {problem} (UDP): start the monitor, or give its address with --udp"
        except OSError as error:
            return f"cannot send to {problem} (UDP): {error}"
    return None
