# SPDX-License-Identifier: MIT
"""Addresses of Redis, as the setting `store` has them, and how to connect. Nothing here shows a password, or imports
redis."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from heartfelt._checks import shown
from heartfelt.errors import ConfigError, StoreError

SINGLE = "single"
SENTINEL = "sentinel"
CLUSTER = "cluster"
EXAMPLES = (
    "redis://HOST:6379/0, rediss://HOST:6379/0 (TLS), redis+sentinel://HOST1:26379,HOST2:26379/SERVICE/0, "
    "redis+cluster://HOST1:6379,HOST2:6379 or unix:///run/redis.sock?db=0"
)
PASSWORD_BYTES = 64 << 10
_SCHEMES = {
    "redis": (SINGLE, False),
    "rediss": (SINGLE, True),
    "redis+sentinel": (SENTINEL, False),
    "rediss+sentinel": (SENTINEL, True),
    "redis+cluster": (CLUSTER, False),
    "rediss+cluster": (CLUSTER, True),
}
_PORTS = {SINGLE: 6379, SENTINEL: 26379, CLUSTER: 6379}
_HOST = re.compile(r"[^\s\[\]:@/,?#]+")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    kind: str
    """SINGLE, SENTINEL or CLUSTER."""
    hosts: tuple[tuple[str, int], ...] = ()
    """For SENTINEL: the Sentinels. Empty with `path`."""
    path: str | None = None
    """A Unix socket."""
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    service: str = ""
    """The name by which the Sentinels know the primary."""
    db: int = 0

    def __str__(self) -> str:
        """Returns the URL without user and password."""
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = next(name for name, what in _SCHEMES.items() if what == (self.kind, self.tls))
        tail = f"/{self.service}" if self.service else ""
        tail += f"/{self.db}" if self.db else ""
        return f"{scheme}://{','.join(place(*one) for one in self.hosts)}{tail}"


@dataclass(frozen=True, kw_only=True)
class RedisOptions:
    """Everything about the connections that is not in the URL."""

    timeout_s: float = 2.0
    """The longest time for a connection, and for a reply."""
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    sentinel_password_file: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_password(path: str, name: str) -> str:
    """Reads a password from a file: its text without the newline at its end. Raises StoreError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(PASSWORD_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise StoreError(f"{name} {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise StoreError(f"{name} {path} is not UTF-8; write the password as text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > PASSWORD_BYTES:
        raise StoreError(f"{name} {path} is {'too long' if text else 'empty'}; write the password into it, and no more")
    return text


def parse_address(url: str) -> RedisAddress:
    """Raises ConfigError that begins with "must" or "has", and shows nothing that may belong to a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in {*_SCHEMES, "unix"}:
        raise ConfigError(f"must be a URL such as {EXAMPLES}")
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ConfigError("must not contain blanks; write one in a user's name or a password as %20")
    if "#" in rest:
        raise ConfigError("has a #; in a user's name or a password, write it as %23")
    if scheme.lower() == "unix":
        return _unix(rest)
    kind, tls = _SCHEMES[scheme.lower()]
    rest, question, _ = rest.partition("?")
    if question:
        raise ConfigError(
            "has a ?; options of the connection are settings of their own (redis.ca, redis.timeout and others), and in "
            "a user's name or a password it is written as %3F"
        )
    authority, _, path = rest.partition("/")
    if "@" in path:
        raise ConfigError("has a / in the user's name or the password; write it as %2F")
    user, password, hosts = _credentials(authority)
    parts = [part for part in path.split("/") if part]
    service = ""
    if kind == SENTINEL:
        if not parts or not _SERVICE.fullmatch(parts[0]):
            raise ConfigError(
                "has no name of a service that the Sentinels watch (letters, digits and . _ -); write it after the "
                "hosts: redis+sentinel://HOST:26379/SERVICE"
            )
        service = parts.pop(0)
    if len(parts) > 1:
        raise ConfigError(f"has a path of too many parts; write it as in {EXAMPLES}")
    db = _db(parts[0]) if parts else 0
    if kind == CLUSTER and db:
        raise ConfigError(f"has the database {db}, but a Redis Cluster has only database 0; leave it out")
    found = _hosts(hosts, kind, secret="@" in authority)
    if kind == SINGLE and len(found) > 1:
        raise ConfigError("has several hosts; write redis+sentinel:// or redis+cluster:// if they are of one of these")
    return RedisAddress(kind=kind, hosts=found, tls=tls, user=user, password=password, service=service, db=db)


def _unix(rest: str) -> RedisAddress:
    before, question, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    if not authority.endswith("@") and authority:
        raise ConfigError("has no absolute path of a socket; write unix:///run/redis.sock, with three slashes")
    if not slash or not path or "@" in path:
        raise ConfigError("has no path of a socket, or an @ in it; write unix:///run/redis.sock")
    user, password, _ = _credentials(authority)
    db = 0
    if question:
        name, _, value = query.partition("=")
        if name != "db":
            raise ConfigError("has an unknown option after the ?; only the number of the database may be there: ?db=0")
        db = _db(value)
    return RedisAddress(kind=SINGLE, path=unquote(slash + path), user=user, password=password, db=db)


def _credentials(authority: str) -> tuple[str | None, str | None, str]:
    """Returns user, password, and the rest of the authority."""
    given, at, hosts = authority.rpartition("@")
    if not at:
        return None, None, authority
    user, colon, password = given.partition(":")
    if not colon or not password:
        if user and not colon:  # a password may come from elsewhere
            return unquote(user), None, hosts
        raise ConfigError(
            "has an @ but no password before it; write USER:PASSWORD@, or USER@ with redis.password_file, or neither"
        )
    return unquote(user) or None, unquote(password), hosts


def _hosts(text: str, kind: str, *, secret: bool) -> tuple[tuple[str, int], ...]:
    found = []
    for one in text.split(","):
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", one)
        host = match and (match[1] or match[2])
        if match is None or host is None or not (match[1] or _HOST.fullmatch(host)):
            got = "" if secret else f"; got {shown(one)}"
            raise ConfigError(f"must name each host as HOST, HOST:PORT or [IPV6]:PORT, separated by commas{got}")
        port = int(match[3]) if match[3] else _PORTS[kind]
        if not 0 < port < 65536:
            raise ConfigError(f"has the port {port} for {host}; write one from 1 to 65535")
        found.append((host, port))
    return tuple(dict.fromkeys(found))


def _db(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ConfigError("has a database that is not a number; write one such as /0 after the host")
    return int(text)
