# SPDX-License-Identifier: MIT
"""The first check of every request: that it is meant for this monitor, and not sent by another site's page.

A browser sends requests to a monitor on a loopback or private address on behalf of any page. Two rules keep such pages
out.

The Host header must be an address, `localhost` or an allowed name, so an attacker's name that resolves to this address
is useless (DNS rebinding). A request that such a page cannot send may have any name: one with a valid token, which the
page does not have and no browser adds by itself; one of HTTP/1.0 without a Host header, which no browser sends; and one
for /healthz or /readyz, which tell nothing and change nothing.

A request that changes something must not come from another origin. Sec-Fetch-Site says so where the browser sends it:
over TLS and to this machine. Elsewhere Origin must be the monitor's own: that of `http.public_url`, or the one that the
request itself names. If a proxy may have ended TLS without saying so, https in Origin is the same as http, as long as
host and port are equal. No CORS headers are sent, so no page of another site can add a header such as X-Forwarded-Host.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from heartfelt.monitor.credentials import secret_in
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.web.once import Once

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
FORWARDED = "heartfelt.forwarded"
"""The key in the scope for what a trusted proxy said; forwarded.py."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ANY_HOST = frozenset({"/healthz", "/readyz"})
_OWN_SITE = frozenset({b"same-origin", b"none"})
_MOST_REMEMBERED = 1000
_PORTS = {"http": 80, "https": 443}
_KEY = re.compile(rb"(?:^|&)key=([A-Za-z0-9_%-]+)(?=&|$)")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?")
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?")
FIGURES: Figures = {
    "bad_hosts": counter("heartfelt_shield_bad_hosts", "Requests that were refused because of their Host header"),
    "cross_site": counter("heartfelt_shield_cross_site", "Requests that were refused because another site sent them"),
    "left_out": counter("heartfelt_shield_lines_left_out", "Log lines about refused requests that were suppressed"),
}


class Forwarded(NamedTuple):
    """The part of a trusted proxy's headers that the shield needs."""

    host: bytes | None
    has_scheme: bool
    """The scope's scheme is that of the client's request."""


