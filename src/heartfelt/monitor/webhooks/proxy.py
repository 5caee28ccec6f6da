# SPDX-License-Identifier: MIT
"""The HTTP proxy that webhooks are called through: which one, for which targets, and what its failures mean.

Through a proxy, the monitor cannot see which address a name has, so the target is judged by what its URL says: an
address like any other, and names that belong to this machine or network only are refused. The proxy's own address is
the operator's choice, and is not judged.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from heartfelt.errors import ConfigError
from heartfelt.monitor.webhooks.guard import Lookup, check_address

__all__ = ["OutboundProxies", "Proxy", "ProxyFailed", "ProxyResolver", "check_name", "failure_of", "make_proxies"]

ENVIRONMENT = "environment"
_FORM = "a URL such as http://proxy.example:3128, or http://USER:PASSWORD@proxy.example:3128"
_LOCAL = re.compile(r"(?:.*\.)?(?:localhost|local|localdomain|internal|intranet|lan|home\.arpa)")
_METADATA = frozenset(("metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"))
_MOST_ENTRIES = 1000


class Proxy(msgspec.Struct, kw_only=True, frozen=True):
    """A proxy. Its password is in `headers` only."""

    url: URL
    """Without user and password."""
    headers: Mapping[str, str]
    source: str
    """The setting or the environment variable that names it."""

    @property
    def shown(self) -> str:
        return f"{self.url.host_subcomponent}:{self.url.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.shown})"


class ProxyFailed(Exception):
    """The proxy did not pass a call on. The text and the remedy are for people."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


class OutboundProxies(msgspec.Struct, kw_only=True, frozen=True):
    """The proxies of a monitor; empty: targets are called directly."""

    by_scheme: Mapping[str, Proxy] = {}
    without: tuple[str, ...] = ()
    """Targets that are called directly: the entries of NO_PROXY."""
    own_names: frozenset[str] = frozenset()
    """Names of the monitor itself, in lower case."""

    def of(self, url: URL) -> Proxy | None:
        """Returns the proxy for a target. O(entries of NO_PROXY)."""
        proxy = self.by_scheme.get(url.scheme)
        return None if proxy is None or _is_listed(url, self.without) else proxy


def make_proxies(
    setting: str | None, *, own_names: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> OutboundProxies:
    """Makes the proxies of the setting webhooks.proxy. environ replaces os.environ. Raises ConfigError."""
    if setting is None:
        return OutboundProxies()
    names = frozenset(name.lower().rstrip(".") for name in (*own_names, socket.gethostname()) if name)
    if setting != ENVIRONMENT:
        proxy = _proxy(setting, "webhooks.proxy")
        return OutboundProxies(by_scheme={"http": proxy, "https": proxy}, own_names=names)
    environ = os.environ if environ is None else environ
    found: dict[str, Proxy] = {}
    for scheme in ("http", "https"):
        # Small letters come first, as everywhere; a server's CGI program may get HTTP_PROXY from a client.
        candidates = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
        if scheme == "http" and "REQUEST_METHOD" in environ:
            candidates.remove("HTTP_PROXY")
        name = next((one for one in candidates if environ.get(one, "").strip()), None)
        if name is not None:
            text = environ[name].strip()
            found[scheme] = _proxy(text if "://" in text else f"http://{text}", f"environment variable {name}")
    text = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    entries = [part.lower() for part in re.split(r"[,\s]+", text) if part]
    return OutboundProxies(by_scheme=found, without=tuple(entries[:_MOST_ENTRIES]), own_names=names)


def _proxy(text: str, source: str) -> Proxy:
    """Raises ConfigError, which does not show the URL: it may have a password in it."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise ConfigError(f"{source} must be {_FORM}; its host or port is invalid") from None
    if url.scheme != "http" or not host:
        scheme = f"; got one that begins with {url.scheme[:20]}://" if url.scheme else ""
        raise ConfigError(f"{source} must be {_FORM}{scheme}")
    if not port or url.path not in ("", "/") or url.query_string or url.fragment:
        raise ConfigError(f"{source} must be {_FORM}, with nothing after the port")
    headers = {}
    if url.user is not None or url.password is not None:
        pair = f"{url.user or ''}:{url.password or ''}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return Proxy(url=url.with_user(None), headers=headers, source=source)


def _is_listed(url: URL, entries: tuple[str, ...]) -> bool:
    host = (url.host or "").lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in entries:
        if entry == "*":
            return True
        name, _, port = entry.rpartition(":") if re.search(r"[^:]:\d+$|\]:\d+$", entry) else (entry, "", "")
        if port and int(port) != url.port:
            continue
        name = name.strip("[]")
        if address is not None:
            try:
                if address in ipaddress.ip_network(name, strict=False):
                    return True
            except ValueError:
                continue
        else:
            name = name.removeprefix("*").lstrip(".").rstrip(".")
            if name and (host == name or host.endswith(f".{name}")):
                return True
    return False


def check_name(url: URL, own_names: frozenset[str], *, allow_private: bool) -> str | None:
    """Returns why this target must not be called through a proxy, or None."""
    host = (url.host or "").lower().rstrip(".")
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        return check_address(host, allow_private=allow_private)
    if host in _METADATA:
        return f"{host} is a cloud metadata service, which is never called"
    if allow_private:
        return None
    if host in own_names:
        return f"{host} is this machine; set allow_private if the webhook is meant to call it"
    if "." not in host or _LOCAL.fullmatch(host):
        return f"{host} is a name of the local network; set allow_private if the webhook is meant to call it"
    return None


class ProxyResolver(AbstractResolver):
    """Resolves the name of a proxy, to whatever address it has."""

    def __init__(self, look_up: Lookup) -> None:
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._look_up(host, port)
        ]
        if not found:
            raise OSError("the host name has no address")
        return found

    async def close(self) -> None:
        pass


def failure_of(proxy: Proxy, status: int | None, error: Exception | None, target: URL) -> ProxyFailed | None:
    """Returns what an answer's status or an error says about the proxy. None: the proxy is not at fault."""
    shown = f"the proxy {proxy.shown}"
    check = f"check {proxy.source}, and that the proxy runs and can be reached"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        status = error.status
    if status == 407:
        wrong = "does not take this user and password" if proxy.headers else "asks for a user and a password"
        remedy = f"set {proxy.source} to http://USER:PASSWORD@{proxy.shown}, with what the proxy knows"
        return ProxyFailed(f"{shown} {wrong} (407)", remedy)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        host = f"{target.host_subcomponent}:{target.port}"
        text = f"{shown} does not connect to the webhook's host: it answers {status}"
        return ProxyFailed(text, f"let the proxy connect to {host}, or call it without the proxy (NO_PROXY)")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ProxyFailed(f"the host name of {shown} cannot be resolved", check)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
        return None
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        reason = os.strerror(error.errno) if error.errno else "no connection"
        return ProxyFailed(f"{shown} cannot be reached: {reason}", check)
    if isinstance(error, aiohttp.ServerTimeoutError):
        return ProxyFailed(f"no connection through {shown} in time", check)
    return None
