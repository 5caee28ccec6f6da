# SPDX-License-Identifier: MIT
"""The ingest behind the lane, and behind the general server alone, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import uvicorn

from heartfelt.monitor.ingest.http import OK, TAKEN_ONE, HttpIngest
from heartfelt.monitor.model import Limits
from heartfelt.monitor.problems import as_asgi
from heartfelt.monitor.web.http1 import RequestGuard, protocol_class
from heartfelt.monitor.web.http1.lane import Lane
from heartfelt.monitor.web.shield import Shield
from tests.monitor.ingest.world import LONG_S, World
from tests.monitor.web.http1.wire import split_answers

HOST = b"Host: localhost\r\n"


class LaneWorld:
    def __init__(self, *, with_lane, auth, limits, limit, sock=None, tokens=None, **seconds):
        self.world = World(limits or Limits(), auth)
        if tokens is not None:
            self.world.intake.tokens = tokens
        self.ingest = HttpIngest(self.world.intake)
        self.guard = RequestGuard(**({"request_timeout_s": 60.0, "header_bytes": 16 << 10} | seconds))
        self.shield = Shield((), knows=tokens.knows) if tokens is not None else Shield(())
        self.sock = sock or socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        settings = uvicorn.Config(
            self.app, interface="asgi3", http=protocol_class(self.guard), ws="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, proxy_headers=False,
            limit_concurrency=limit, timeout_graceful_shutdown=5,
        )  # fmt: skip
        settings.load()
        self.uvicorn = uvicorn.Server(settings)
        self.state = self.uvicorn.server_state
        self.lane = None
        if with_lane:
            self.lane = Lane(
                self.sock, config=settings, state=self.state, guard=self.guard, ingest=self.ingest,
                refusal=self.shield.refusal, plain=(OK, TAKEN_ONE), most_body=self.world.intake.limits.body_bytes,
            )  # fmt: skip

    async def app(self, scope, receive, send):
        problem = self.shield.refusal(scope)
        if problem is None and self.ingest.serves(scope["path"]):
            await self.ingest(scope, receive, send)
            return
        answer = [
            {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"7")]},
            {"type": "http.response.body", "body": b"general"},
        ]
        for message in answer if problem is None else as_asgi(problem):
            await send(message)

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return reader, writer

    async def talk(self, *pieces, then_eof=False):
        """Everything that is answered until the server closes the connection."""
        reader, writer = await self.connect()
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if then_eof:
                writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), LONG_S)
        finally:
            writer.close()

    async def answers(self, *pieces, **options):
        return split_answers(await self.talk(*pieces, **options))


async def closed(writer):
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(*, with_lane=True, auth=None, limits=None, limit=None, **seconds):
    world = LaneWorld(with_lane=with_lane, auth=auth, limits=limits, limit=limit, **seconds)
    task = asyncio.create_task(world.uvicorn.serve(sockets=[] if with_lane else [world.sock]))
    await world.world.until(lambda: world.uvicorn.started)
    if with_lane:
        world.lane.start()
    try:
        yield world
    finally:
        if with_lane:
            world.lane.stop()
        world.uvicorn.should_exit = True
        await task
        world.guard.close()
        world.sock.close()
        world.world.registry.close()


def ping(path=b"/ping/a", *lines, close=False, method=b"GET", body=b""):
    more = b"".join(line + b"\r\n" for line in lines)
    more += b"Connection: close\r\n" * close + b"Content-Length: %d\r\n" % len(body) * bool(body)
    return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, path, HOST, more, body)


def beat(body, *lines, close=False):
    return ping(b"/api/v1/beats", *lines, close=close, method=b"POST", body=body)
