# SPDX-License-Identifier: MIT
"""Kinds of the settings of monitors that share a Redis. Imports nothing of redis."""

from __future__ import annotations

import re

from heartfelt._config.values import Bad, text
from heartfelt.errors import ConfigError

__all__ = ["EVERYWHERE", "advertise", "advertised", "prefix", "store_url"]

EVERYWHERE = ("0.0.0.0", "::")
"""Addresses to listen on that are all of the machine, and none under which others reach it."""


def store_url(value: object, typed: bool) -> str | None:
    """The URL of a Redis. Error messages do not show it."""
    if value is None or (not typed and isinstance(value, str) and not value.strip()):
        return None
    found = text(4096)(value, typed)
    assert isinstance(found, str)
    from heartfelt.monitor.store.redis.address import parse_address  # seldom needed

    try:
        parse_address(found)
    except ConfigError as error:
        raise Bad(str(error)) from None
    return found


def prefix(value: object, typed: bool) -> str:
    """The first part of all keys. It has no braces: those say in which slot of a Redis Cluster a key is."""
    found = text(64)(value, typed)
    assert isinstance(found, str)
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*", found):
        raise Bad("must have letters, digits and . _ - only, and colons between them, such as hf or shop:hf")
    return found


def advertise(value: object, typed: bool) -> str | None:
    """A host, HOST:PORT or [IPV6]:PORT."""
    if value is None or (not typed and isinstance(value, str) and not value.strip()):
        return None
    found = text(300)(value, typed)
    assert isinstance(found, str)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s/@?#\[\]:,]+)(?::([0-9]{1,5}))?", found)
    if match is None or (match[2] and not 0 < int(match[2]) < 65536):
        raise Bad("must be a host or HOST:PORT, without a scheme, such as monitor-1.example:8902 or [fd00::1]:8902")
    if match[1].strip("[]") in EVERYWHERE:
        raise Bad("must be an address under which other machines reach this one, which 0.0.0.0 and [::] are not")
    return found


def advertised(host: str, advertise: str | None, port: int) -> str:
    """Returns what the other monitors are told: HOST:PORT or [IPV6]:PORT. advertise: as set; port: the open one."""
    told = advertise or (f"[{host}]" if ":" in host else host)
    return told if re.search(r":[0-9]+$", told) else f"{told}:{port}"
