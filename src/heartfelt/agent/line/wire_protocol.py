# SPDX-License-Identifier: MIT
"""The transports of a line on a thread: how Sermant's frames, HTTP requests and datagrams carry a beat."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Protocol

from heartfelt._net.connection import Connection
from heartfelt._net.http_client import HttpConnection, TimeLimits
from heartfelt.agent.line.line import Plan
from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import HEARTBEAT

__all__ = ["MOST_ANSWER", "RefusedByServer", "Transport", "beat_headers", "socket_kind", "transport_for"]

MOST_ANSWER = 64 << 10  # bytes of an answer's body that are read so that the connection can be kept


class RefusedByServer(Exception):
    """The server answered with a status other than 2xx; the text has the status."""


class Transport(Protocol):
    """Sends over one connection. Raises OSError (the connection is broken then), Stale, RefusedByServer, Cancelled."""

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again."""

    def beat(self, text: bytes) -> None:
        """Returns once the beat is sent; by HTTP, once it is answered."""

    def goodbye(self, text: bytes) -> None:
        """Sends the goodbye, as `beat` sends a beat."""


class SermantTransport:
    keeps = True

    def __init__(self, plan: Plan, connection: Connection) -> None:
        self._connection = connection
        self._timeout = plan.write_timeout_s
        self._token = plan.token  # only in the first frame of the connection

    def beat(self, text: bytes) -> None:
        self._send(encode_frame([(HEARTBEAT, pack(text))], token=self._token))

    def goodbye(self, text: bytes) -> None:
        self._send(encode_frame(goodbye=text, token=self._token))

    def _send(self, frame: bytes) -> None:
        self._connection.send(frame, time.monotonic() + self._timeout)
        self._token = None


def beat_headers(plan: Plan) -> dict[str, str]:
    """The headers of a beat's request."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return headers if plan.token is None else {**headers, "Authorization": f"Bearer {plan.token}"}


class HttpTransport:
    def __init__(self, plan: Plan, connection: Connection) -> None:
        self._http = HttpConnection(connection, plan.server_hostname or plan.host, plan.port)
        self._path = plan.path
        self._headers = beat_headers(plan)
        self._timeout = plan.write_timeout_s

    @property
    def keeps(self) -> bool:
        return self._http.keeps

    def beat(self, text: bytes) -> None:
        limits = TimeLimits(self._timeout, 2 * self._timeout)  # to send it, and to get the answer
        answer = self._http.exchange("POST", self._path, self._headers, pack(text), limits)
        answer.skip(MOST_ANSWER)
        if not 200 <= answer.status < 300:
            raise RefusedByServer(f"HTTP {answer.status} {answer.reason}".rstrip())

    goodbye = beat


class UdpTransport:
    keeps = True

    def __init__(self, plan: Plan, connection: Connection) -> None:
        self._connection = connection
        self._timeout = plan.write_timeout_s
        self._prefix = b"" if plan.token is None else b"Bearer %b\n" % plan.token.encode()

    def beat(self, text: bytes) -> None:
        self._connection.send(self._prefix + pack(text), time.monotonic() + self._timeout)

    goodbye = beat


_TRANSPORTS: dict[str, Callable[[Plan, Connection], Transport]] = {
    "sermant": SermantTransport,
    "http": HttpTransport,
    "udp": UdpTransport,
}


def transport_for(plan: Plan, connection: Connection) -> Transport:
    """The plan's transport, on a new connection."""
    return _TRANSPORTS[plan.transport](plan, connection)


def socket_kind(plan: Plan) -> socket.SocketKind:
    return socket.SOCK_DGRAM if plan.transport == "udp" else socket.SOCK_STREAM
