# SPDX-License-Identifier: MIT
"""Kinds of values that say how the monitor is reached: host names, its public URL, the path below which it is served,
and the proxies in front of it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from heartfelt._checks import shown
from heartfelt._config.units import words
from heartfelt._config.values import Bad, text

__all__ = ["ANY_HOST", "RESERVED", "allowed_hosts", "base_path", "public_url", "trusted_proxies"]

ANY_HOST = "*"
RESERVED = frozenset(
    ("api", "sermant", "ping", "panel", "metrics", "healthz", "readyz", "instances", "services", "events", "webhooks",
     "tokens", "settings")
)  # fmt: skip
"""First parts of the monitor's own paths. Below one of them the monitor could not tell a prefix from a path."""
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DEVIATIONS = frozenset("ßς\u200c\u200d")  # IDNA 2003, which Python has, and browsers convert these differently
_PART = re.compile(r"[A-Za-z0-9._~-]+")
_PORTS = {"http": 80, "https": 443}


def allowed_hosts(value: object, typed: bool) -> tuple[str, ...]:
    """Names for the Host header, in lower case and punycode: `monitor`, `*.svc` (any name below it), `*` (any name)."""
    if isinstance(value, str):
        value = value.strip(", \t").split(",") if value.strip(", \t") else []
    if isinstance(value, (list, tuple)) and any(isinstance(one, str) and not one.strip() for one in value):
        raise Bad("has an empty name; remove it")
    return tuple(dict.fromkeys(_host_pattern(one) for one in words(value, typed)))


def _host_pattern(given: str) -> str:
    if given == ANY_HOST:
        return given
    wildcard, rest = ("*.", given[2:]) if given.startswith("*.") else ("", given)
    if "*" in rest:
        raise Bad(f"cannot use {shown(given)}: a * stands alone, for any name, or at the start, as in *.example.com")
    if not wildcard and (address := _address(rest)):
        return address
    return wildcard + _host_name(rest, given)


def _address(value: str) -> str:
    """Returns an IP address, without brackets; "" if it is none."""
    try:
        return str(ipaddress.ip_address(value[1:-1] if value.startswith("[") and value.endswith("]") else value))
    except ValueError:
        return ""


def _host_name(name: str, given: str) -> str:
    """Returns the name as a Host header has it: in lower case and punycode, without a dot at its end. Raises Bad."""
    if "://" in name:
        better = name.partition("://")[2].partition("/")[0].partition(":")[0]
        hint = f"write {better}" if better else "write the name only"
        raise Bad(f"cannot use {shown(given)}: a Host header has no scheme; {hint}")
    if "/" in name:
        raise Bad(f"cannot use {shown(given)}: a Host header has no path; write {name.partition('/')[0] or 'a name'}")
    if ":" in name:
        raise Bad(f"cannot use {shown(given)}: the name counts for every port; write {name.partition(':')[0] or 'it'}")
    if any(letter.isspace() for letter in name):
        raise Bad(f"cannot use {shown(given)}: a host name has no blanks; write several names as a list")
    plain = name.rstrip(".").lower()
    if not plain.isascii():
        try:
            if _DEVIATIONS.intersection(plain):
                raise UnicodeError
            plain = plain.encode("idna").decode("ascii")
        except UnicodeError:
            raise Bad(f"cannot use {shown(given)}: write its ASCII form, which begins with xn--") from None
    if len(plain) > 253 or not all(map(_LABEL.fullmatch, plain.split("."))):
        raise Bad(f"cannot use {shown(given)}: it is not a host name, such as monitor.example")
    return plain


def public_url(value: object, typed: bool) -> str:
    """A URL of http or https with a host and maybe a path, without a slash at its end or a port that is the default."""
    given = text(2048)(value, typed)
    assert isinstance(given, str)
    example = "https://monitor.example or https://example.com/heartfelt"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError as error:
        raise Bad(f"must be a URL such as {example}: {error}") from None
    if "@" in parts.netloc:
        raise Bad(f"must not contain a user name or a password; write it as {example}")
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise Bad(f"must be a URL such as {example}")
    if "?" in given or "#" in given:
        raise Bad(f"must not have a query or a fragment: leave out what follows the {'?' if '?' in given else '#'}")
    return f"{parts.scheme}://{_netloc(parts, port)}{_path(parts.path)}"


def _netloc(parts: SplitResult, port: int | None) -> str:
    host = parts.hostname or ""
    address = _address(host)
    name = address or _host_name(host, host)
    shown_host = f"[{name}]" if ":" in name else name
    return shown_host if port in (None, _PORTS[parts.scheme]) else f"{shown_host}:{port}"


def base_path(value: object, typed: bool) -> str:
    """A path such as /heartfelt, without a slash at its end; "" for none."""
    given = text(1024, empty=True)(value, typed)
    assert isinstance(given, str)
    return _path(given)


def _path(given: str) -> str:
    if "://" in given or "?" in given or "#" in given:
        raise Bad("must be a path only, such as /heartfelt")
    bare = given.strip("/")
    if not bare:
        return ""
    parts = bare.split("/")
    if not all(_PART.fullmatch(part) and part not in (".", "..") for part in parts):
        raise Bad("must be a path such as /heartfelt, whose parts have letters, digits and . _ ~ - only")
    if parts[0] in RESERVED:
        raise Bad(f"must not begin with /{parts[0]}, a path of the monitor's own; use another one, such as /heartfelt")
    return "/" + "/".join(parts)


def trusted_proxies(value: object, typed: bool) -> tuple[str, ...]:
    """Addresses and networks: 127.0.0.1, 10.0.0.0/8, fd00::/8."""
    return tuple(dict.fromkeys(map(_network, words(value, typed))))


def _network(given: str) -> str:
    if given == "*":
        raise Bad("must not be *: any client could then pretend to be another; list the addresses of your proxies")
    try:
        network = ipaddress.ip_network(given)
    except ValueError:
        try:
            better = str(ipaddress.ip_network(given, strict=False))
        except ValueError:
            hint = "such as 127.0.0.1 or 10.0.0.0/8"
            raise Bad(f"must list IP addresses and networks, {hint}, and {shown(given)} is none") from None
        raise Bad(f"has {shown(given)}, whose address is not the network's first; write {better}") from None
    if network.prefixlen == 0:
        raise Bad(f"must not have {given}: any client could then pretend to be another; list your proxies' addresses")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        network = ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
        return _network(str(network))
    if network.num_addresses == 1:
        return str(network.network_address)
    return str(network)
