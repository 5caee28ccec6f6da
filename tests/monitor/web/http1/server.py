# SPDX-License-Identifier: MIT
"""The monitor's HTTP protocol under uvicorn with an application of a test's own, on a thread of its process."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from heartfelt.monitor.server import TlsServer
from heartfelt.monitor.web.http1 import RequestGuard, protocol_class
from tests.monitor.serving import PATIENCE_S, until


class Server:
    """uvicorn with our protocol, on a thread of its own."""

    def __init__(self, app, *, limit=None, tls=None, **limits):
        self.guard = RequestGuard(**({"request_timeout_s": 60.0, "header_bytes": 16 << 10} | limits))
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.host, self.port = self.sock.getsockname()
        settings = uvicorn.Config(
            app, http=protocol_class(self.guard), ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, limit_concurrency=limit, timeout_graceful_shutdown=PATIENCE_S,
        )  # fmt: skip
        self.sock.listen()
        self.sock.setblocking(False)
        self.uvicorn = uvicorn.Server(settings) if tls is None else TlsServer(settings, tls, self.guard)
        self.state = self.uvicorn.server_state
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: self.uvicorn.started, "the server")

    def _run(self):
        try:
            import uvloop
        except ImportError:
            run = asyncio.run
        else:
            run = uvloop.run

        async def main():
            self.loop = asyncio.get_running_loop()
            await self.uvicorn.serve(sockets=[self.sock])
            self.guard.close()

        run(main())

    def call(self, function, *arguments):
        self.loop.call_soon_threadsafe(function, *arguments)

    def begin_stop(self):
        self.uvicorn.should_exit = True

    def stop(self):
        self.begin_stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def answer(body=b"done", status=200, headers=(), length=True):
    lines = list(headers) + ([(b"content-length", b"%d" % len(body))] if length else [])
    return [
        {"type": "http.response.start", "status": status, "headers": lines},
        {"type": "http.response.body", "body": body},
    ]


def app_of(messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


async def body_of(receive):
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def echo(scope, receive, send):
    for message in answer(await body_of(receive) or b""):
        await send(message)
