# SPDX-License-Identifier: MIT
"""An HTTP client for one server: synchronous, one connection that is kept open, each request bounded in time.

Proxies are not used, and redirects are not followed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping

from heartfelt._net.connection import Connection, Waker, connect
from heartfelt._net.http import HttpResponse, request
from heartfelt._net.resolver import Resolver
from heartfelt._net.url import BaseUrl

__all__ = ["HttpClient", "HttpConnection", "Stale", "TimeLimits"]

_ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Stale(OSError):
    """The server closed a kept connection before it answered, as it may: the request can be sent on a new one."""


class TimeLimits:
    """How long a request may take: `wait_s` for each wait, `total_s` for all of it, None without such a limit."""

    def __init__(self, wait_s: float, total_s: float | None) -> None:
        self._wait_s = wait_s
        self._end = float("inf") if total_s is None else time.monotonic() + total_s

    def deadline(self) -> float:
        """The deadline of a wait that begins now."""
        return min(time.monotonic() + self._wait_s, self._end)


class HttpConnection:
    """HTTP/1.1 over a connection, one request after another. For one thread at a time."""

    def __init__(self, connection: Connection, host: str, port: int) -> None:
        self._connection = connection
        self._host, self._port = host, port
        self._answer: HttpResponse | None = None
        self._is_used = False

    @property
    def keeps(self) -> bool:
        """Whether another request can be sent: there was none yet, or the last answer was read to its end."""
        return not self._is_used or (self._answer is not None and self._answer.keeps)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, limits: TimeLimits
    ) -> HttpResponse:
        """Sends a request, and reads the head of its answer. The body must be read before the next request.

        Raises Stale, other OSErrors, Cancelled, and ValueError for what cannot be sent.
        """
        message = request(method, target, self._host, self._port, headers, body)
        was_used, self._is_used, self._answer = self._is_used, True, None
        try:
            self._connection.send(message, limits.deadline())
            self._answer = HttpResponse(lambda: self._connection.receive(limits.deadline()))
        except _ENDED as error:
            if was_used:
                raise Stale("the server had closed the kept connection") from None
            raise error from None
        return self._answer

    def close(self) -> None:
        self._connection.close()


class HttpClient:
    """Requests to one server. Blocks; for one thread at a time. Raises OSError, and ValueError for what cannot be sent.

    `wait_s` bounds each wait (looking up, connecting, the head, each piece of a body).
    A request is sent again, once, if a connection that was kept turns out to be closed. With a `waker`, another thread
    can end all waits by its `cancel`: they raise Cancelled.
    """

    def __init__(
        self,
        url: BaseUrl,
        *,
        wait_s: float,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        resolver: Resolver | None = None,
        waker: Waker | None = None,
    ) -> None:
        self._url = url
        self._wait_s = wait_s
        self._tls = tls
        self._headers = dict(headers or {})
        self._resolver = resolver or Resolver(url.host, url.port, socket.SOCK_STREAM)
        self._waker = waker
        self._kept: HttpConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        total_s: float | None = None,
    ) -> HttpResponse:
        """Sends a request for `path`, which is below the server's URL, and returns the answer.

        `total_s` bounds all of it, its body included; None for a body that may go on for ever, as a stream. Read the
        body before the next request; if it is not read to its end, that request makes a new connection.
        """
        limits = TimeLimits(self._wait_s, total_s)
        target = self._url.prefix + path
        all_headers = {**self._headers, **(headers or {})}
        try:
            if self._kept is not None and self._kept.keeps:
                try:
                    return self._kept.exchange(method, target, all_headers, body, limits)
                except Stale:
                    pass
            self.drop()
            self._kept = HttpConnection(self._connect(limits), self._url.host, self._url.port)
            return self._kept.exchange(method, target, all_headers, body, limits)
        except BaseException:
            self.drop()
            raise

    def _connect(self, limits: TimeLimits) -> Connection:
        return connect(
            self._resolver.get(limits.deadline(), self._waker),
            deadline=limits.deadline(),
            tls=self._tls,
            server_hostname=self._url.host,
            waker=self._waker,
        )

    def drop(self) -> None:
        """Closes the connection; the next request makes a new one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
