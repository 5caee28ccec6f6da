# SPDX-License-Identifier: MIT
"""The process of `heartfelt serve`: the monitor with its own HTTP server, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn

from heartfelt.monitor import garbage
from heartfelt.monitor.app import SEND_S, App
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.descriptors import available, raise_limit, shares
from heartfelt.monitor.ingest.http import OK, TAKEN_ONE
from heartfelt.monitor.loop import run_loop
from heartfelt.monitor.loop_errors import LoopErrors
from heartfelt.monitor.monitor import Monitor, StartError, cannot_listen
from heartfelt.monitor.notify import Notifier
from heartfelt.monitor.signals import Signals
from heartfelt.monitor.supervised import Supervised
from heartfelt.monitor.tasks import end_tasks
from heartfelt.monitor.web.http1 import RequestGuard, TlsListener, protocol_class
from heartfelt.monitor.web.http1.lane import BACKLOG, Lane, can_serve

GRACEFUL_S = 5
"""How long requests under way may take to end, once the process was asked to."""
REQUESTS_S = 1.0
"""How long the server may take beyond that, and the requests that it then cancels."""
HTTP_STOP_S = GRACEFUL_S + 2 * REQUESTS_S
"""The most that the HTTP server's end takes."""
CHECK_S = 0.05
"""How often it is looked whether requests are still under way."""
USER_TIMEOUT_MS = 30_000
SWITCH_S = 0.001
"""How long a thread that wants the GIL waits before the one that has it must give it up. SQLite gives it up with each
statement; with Python's 5 ms the store's writer writes a few hundred rows a second while the loop has much to do, and a
kill loses what was answered seconds ago."""
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


class TlsServer(_Server):
    """Accepts by a TlsListener."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext, guard: RequestGuard) -> None:
        super().__init__(config)
        self._tls, self._guard = tls, guard

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        config, state = self.config, self.server_state
        await self.lifespan.startup()
        make = partial(config.http_protocol_class, config, state, self.lifespan.state)  # type: ignore[call-arg]
        self.servers = [
            TlsListener(  # type: ignore[misc]
                sock, self._tls, self._guard, make=make, open_now=lambda: len(state.connections),
                most=config.limit_concurrency,
            )
            for sock in sockets or ()
        ]  # fmt: skip
        self.started = True


def bind(host: str, port: int) -> socket.socket:
    """Reserves the HTTP port; `listen` opens it. Raises StartError."""
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
        sock.bind(address)  # before anything else starts, so that a port in use is found early
    except OSError as error:
        sock.close()
        raise StartError(cannot_listen("http", host, port, error)) from error
    sock.setblocking(False)
    return sock


def listen(sock: socket.socket, config: MonitorConfig) -> None:
    """Opens the HTTP port, which is the last one to open. Raises StartError."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        raise StartError(cannot_listen("http", *config.address("http"), error)) from error


