# SPDX-License-Identifier: MIT
"""Requests through a proxy: who sent them, how and to which name, as trusted proxies tell; and the path below which a
proxy serves the monitor.

A proxy adds the address that it got a request from at the right of X-Forwarded-For, or of Forwarded (RFC 7239). What is
left of it was there before, and the client can have written it. So the client is the right-most address that is not a
trusted proxy's own; if all are, the left-most. Scheme and host are those that belong to it, in X-Forwarded-Proto and
X-Forwarded-Host or in the same element of Forwarded.

A proxy writes one of the two and passes the other through, so a client can forge the other. If both name a client, they
must name the same one. If they do not, or cannot be read, the client is taken to be the proxy, and scheme and host are
those of the proxy's request. From a peer that is not trusted all of these headers are ignored. All of that is counted.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple

from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.peer import parsed_address
from heartfelt.monitor.web.once import Once
from heartfelt.monitor.web.shield import FORWARDED, SECURITY_HEADERS, Forwarded

FOR, PROTO, HOST, RFC_7239 = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"
NAMES = frozenset((FOR, PROTO, HOST, RFC_7239))
MOST_HOPS = 20
"""Elements that are read, from the right; a request passes fewer proxies."""
_MOST_REMEMBERED = 10_000
_SHOWN = {FOR: "X-Forwarded-For", PROTO: "X-Forwarded-Proto", HOST: "X-Forwarded-Host", RFC_7239: "Forwarded"}
_NODE = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}|([0-9A-Fa-f:.]{2,45})")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*(?:({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*"))?[ \t]*')
FIGURES: Figures = {
    "untrusted": counter(
        "heartfelt_proxy_untrusted", "Requests with a header such as X-Forwarded-For, from a peer that is not trusted"
    ),
    "unreadable": counter(
        "heartfelt_proxy_unreadable", "Requests of trusted proxies whose client could not be read from their headers"
    ),
    "contradictions": counter(
        "heartfelt_proxy_contradictions", "Requests whose X-Forwarded-For and Forwarded name different clients"
    ),
    "left_out": counter("heartfelt_proxy_lines_left_out", "Log lines about proxies that were suppressed"),
}


class _Unreadable(Exception):
    pass


class _Hop(NamedTuple):
    """The side of a proxy that its client is on."""

    address: str | None
    """None: it is not told here."""
    scheme: str | None = None
    host: str | None = None


class Proxies:
    """`seen(scope)` returns the scope as the client's request. Costs one pass over the headers, and more for requests
    that have one of NAMES only. Belongs to the loop's thread.

    trusted: addresses and networks, as `http.trusted_proxies` has them.
    """

    def __init__(self, trusted: Iterable[str], *, once: Once | None = None) -> None:
        self._listed = list(trusted)
        self._networks = [ipaddress.ip_network(one) for one in self._listed]
        self._known: dict[str, bool] = {}
        self._once = Once() if once is None else once
        self.untrusted = 0
        self.unreadable = 0
        self.contradictions = 0

    def seen(self, scope: dict[str, Any]) -> dict[str, Any]:
        found: dict[bytes, bytes] | None = None
        for name, value in scope["headers"]:
            if name in NAMES:
                if found is None:
                    found = {}
                found[name] = found[name] + b"," + value if name in found else value
        if found is None:
            return scope
        client = scope.get("client")
        peer = str(client[0]) if client else ""
        if not self.trusts(peer):
            self._ignore(peer, found)
            return scope
        try:
            hop = self._client(found)
        except _Unreadable as why:
            text = str(why)
            self._once.warn(
                ("unreadable", peer), lambda: f"the proxy {peer} is taken to be the client of its requests: {text}"
            )
            return scope
        return self._as_told(scope, hop)

    def trusts(self, peer: str) -> bool:
        """Tells whether the address is a trusted proxy's."""
        if not self._networks:
            return False
        known = self._known.get(peer)
        if known is None:
            try:
                address = parsed_address(peer)
            except ValueError:
                return False
            known = any(address in network for network in self._networks)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[peer] = known
        return known

    def _ignore(self, peer: str, found: dict[bytes, bytes]) -> None:
        self.untrusted += 1
        name = _SHOWN[min(found, key=list(_SHOWN).index)]
        self._once.warn(
            ("untrusted", peer),
            lambda: (
                f"a proxy at {peer} sends {name}, but is not in http.trusted_proxies, so all its clients count as one; "
                f"if it is yours, set this: http.trusted_proxies = {json.dumps([*self._listed, peer])}"
            ),
        )

    def _client(self, found: dict[bytes, bytes]) -> _Hop:
        """Raises _Unreadable."""
        named = []
        if FOR in found or PROTO in found or HOST in found:
            named.append(self._of_hops(self._x_forwarded(found)))
        if RFC_7239 in found:
            named.append(self._of_hops(self._rfc_7239(found[RFC_7239])))
        if len(named) == 1:
            return named[0]
        first, second = named
        if first.address != second.address and first.address is not None and second.address is not None:
            self.contradictions += 1
            raise _Unreadable(
                f"X-Forwarded-For says {first.address}, Forwarded says {second.address}; let the proxy remove the one "
                "that it does not write"
            )
        # The one that names the client is the one that the proxy writes.
        return first if first.address is not None else second

    def _of_hops(self, hops: list[_Hop]) -> _Hop:
        """Returns the right-most hop that is not a trusted proxy's, or the left-most."""
        for hop in reversed(hops):
            if hop.address is None or not self.trusts(hop.address):
                return hop
        return hops[0]

    def _x_forwarded(self, found: dict[bytes, bytes]) -> list[_Hop]:
        schemes, hosts = _list(found.get(PROTO)), _list(found.get(HOST))
        addresses = _list(found.get(FOR))
        count = len(addresses)
        if not count:
            return [_Hop(None, self._scheme(schemes[-1] if schemes else None), hosts[-1] if hosts else None)]
        hops = []
        for index in range(count - 1, max(0, count - MOST_HOPS) - 1, -1):
            address = self._address(addresses[index], "X-Forwarded-For")
            scheme, host = (one[index if len(one) == count else -1] if one else None for one in (schemes, hosts))
            hops.append(_Hop(address, self._scheme(scheme), host))
            if not self.trusts(address):
                break
        return hops[::-1]

    def _rfc_7239(self, value: bytes) -> list[_Hop]:
        hops = []
        for element in reversed(self._elements(value.decode("latin-1"))[-MOST_HOPS:]):
            node = element.get("for")
            address = None if node is None else self._address(node, "Forwarded")
            hops.append(_Hop(address, self._scheme(element.get("proto")), element.get("host")))
            if address is None or not self.trusts(address):
                break
        return hops[::-1] or [_Hop(None)]

    def _elements(self, text: str) -> list[dict[str, str]]:
        elements: list[dict[str, str]] = [{}]
        at = 0
        while True:
            match = _PAIR.match(text, at)
            assert match is not None  # it matches nothing, too
            at = match.end()
            if match[1] is not None:
                name, value = match[1].lower(), match[2]
                if value.startswith('"'):
                    value = re.sub(r"\\(.)", r"\1", value[1:-1])
                if name in elements[-1]:
                    raise self._cannot_read("Forwarded", f"{name} is there twice")
                elements[-1][name] = value
            if at == len(text):
                return [one for one in elements if one]
            if text[at] == ",":
                elements.append({})
            elif text[at] != ";":
                raise self._cannot_read("Forwarded", text)
            at += 1

    def _address(self, text: str, header: str) -> str:
        match = _NODE.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            return str(parsed_address(match[1] or match[2] or match[3]))
        except ValueError:
            raise self._cannot_read(header, text) from None

    def _scheme(self, text: str | None) -> str | None:
        if text is None:
            return None
        scheme = text.lower()
        if scheme not in ("http", "https"):
            raise self._cannot_read("the scheme", text)
        return scheme

    def _cannot_read(self, header: str, text: str) -> _Unreadable:
        self.unreadable += 1
        return _Unreadable(f"{header} cannot be read: {text[:100]!r}")

    @staticmethod
    def _as_told(scope: dict[str, Any], hop: _Hop) -> dict[str, Any]:
        host = None if hop.host is None else hop.host.encode("latin-1")
        told = {**scope, FORWARDED: Forwarded(host, hop.scheme is not None)}
        if hop.address is not None:
            told["client"] = (hop.address, 0)
        if hop.scheme is not None:
            told["scheme"] = hop.scheme
        return told

    def stats(self) -> dict[str, int]:
        return {
            "untrusted": self.untrusted,
            "unreadable": self.unreadable,
            "contradictions": self.contradictions,
            "left_out": self._once.left_out,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def _list(value: bytes | None) -> list[str]:
    if value is None:
        return []
    return [part for one in value.decode("latin-1").split(",") if (part := one.strip())]


def below_base(scope: dict[str, Any], base: str) -> dict[str, Any]:
    """Returns the scope without `base` in its path, if it is there: some proxies remove it, and some do not."""
    path: str = scope["path"]
    if not path.startswith(base) or path[len(base) : len(base) + 1] not in ("", "/"):
        return scope
    raw = scope.get("raw_path")
    encoded = base.encode()
    if raw is not None and not (raw == encoded or raw.startswith(encoded + b"/")):
        return scope  # a spelling of its own
    shorter = {**scope, "path": path[len(base) :] or "/"}
    if raw is not None:
        shorter["raw_path"] = raw[len(encoded) :] or b"/"
    return shorter


async def send_redirect(send: Callable[[dict[str, Any]], Awaitable[None]], base: str, query: bytes) -> None:
    """Sends the answer for the base path without a slash at its end, relative to which no link would be right."""
    to = base.encode() + b"/" + (b"?" + query if query else b"")
    headers = [(b"location", to), (b"content-length", b"0"), *SECURITY_HEADERS]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
