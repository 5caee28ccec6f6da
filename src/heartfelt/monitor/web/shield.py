# SPDX-License-Identifier: MIT
"""The first check of every request: that it is meant for this monitor, and not sent by another site's page.

A browser sends requests to a monitor on a loopback or private address on behalf of any page. Two rules keep such pages
out. The Host header must be an address, `localhost` or an allowed name, so an attacker's name that resolves to this
address is useless (DNS rebinding). A request that changes something must not come from another origin. No CORS headers
are sent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.problems import Problem

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_REMEMBERED = 1000
FIGURES: Figures = {
    "bad_hosts": counter("heartfelt_shield_bad_hosts", "Requests that were refused because of their Host header"),
    "cross_site": counter("heartfelt_shield_cross_site", "Requests that were refused because another site sent them"),
}


class Shield:
    """`refusal` costs one pass over the headers. Belongs to the loop's thread."""

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._hosts: dict[bytes, bool] = {}
        self.allow(allowed_hosts)
        self.bad_hosts = 0
        self.cross_site = 0

    def allow(self, hosts: Iterable[str]) -> None:
        """Replaces the allowed names."""
        self._allowed = {name.lower().rstrip(".") for name in hosts} | {"localhost"}
        self._hosts.clear()

    def refusal(self, scope: dict[str, Any]) -> Problem | None:
        """Returns the reason to refuse the request; None: it may be served."""
        host = origin = site = None
        hosts = 0
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                hosts += 1
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if host is None or hosts > 1 or not self._is_allowed(host):
            self.bad_hosts += 1
            text = (host or b"").decode("latin-1")[:200]
            return Problem(
                421,
                "host_not_allowed",
                f"the Host header {text!r} is not allowed; use the monitor's address or localhost, or add the name to "
                f"http.allowed_hosts",
            )
        changes = scope["method"] not in _SAFE or scope["path"].startswith("/ping/") or scope["path"] == "/ping"
        if changes and (site or origin) and self._is_foreign(host, origin, site, scope["scheme"]):
            self.cross_site += 1
            return Problem(
                403,
                "cross_site",
                "pages of other sites may not change anything here; send the request without a browser, or from one of "
                "the monitor's own pages",
            )
        return None

    def _is_allowed(self, host: bytes) -> bool:
        known = self._hosts.get(host)
        if known is None:
            known = self._judge(host)
            if len(self._hosts) >= _MOST_REMEMBERED:
                self._hosts.clear()
            self._hosts[host] = known
        return known

    def _judge(self, host: bytes) -> bool:
        try:
            text = host.decode("ascii").lower()
        except UnicodeDecodeError:
            return False
        if text.startswith("["):
            name, bracket, port = text[1:].partition("]")
            port = port.removeprefix(":") if bracket else "?"
        else:
            name, _, port = text.partition(":")
        if port and not port.isdigit():
            return False
        if name.rstrip(".") in self._allowed:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @staticmethod
    def _is_foreign(host: bytes, origin: bytes | None, site: bytes | None, scheme: str) -> bool:
        if site is not None and site not in (b"same-origin", b"none"):
            return True
        return origin is not None and origin.lower() != scheme.encode() + b"://" + host.lower()

    def stats(self) -> dict[str, int]:
        return {"bad_hosts": self.bad_hosts, "cross_site": self.cross_site}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