class Process:
    """One run of the monitor. ready_json: print the addresses as one line of JSON when all ports are open. load: reads
    the configuration again, for a reload; None: there is no file to read."""

    def __init__(
        self, config: MonitorConfig, *, ready_json: bool = False, load: Callable[[], MonitorConfig] | None = None
    ) -> None:
        self._config = config
        self._ready_json = ready_json
        self._load = load
        self._notifier = Notifier.from_environ()

    async def run(self) -> None:
        """Runs until a signal arrives, also one that arrives during the start. Raises StartError, ConfigError or
        StoreError if it cannot start."""
        monitor = Monitor(self._config)
        supervised = Supervised(monitor, self._notifier, self._load)
        with Signals(hurry=supervised.hurry, reload=supervised.reload) as signals:
            sock = bind(*self._config.address("http"))
            try:
                if not await supervised.start(signals.stopping):
                    return
                garbage.freeze()
                watched = garbage.Garbage()
                monitor.more_stats["gc"] = watched.stats
                monitor.more_readings.append(watched.readings)
                watched.start()
                try:
                    if not signals.stopping.is_set():
                        listen(sock, self._config)
                        await self._serve(monitor, sock, supervised, signals.stopping)
                finally:
                    watched.stop()
                    await supervised.stop()
            finally:
                sock.close()
                self._notifier.close()

    async def _serve(self, monitor: Monitor, sock: socket.socket, supervised: Supervised, stop: asyncio.Event) -> None:
        config = self._config
        guard = RequestGuard(
            request_timeout_s=config.http_request_timeout,
            header_bytes=config.http_header_bytes,
            keep_alive_s=config.http_keep_alive,
            send_timeout_s=SEND_S,
        )
        monitor.more_stats["requests"] = guard.stats
        monitor.more_readings.append(guard.readings)
        errors = LoopErrors()
        asyncio.get_running_loop().set_exception_handler(errors.handle)
        monitor.more_stats["loop"] = errors.stats
        monitor.more_readings.append(errors.readings)
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
            limit_concurrency=shares(config.limits_connections, available(), tcp=config.tcp_enable).http,
        )
        settings.load()
        tls = monitor.tls.context if monitor.tls is not None and config.http_tls else None
        server = _Server(settings) if tls is None else TlsServer(settings, tls, guard)
        lane = _make_lane(monitor, sock, settings, server, guard) if can_serve() and tls is None else None
        loop = asyncio.get_running_loop()
        serving = loop.create_task(server.serve(sockets=[sock] if lane is None else []))
        stopping = loop.create_task(stop.wait())
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if server.started:
            if lane is not None:
                lane.start()
            self._announce(monitor, sock, tls=tls is not None)
            supervised.ready()
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        supervised.begin_stop(HTTP_STOP_S)
        if lane is not None:
            lane.stop()
            await lane.joined(CHECK_S)
        server.should_exit = True
        await _end_serving(server, serving, supervised.hurrying)
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
        data = self._config.data if monitor.cluster is None else monitor.cluster.address
        _logger.info("ready: %s, %s; data in %s", url, listening, data)
        for warning in self._config.warnings:
            _logger.warning("%s", warning)


def _make_lane(
    monitor: Monitor, sock: socket.socket, settings: uvicorn.Config, server: uvicorn.Server, guard: RequestGuard
) -> Lane:
    """Makes the lane, which accepts connections in place of uvicorn, and serves pings and heartbeats."""
    lane = Lane(
        sock,
        config=settings,
        state=server.server_state,
        guard=guard,
        ingest=monitor.http_ingest,
        refusal=monitor.shield.refusal,
        plain=(OK, TAKEN_ONE),
        most_body=monitor.config.limits.body_bytes,
    )
    monitor.auth.on_revoked.append(lane.forget_allowed)
    monitor.shield.on_change.append(lane.forget_allowed)
    monitor.more_stats["lane"] = lane.stats
    monitor.more_readings.append(lane.readings)
    return lane


async def _end_serving(server: uvicorn.Server, serving: asyncio.Task[None], hurrying: asyncio.Event) -> None:
    """Waits for the server's end, for at most HTTP_STOP_S, or until requests are to be cut off."""
    for one in getattr(server, "servers", ()):  # none, if it could not start
        one.close()
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + GRACEFUL_S + REQUESTS_S
    while not serving.done() and not hurrying.is_set() and loop.time() < ends_s:
        state = server.server_state
        if not state.connections and not state.tasks:
            break  # uvicorn would notice it some tenths of a second later
        await asyncio.wait({serving}, timeout=CHECK_S)
    await end_tasks([serving, *server.server_state.tasks], seconds=REQUESTS_S)
    if serving.done() and not serving.cancelled():
        serving.result()  # raises what it failed with


def run(config: MonitorConfig, *, ready_json: bool = False, load: Callable[[], MonitorConfig] | None = None) -> None:
    """Runs the monitor; blocks until SIGTERM or SIGINT. load: reads the configuration again, at SIGHUP. Raises
    StartError, ConfigError or StoreError."""
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for name in ("uvicorn.error", "heartfelt.monitor.http"):
        logging.getLogger(name).addFilter(_RateLimit())

    sys.setswitchinterval(SWITCH_S)
    there = raise_limit()
    if (warning := shares(config.limits_connections, there, tcp=config.tcp_enable).warning) is not None:
        _logger.warning("%s", warning)

    async def main() -> None:
        await Process(config, ready_json=ready_json, load=load).run()

    run_loop(main(), _new_loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
