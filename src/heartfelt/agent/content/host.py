# SPDX-License-Identifier: MIT
"""The host's name and IPv4 addresses, from the kernel: never from DNS, which may hang."""

from __future__ import annotations

import array
import socket
import struct
import sys

LOOPBACK = "127.0.0.1"
_SIOCGIFCONF = 0x8912
_IFREQ_SIZE = 40 if struct.calcsize("P") == 8 else 32  # struct ifreq: the name's 16 bytes, a union
_MOST_ADDRESSES = 1024
_DOCUMENTATION_NET = ("192.0.2.1", 9)  # no such host exists, and nothing is sent


def host_name() -> str | None:
    """Returns the host's name; None if it has none."""
    return socket.gethostname() or None


def ipv4_addresses() -> list[str]:
    """Returns all addresses but 127.0.0.1, in the order of the interfaces. On systems other than Linux, the address of
    the default route. Empty without a network. Raises OSError if the system cannot open another socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        found = _of_interfaces(sock) if sys.platform == "linux" else _of_default_route(sock)
    return [address for address in dict.fromkeys(found) if address != LOOPBACK]


def _of_interfaces(sock: socket.socket) -> list[str]:
    import fcntl  # does not exist on Windows

    buffer = array.array("B", bytes(_MOST_ADDRESSES * _IFREQ_SIZE))
    address, length = buffer.buffer_info()
    answer = fcntl.ioctl(sock.fileno(), _SIOCGIFCONF, struct.pack("iP", length, address))
    filled = struct.unpack("iP", answer)[0]
    data = buffer.tobytes()
    return [socket.inet_ntoa(data[at + 20 : at + 24]) for at in range(0, filled, _IFREQ_SIZE)]


def _of_default_route(sock: socket.socket) -> list[str]:
    try:
        sock.connect(_DOCUMENTATION_NET)
    except OSError:  # no route: no network
        return []
    return [sock.getsockname()[0]]