_DIRECT = Forwarded(None, False)


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Shield:
    """`refusal` costs one pass over the headers, and the check of a token if the name is not allowed. Belongs to the
    loop's thread.

    allowed_hosts, public_url: as the settings `http.allowed_hosts` and `http.public_url` have them. knows: tells
    whether a token is valid.
    """

    def __init__(
        self,
        allowed_hosts: Iterable[str],
        *,
        knows: Callable[[str], bool] = lambda secret: False,
        public_url: str | None = None,
        once: Once | None = None,
    ) -> None:
        self._public = _origin_of("/".join(public_url.split("/")[:3]).encode()) if public_url else None
        self._knows = knows
        self._hosts: dict[bytes, bool] = {}
        self.on_change: list[Callable[[], None]] = []
        """Called when other names are allowed, for those who remember what `allows_host` said."""
        self.allow(allowed_hosts)
        self._once = Once() if once is None else once
        self.bad_hosts = 0
        self.cross_site = 0

    def allow(self, hosts: Iterable[str]) -> None:
        """Replaces the allowed names."""
        self._names = [name.lower().rstrip(".") for name in hosts]
        self._any = "*" in self._names
        self._allowed = {name for name in self._names if not name.startswith("*")} | {"localhost"}
        if self._public is not None:
            self._allowed.add(self._public.host)
        self._below = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._hosts.clear()
        for forget in self.on_change:
            forget()

    def refusal(self, scope: dict[str, Any]) -> Problem | None:
        """Returns the reason to refuse the request; None: it may be served."""
        host = origin = None
        hosts = 0
        from_browser = foreign = False
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                hosts += 1
            elif name == b"origin":
                foreign = foreign or (origin is not None and origin != value)
                origin = value
            elif name == b"sec-fetch-site":
                from_browser = True
                foreign = foreign or value not in _OWN_SITE
        told: Forwarded = scope.get(FORWARDED, _DIRECT)
        if hosts > 1:
            self.bad_hosts += 1
            return Problem(421, "host_not_allowed", "the request has more than one Host header; send one")
        bad = self._bad_host(scope, host, told)
        if bad is not None:
            return self._refuse_host(scope, bad)
        path = scope["path"]
        if scope["method"] in _SAFE and not path.startswith("/ping/") and path != "/ping":
            return None
        if not foreign and (from_browser or origin is None or self._is_own(origin, host, told, scope)):
            return None
        return self._refuse_site(scope, origin)

    # -- the name

    def _bad_host(self, scope: dict[str, Any], host: bytes | None, told: Forwarded) -> bytes | None:
        """Returns the name that may not be served, or None."""
        if host is None and scope.get("http_version") != "1.0":
            return b""
        for name in (host, told.host):
            if name is not None and not self.allows_host(name):
                return None if scope["path"] in _ANY_HOST or self._has_token(scope) else name
        return None

    def _has_token(self, scope: dict[str, Any]) -> bool:
        """Tells whether the request has a valid token: in the Authorization header, or as the key of a ping's URL."""
        try:
            secret = secret_in(scope["headers"])
        except Problem:
            secret = None  # the URL may have one, which needs no other credentials
        if secret is not None and self._knows(secret):
            return True
        path = scope["path"]
        if path.startswith("/ping/"):
            return self._knows(path[len("/ping/") :].partition("/")[0])
        if path == "/ping":
            match = _KEY.search(scope.get("query_string", b""))
            return match is not None and self._knows(unquote(match[1].decode()))
        return False

    def allows_host(self, host: bytes) -> bool:
        """Tells whether a request with this Host header may be served whoever sends it. O(1) for one that was seen."""
        known = self._hosts.get(host)
        if known is None:
            known = self._judge(host)
            if len(self._hosts) >= _MOST_REMEMBERED:
                self._hosts.clear()
            self._hosts[host] = known
        return known

    def _judge(self, host: bytes) -> bool:
        name, _ = _split(host)
        if not name:
            return False
        if self._any or name in self._allowed or (name.endswith(self._below) and not name.startswith(".")):
            return True
        return _address(name) is not None

    def _refuse_host(self, scope: dict[str, Any], host: bytes) -> Problem:
        self.bad_hosts += 1
        name, _ = _split(host)
        shown = repr(host[:200].decode("latin-1"))
        remedy = "use the monitor's address or localhost, or send a valid token"
        if _NAME.fullmatch(name):
            names = [one for one in dict.fromkeys((*self._names, name)) if one != "*"]
            remedy += f", or, if the name is the monitor's, set this: http.allowed_hosts = {json.dumps(names)}"
        else:
            remedy += ", or add the name to http.allowed_hosts"
        detail = f"the Host header {shown} is not allowed; {remedy}"
        self._once.warn(("host", name[:253]), lambda: f"refused a request of {_peer(scope)}: {detail}")
        return Problem(421, "host_not_allowed", detail)

    # -- the site

    def _is_own(self, origin: bytes, host: bytes | None, told: Forwarded, scope: dict[str, Any]) -> bool:
        given = _origin_of(origin)
        if given is None:
            return False
        if given == self._public:
            return True
        return any(one is not None and _fits(given, one, told, scope) for one in (told.host, host))

    def _refuse_site(self, scope: dict[str, Any], origin: bytes | None) -> Problem:
        self.cross_site += 1
        detail = (
            "pages of other sites may not change anything here; send the request without a browser, or from one of "
            "the monitor's own pages"
        )
        given = None if origin is None else _origin_of(origin)
        if given is not None and origin is not None:
            detail += f"; if this is one, behind a proxy, set http.public_url to its address, {origin[:300].decode()}"
        self._once.warn(("site", given), lambda: f"refused a request of {_peer(scope)}: {detail}")
        return Problem(403, "cross_site", detail)

    def stats(self) -> dict[str, int]:
        return {"bad_hosts": self.bad_hosts, "cross_site": self.cross_site, "left_out": self._once.left_out}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def _peer(scope: dict[str, Any]) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "an unknown client"


def _split(host: bytes) -> tuple[str, str]:
    """Returns the name or address, and the port as text; ("", "") if this is no Host header."""
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        return "", ""
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or ":" not in name:
            return "", ""
        port = port[1:]
    else:
        name, _, port = text.partition(":")
        name = name.rstrip(".")
    if (port and not port.isdigit()) or len(port) > 5:
        return "", ""
    return name, port


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _origin_of(value: bytes) -> Origin | None:
    """Returns the origin that an Origin header names; None for `null` and anything else."""
    match = _ORIGIN.fullmatch(value.decode("latin-1").lower())
    if match is None:
        return None
    scheme, host, port = match[1], match[2].strip("[]"), match[3]
    return Origin(scheme, host, int(port) if port else _PORTS[scheme])


def _fits(given: Origin, host: bytes, told: Forwarded, scope: dict[str, Any]) -> bool:
    """Tells whether the page's origin is the one that the request was sent to."""
    name, port_text = _split(host)
    if not name or name != given.host:
        return False
    scheme = scope["scheme"]
    port = int(port_text) if port_text else None
    if given.scheme == scheme:
        return given.port == (_PORTS[scheme] if port is None else port)
    if told.has_scheme or given.scheme == "http":
        return False
    # Maybe a proxy has ended TLS. A browser sends Sec-Fetch-Site to its own machine, so this is none of its requests.
    address = _address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return False
    if port is not None:
        return given.port == port
    server = scope.get("server")
    return given.port == _PORTS["https"] and not (server and server[1] == _PORTS["http"])
