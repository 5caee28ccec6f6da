# SPDX-License-Identifier: MIT
"""The monitor as an ASGI application, for `heartfelt serve` and for any ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.problems import Problem, as_asgi
from heartfelt.monitor.tasks import within
from heartfelt.monitor.web.api.endpoint import problem_response
from heartfelt.monitor.web.api.routes import starlette_routes
from heartfelt.monitor.web.forwarded import below_base, send_redirect
from heartfelt.monitor.web.panel import no_such_page, panel_routes, read_files, wants_page
from heartfelt.monitor.web.shield import SECURITY_HEADERS

HSTS = (b"strict-transport-security", b"max-age=2592000")
"""30 days, without subdomains: it holds for all ports of the host, and stays after TLS was turned off."""
SEND_S = 30.0
"""A client that does not read its answer for this long is disconnected."""
MOST_SHOWN = 200
"""Characters of a path in the text of an error."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client does not read its answer."""


class App:
    """Dispatches requests: beats and pings straight to the ingest, all others to the routes."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._seen = monitor.proxies.seen
        self._base = monitor.config.base_path
        self._refusal = monitor.shield.refusal
        self._ingest = monitor.http_ingest
        self._panel = read_files(base=monitor.config.base_path)
        self._routes = Starlette(
            routes=[*starlette_routes(monitor.api), *panel_routes(self._panel)],
            exception_handlers={HTTPException: self._http_error, Exception: _fault},
        )
        self._routes.router.redirect_slashes = False  # no second spelling of a path

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._is_tls_here(scope):
                send = _with_hsts(send)
            scope = self._seen(scope)
            base = self._base
            if base:
                if scope["path"] == base and scope["method"] in ("GET", "HEAD"):
                    await send_redirect(send, base, scope["query_string"])
                    return
                scope = below_base(scope, base)
            if (problem := self._refusal(scope)) is not None:
                for message in as_asgi(problem):
                    await send(message)
                return
            path = scope["path"]
            if self.monitor.http_ingest.serves(path):
                await self._ingest(scope, receive, send)
            else:
                try:
                    await self._routes(scope, receive, _guarded(send))
                except ClientGone:
                    self.monitor.clients_gone += 1  # the answer stays incomplete; the server closes the connection
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    @staticmethod
    def _is_tls_here(scope: dict[str, Any]) -> bool:
        """Whether this connection itself is encrypted. Behind a proxy, HSTS is the proxy's business."""
        return bool(scope["scheme"] == "https")

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and wants_page(request):
            return no_such_page(self._panel)
        return _refused(request, error)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.monitor.start()
                except HeartfeltError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.monitor.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _with_hsts(send: Send) -> Send:
    async def with_hsts(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), HSTS]}  # the ingest's are shared
        await send(message)

    return with_hsts


def _guarded(send: Send) -> Send:
    """Adds the security headers to the answer, and raises ClientGone for a client that does not read."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            names = {name for name, _ in own}  # the panel sets its own policy
            message["headers"] = own + [one for one in SECURITY_HEADERS if one[0] not in names]
        try:
            await within(SEND_S, send(message))
        except asyncio.TimeoutError:
            raise ClientGone from None

    return guarded


def _refused(request: Request, error: HTTPException) -> Response:
    path = request.url.path if len(request.url.path) <= MOST_SHOWN else request.url.path[:MOST_SHOWN] + "..."
    if error.status_code == 404:
        problem = Problem(404, "no_such_path", f"there is no {path!r}; see /api/v1/openapi.json")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{path} does not take {request.method}; it takes {allowed}"
        problem = Problem(405, "method", detail, {"Allow": allowed})
    else:
        problem = Problem(error.status_code, "http", str(error.detail), dict(error.headers or {}))
    return problem_response(problem)


async def _fault(request: Request, error: Exception) -> Response:
    return problem_response(
        Problem(500, "fault", "internal error; the monitor's log has the details: please report it with that log")
    )


def create_app(config: MonitorConfig | None = None) -> App:
    """An ASGI application; its lifespan starts and stops the monitor, with its TCP and UDP ports.

    config: None means `MonitorConfig()`. The ASGI server decides where HTTP is served, but whether tokens are needed
    depends on the configuration's `http.host`. Give the server a limit for its graceful shutdown: it is what ends open
    streams. Raises ConfigError.
    """
    return App(Monitor(config if config is not None else MonitorConfig()))
