# SPDX-License-Identifier: MIT
"""Decides which addresses a webhook may call, so that nobody can reach into a network through the monitor.

An address is checked three times: when the target is saved (as far as possible without a name server), when its name
has been resolved for a call, and when the socket for the connection is made. The last check decides: the connection
goes to exactly the address that was checked, so a name that resolves differently a moment later (DNS rebinding) does
not help an attacker.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

__all__ = ["Blocked", "GuardedResolver", "check_address", "check_url", "lookup", "mask_url", "socket_factory"]

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(name, port) -> addresses as text."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAX_LOOKUPS = 64


class Blocked(OSError):
    """The address must not be called; the text says why, and what would allow it."""


def _networks(*texts: str) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Never called, whatever a target allows: cloud metadata (AWS, Azure, GCP; AWS on IPv6; Alibaba; Oracle; AWS ECS and
# EKS), and addresses that are not of one machine.
_METADATA = _networks(
    "169.254.169.254/32", "fd00:ec2::254/128", "100.100.100.200/32", "192.0.0.192/32", "169.254.170.2/32",
    "169.254.170.23/32", "fd00:ec2::23/128", "fd20:ce::254/128",
)  # fmt: skip
_NEVER = _networks("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
_PRIVATE = (
    ("this machine's", _networks("127.0.0.0/8", "::1/128")),
    ("a link-local", _networks("169.254.0.0/16", "fe80::/10")),
    (
        "a private",
        _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"),
    ),
)
_SPECIAL = _networks(
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::/96",
    "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
)  # fmt: skip

# IPv6 addresses that have an IPv4 address in them, and how many of their 128 bits follow it. A network may translate
# each of them, so the IPv4 address decides.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: prefixes of 48 to 96 bits
_6TO4 = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")  # its server, and its client inverted
_EMBEDDED = (
    (_MAPPED, 0),
    (_TRANSLATED, 0),
    (_COMPATIBLE, 0),
    (_NAT64, 0),
    (_LOCAL_NAT64, 0),
    (_6TO4, 80),
    (_TEREDO, 64),
)
_STANDS_FOR = (_MAPPED, _TRANSLATED, _NAT64, _LOCAL_NAT64, _6TO4)
"""Networks whose addresses are nothing but an IPv4 address in another form."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""RFC 5214: the 32 bits before the IPv4 address, in any network."""


def check_address(text: str, *, allow_private: bool) -> str | None:
    """Returns why this address must not be called, or None."""
    try:
        address: _Address = ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is not an address"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return f"{text}: an address with a zone (%) cannot be called"
    if isinstance(address, ipaddress.IPv4Address):
        return _refusal(text, address, allow_private=allow_private)
    inner = embedded(address)
    for one in inner:
        if (why := _refusal(text, one, allow_private=allow_private)) is not None:
            return why
    if inner and any(address in network for network in _STANDS_FOR):
        return None
    return _refusal(text, address, allow_private=allow_private)


def _refusal(text: str, address: _Address, *, allow_private: bool) -> str | None:
    if _in(address, _METADATA):
        return f"{text} is a cloud metadata address, which is never called"
    if _in(address, _NEVER):
        return f"{text} is not the address of a machine"
    for what, networks in _PRIVATE:
        if _in(address, networks):
            if allow_private:
                return None
            return f"{text} is {what} address; set allow_private if the webhook is meant to call it"
    if _in(address, _SPECIAL) or not address.is_global:
        return f"{text} is not an address of the public network"
    return None


def _in(address: _Address, networks: tuple[Any, ...]) -> bool:
    return any(address in network for network in networks)


def embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Returns the IPv4 addresses that an IPv6 address may lead to, by each form that embeds one. O(1)."""
    number = int(address)
    if number <= 1:  # :: and ::1 are addresses of their own
        return []
    found = [number >> after for network, after in _EMBEDDED if address in network]
    if address in _TEREDO:
        found.append(~number)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(number)
    if address in _LOCAL_NAT64 and number >> 32 & (1 << 48) - 1:
        # Its prefix may be shorter than 96 bits: then bits 64 to 71 are left out, RFC 6052 2.2.
        joined = number >> 64 << 56 | number & (1 << 56) - 1
        found += [joined >> after for after in (24, 32, 40)]
    return [ipaddress.IPv4Address(one & 0xFFFFFFFF) for one in found]


def check_url(text: str, *, allow_private: bool) -> str | None:
    """Returns what is wrong with a target's address, as far as can be seen without a name server, or None."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return "has characters that are not allowed in an address; write them as %XX, and a host name in its xn-- form"
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        return "is not an address such as https://example.com/hook"
    if url.scheme not in ("http", "https") or not host:
        return "is not an address such as https://example.com/hook"
    if url.raw_user is not None or url.raw_password is not None:
        return "must not contain a user or password"
    if not port:
        return "has an invalid port"
    if url.raw_fragment:
        return "must not have a # part"
    last = host.rstrip(".").rsplit(".", 1)[-1]
    if ":" not in host and (last.isdigit() or last.startswith("0x")):
        # Forms that the system's resolver accepts as an address: 2130706433, 0x7f.1, 127.1, 0177.0.0.1
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return f"the host {host} is neither a name nor an IPv4 address of four decimal numbers"
    elif ":" not in host:
        return None
    return check_address(host, allow_private=allow_private)


def mask_url(text: str) -> str:
    """Returns an address for people and logs: without what follows the host, since that may be a key."""
    try:
        url = URL(text)
        port = "" if url.explicit_port is None else f":{url.explicit_port}"
        host = url.raw_host or ""
    except ValueError:
        return "***"
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}/***"


class GuardedResolver(AbstractResolver):
    """Resolves names to addresses that may be called. If one of a name's addresses may not be, none may."""

    def __init__(self, look_up: Lookup, *, allow_private: bool) -> None:
        self._look_up = look_up
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = []
        for address in await self._look_up(host, port):
            if (why := check_address(address, allow_private=self._allow_private)) is not None:
                raise Blocked(f"the host name resolves to an address that is not allowed: {why}")
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            if family in (socket.AF_UNSPEC, kind):
                found.append(
                    ResolveResult(
                        hostname=host,
                        host=address,
                        port=port,
                        family=kind,
                        proto=0,
                        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    )
                )
        if not found:
            raise OSError("the host name has no address")
        return found

    async def close(self) -> None:
        pass


def socket_factory(*, allow_private: bool) -> Callable[[Any], socket.socket]:
    """Returns a factory for aiohttp's connector. All its sockets come from there, so nothing bypasses the check."""

    def make(info: Any) -> socket.socket:
        family, kind, proto, _, address = info
        if (why := check_address(str(address[0]), allow_private=allow_private)) is not None:
            raise Blocked(why)
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made

    return make


_lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)


async def lookup(host: str, port: int) -> list[str]:
    """Resolves a name by the system, on a thread of its own: a name server that hangs delays neither other names nor
    the end of the process."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()
    if not _lookups.acquire(blocking=False):
        raise OSError(f"{_MAX_LOOKUPS} name lookups are hanging")

    def resolved(addresses: list[str], error: OSError | None) -> None:
        if not found.done():
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

    def work() -> None:
        addresses: list[str] = []
        problem: OSError | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, UnicodeError) as error:
            problem = error if isinstance(error, OSError) else OSError("the host name cannot be encoded")
        finally:
            _lookups.release()
        try:
            loop.call_soon_threadsafe(resolved, addresses, problem)
        except RuntimeError:  # the loop has ended, so nobody is waiting
            return

    threading.Thread(target=work, name="heartfelt-lookup", daemon=True).start()
    return await found
