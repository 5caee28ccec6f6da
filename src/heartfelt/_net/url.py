# SPDX-License-Identifier: MIT
"""The URL of a monitor."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from heartfelt._checks import shown
from heartfelt.errors import ConfigError

__all__ = ["DEFAULT_URL", "BaseUrl", "bracketed", "parse_url"]

DEFAULT_URL = "http://127.0.0.1:8900"
_PORTS = {"http": 80, "https": 443}


class BaseUrl(NamedTuple):
    """A monitor's address."""

    scheme: str
    host: str
    port: int
    prefix: str
    """The path before /ping and /api, without a slash at its end."""

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}{self.prefix}"


def bracketed(host: str) -> str:
    """The host as URLs and Host headers write it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def parse_url(url: str) -> BaseUrl:
    """Splits a monitor's URL into its parts. Raises TypeError and ConfigError; neither shows a password."""
    if not isinstance(url, str):
        raise TypeError(f"a URL must be a str, not {type(url).__name__}: {shown(url)}")
    example = f"for example {DEFAULT_URL}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{_masked(url)} is not a valid URL ({error}); use one such as {DEFAULT_URL}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{_masked(url)} contains a user name or a password; use a token instead")
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise ConfigError(
            f"{shown(url)} is not the URL of a monitor; it needs http:// or https:// and a host, {example}"
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"{shown(url)} must not have a query or a fragment; leave out ? and #, {example}")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigError(f"{shown(url)} contains characters that are not allowed in a URL; percent-encode them")
    return BaseUrl(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def _masked(url: str) -> str:
    """The URL for a message, without anything that may be a password."""
    scheme, mark, rest = url.partition("://")
    return shown(f"{scheme}{mark}...@{rest.rpartition('@')[2]}" if "@" in rest else url)
