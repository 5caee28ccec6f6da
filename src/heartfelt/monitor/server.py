# SPDX-License-Identifier: MIT
"""The process of `heartfelt serve`: the monitor with its own HTTP server, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from heartfelt.monitor import garbage
from heartfelt.monitor.app import SEND_S, App
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_tls
from heartfelt.monitor.loop import run_loop
from heartfelt.monitor.monitor import Monitor, StartError, cannot_listen
from heartfelt.monitor.tasks import end_tasks
from heartfelt.monitor.web.http1 import RequestGuard, protocol_class

GRACEFUL_S = 5
"""How long requests under way may take to end, once the process was asked to."""
REQUESTS_S = 1.0
"""How long the server may take beyond that, and the requests that it then cancels."""
HTTP_STOP_S = GRACEFUL_S + 2 * REQUESTS_S
"""The most that the HTTP server's end takes."""
BACKLOG = 2048
USER_TIMEOUT_MS = 30_000
_logger = logging.getLogger("heartfelt.monitor")


class _RateLimit(logging.Filter):
    """Limits log lines that clients can cause to one a second. The next line says how many were suppressed."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = 0.0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING and record.exc_info:
            return True  # a bug in the monitor
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._left_out += 1
            return False
        if self._left_out:
            record.msg = f"{record.getMessage()} ({self._left_out} more were suppressed)"
            record.args = ()
        self._next_s, self._left_out = now_s + 1.0, 0
        return True


class _Server(uvicorn.Server):
    """Does not handle signals: `Process` does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """Opens the HTTP port. Raises StartError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(cannot_listen("http", host, port, error)) from error
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted sockets inherit it; detects dead peers
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind(address)
        sock.listen(BACKLOG)  # before anything else starts, so that a port in use is found early
    except OSError as error:
        sock.close()
        raise StartError(cannot_listen("http", host, port, error)) from error
    sock.setblocking(False)
    return sock


class Process:
    """One run of the monitor. ready_json: print the addresses as one line of JSON when all ports are open."""

    def __init__(self, config: MonitorConfig, *, ready_json: bool = False) -> None:
        self._config = config
        self._ready_json = ready_json
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Runs until a signal arrives. Raises StartError, ConfigError or StoreError if it cannot start."""
        sock = bind(*self._config.address("http"))
        try:
            monitor = Monitor(self._config)
            await monitor.start()
            garbage.freeze()
            watched = garbage.Garbage()
            watched.start()
            monitor.more_stats["gc"] = watched.stats
            monitor.more_readings.append(watched.readings)
            try:
                await self._serve(monitor, sock)
            finally:
                watched.stop()
                await monitor.stop()
        finally:
            sock.close()

    async def _serve(self, monitor: Monitor, sock: socket.socket) -> None:
        config = self._config
        guard = RequestGuard(
            request_timeout_s=config.http_request_timeout,
            header_bytes=config.http_header_bytes,
            keep_alive_s=config.http_keep_alive,
            send_timeout_s=SEND_S,
        )
        monitor.more_stats["requests"] = guard.stats
        monitor.more_readings.append(guard.readings)
        monitor.more_readings.append(guard.readings)
        settings = uvicorn.Config(
            App(monitor),
            http=protocol_class(guard),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_S,
            limit_concurrency=config.limits_connections,
        )
        settings.load()
        settings.ssl = make_tls(config) if config.http_tls else None
        server = _Server(settings)
        loop = asyncio.get_running_loop()
        with _signals(loop, self._stopping.set):
            serving = loop.create_task(server.serve(sockets=[sock]))
            stopping = loop.create_task(self._stopping.wait())
            while not server.started and not serving.done():
                await asyncio.sleep(0.005)
            if server.started:
                self._announce(monitor, sock, tls=settings.ssl is not None)
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            monitor.begin_stop()  # so that no request delays the end
            server.should_exit = True
            await _end_serving(server, serving)
            guard.close()

    def _announce(self, monitor: Monitor, sock: socket.socket, *, tls: bool) -> None:
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if tls else 'http'}://{shown}:{port}"
        ports = {name: list(address[:2]) for name, address in monitor.ports().items()}
        if self._ready_json:
            ready = {"ready": True, "pid": os.getpid(), "url": url, "http": [host, port], **ports}
            print(json.dumps(ready), flush=True)
        listening = ", ".join(f"{name} {host}:{port}" for name, (host, port) in ports.items())
        _logger.info("ready: %s, %s; data in %s", url, listening, self._config.data)
        for warning in self._config.warnings:
            _logger.warning("%s", warning)


async def _end_serving(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Waits for the server's end, for at most HTTP_STOP_S."""
    await asyncio.wait({serving}, timeout=GRACEFUL_S + REQUESTS_S)
    await end_tasks([serving, *server.server_state.tasks], seconds=REQUESTS_S)
    if serving.done() and not serving.cancelled():
        serving.result()  # raises what it failed with


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Any) -> Iterator[None]:
    signals = (signal.SIGTERM, signal.SIGINT)
    if sys.platform == "win32":
        before = {one: signal.signal(one, lambda *_: loop.call_soon_threadsafe(stop)) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
        return
    for one in signals:
        loop.add_signal_handler(one, stop)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def run(config: MonitorConfig, *, ready_json: bool = False) -> None:
    """Runs the monitor; blocks until SIGTERM or SIGINT. Raises StartError, ConfigError or StoreError."""
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for name in ("uvicorn.error", "heartfelt.monitor.http"):
        logging.getLogger(name).addFilter(_RateLimit())

    async def main() -> None:
        await Process(config, ready_json=ready_json).run()

    run_loop(main(), _new_loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
