# SPDX-License-Identifier: MIT
"""One HTTP POST on a connection of its own, with one time limit for all of it.

http.client's own time limit is one for each read, so that a server that sends a byte now and then holds its client for
good; here each read gets what is left. Not limited: the look-up of the host's name, which the system does. Proxies
are not used, and redirects are not followed.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from heartfelt._checks import shown
from heartfelt.errors import ConfigError

# Every look-up of a host needs this codec, which Python imports at its first use. A fork in the middle of that, by
# another thread, would leave the child without it for good: "unknown encoding: idna". So it is imported here.
"".encode("idna")

MOST_TEXT = 2000  # bytes that are read of an answer
PORTS = {"http": 80, "https": 443}


class Where(NamedTuple):
    """A monitor's address."""

    scheme: str
    host: str
    port: int
    prefix: str  # path before /ping and /api, without a slash at its end

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


class Answer(NamedTuple):
    status: int
    text: str  # the beginning of its body, in one line
    location: str | None


def where_of(url: str) -> Where:
    """The parts of a monitor's URL. Raises TypeError and ConfigError."""
    if not isinstance(url, str):
        raise TypeError(f"a url must be str, not {type(url).__name__}: {shown(url)}")
    example = "for example http://127.0.0.1:8900"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{_masked(url)} is no URL ({error}); give one, {example}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{_masked(url)} holds a user or a password; give a token instead")
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError(f"{shown(url)} is no URL of a monitor; give one with http:// or https://, {example}")
    if parts.query or parts.fragment:
        raise ConfigError(f"{shown(url)} has a query or a fragment; give the URL without it, {example}")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigError(f"{shown(url)} has characters that a URL cannot have; percent-encode them")
    return Where(parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path.rstrip("/"))


def _masked(url: str) -> str:
    """A URL for a message, without what may be a password."""
    scheme, mark, rest = url.partition("://")
    return shown(f"{scheme}{mark}...@{rest.rpartition('@')[2]}" if "@" in rest else url)


def post(
    where: Where,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    context: ssl.SSLContext | None,
) -> Answer:
    """Posts and reads the answer, within `timeout_s`. Raises OSError (TimeoutError included) and HTTPException."""
    give_up = monotonic() + timeout_s
    sock = socket.create_connection((where.host, where.port), timeout=timeout_s)
    try:
        if context is not None:
            sock.settimeout(_left(give_up))
            sock = context.wrap_socket(sock, server_hostname=where.host)
        sock.settimeout(_left(give_up))
        connection = HTTPConnection(where.host, where.port)
        connection.sock = sock
        connection.request("POST", where.prefix + path, body, {**headers, "Connection": "close"})
        reads = cast("socket.socket", _Reads(sock, give_up))  # HTTPResponse asks nothing of it but makefile
        with HTTPResponse(reads, method="POST") as response:
            response.begin()
            return Answer(response.status, _text_of(response), response.getheader("Location"))
    finally:
        sock.close()


def _text_of(response: HTTPResponse) -> str:
    """What the answer says; its status has said already what counts, so one that breaks off says nothing more."""
    try:
        raw = response.read(MOST_TEXT)
    except (OSError, HTTPException) as error:
        return f"(the answer broke off: {error!r})"
    return " ".join(raw.decode("utf-8", "replace").split())


def _left(give_up: float) -> float:
    left = give_up - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Reads(io.RawIOBase):
    """Reads from a socket until a point in time."""

    def __init__(self, sock: socket.socket, give_up: float) -> None:
        self._sock = sock
        self._give_up = give_up

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._sock.settimeout(_left(self._give_up))
        return self._sock.recv_into(buffer)  # type: ignore[arg-type]
