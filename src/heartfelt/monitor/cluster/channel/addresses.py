# SPDX-License-Identifier: MIT
"""Addresses of the other monitors, and why they cannot be reached."""

from __future__ import annotations

import ipaddress
import socket
import ssl

from heartfelt.monitor.tasks import run_in_thread

MOST_ADDRESSES = 4
"""How many addresses of a host are tried."""


async def resolve(host: str, seconds: float) -> list[str]:
    """Returns the addresses of a host. A name is looked up in a thread that does not hold up the end of the process."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await run_in_thread(
            "channel address", lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), seconds=seconds
        )
        return list(dict.fromkeys(str(one[4][0]) for one in found))[:MOST_ADDRESSES]
    return [host]


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port" or "[host]:port". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: write host:port, or [host]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)


def why_not(error: BaseException) -> str:
    """Says why a connection to another monitor, or from it, could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}; see cluster.ca and cluster.server_name"
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return (
                f"it refuses the certificate of this one ({error.reason}); see its cluster.ca and cluster.server_name"
            )
        return f"TLS fails ({error.reason or error}); set cluster.cert for all monitors, or for none"
    return str(error) or repr(error)
