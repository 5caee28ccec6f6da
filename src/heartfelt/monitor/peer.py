# SPDX-License-Identifier: MIT
"""The address of a peer, as it is named everywhere: in instances, limits, reasons and logs."""

from __future__ import annotations

import ipaddress

__all__ = ["parsed_address", "plain_address"]

_MAPPED = "::ffff:"


def plain_address(address: str) -> str:
    """Returns an IPv4 address that a socket for IPv6 reports as `::ffff:1.2.3.4` as what it is, `1.2.3.4`; any other
    address unchanged."""
    rest = address.removeprefix(_MAPPED)
    return rest if "." in rest and ":" not in rest else address


def parsed_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Returns the address that a text names, an IPv4 address also if it is mapped. Raises ValueError."""
    address = ipaddress.ip_address(text)
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
