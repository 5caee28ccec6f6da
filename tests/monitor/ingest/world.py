# SPDX-License-Identifier: MIT
"""The ingests with a registry of their own, on real sockets: `async with ingest(...) as world`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time

import uvicorn

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import HttpIngest, Intake, SermantServer, UdpServer
from heartfelt.monitor.model import Limits

LONG_S = 40.0


def heartbeat(service="shop", instance_id="shop-1", *, at=1_700_000_000_000, number=1, lag=0, **more):
    """JSON as heartfelt's agent writes it: what changes comes last."""
    head = {"service": service, "instanceId": instance_id, "version": "1.0", **more}
    tail = {"heartbeatTime": at, "lastHeartbeatTime": at - 1000, "lagMs": lag, "beat": number}
    return json.dumps({**head, **tail}, separators=(",", ":")).encode()


class World:
    def __init__(self, limits: Limits, auth=None, **options) -> None:
        self.clock = options.get("clock", "monotonic")
        more = {name: options[name] for name in ("wall_ms",) if name in options}
        self.registry = Registry(options.get("policy"), limits=limits, clock=self.clock, **more)
        self.events = []
        self.changes = []
        self.registry.on_event.append(self.events.append)
        self.registry.on_change.append(self.changes.append)
        self.intake = Intake(self.registry, limits, auth=auth, **more)
        self.counters = self.intake.counters
        self.sermant = SermantServer(
            self.intake, port=0, tls=options.get("tls"), quarantine_s=options.get("quarantine_s", 30.0)
        )
        self.udp = UdpServer(self.intake, port=0)
        self.http = HttpIngest(self.intake, body_s=options.get("body_s", 20.0), store=options.get("store"))

    def find(self, instance_id, service="shop"):
        return self.registry.find(service, instance_id)

    def refused(self, via, reason):
        return self.counters.refused[(via, reason)]

    async def until(self, condition, what="what was waited for"):
        """Polls, with a deadline."""
        end = time.monotonic() + LONG_S
        while not condition():
            assert time.monotonic() < end, f"{what} has not happened; {self.intake.stats()} {self.sermant.stats()}"
            await asyncio.sleep(0.002)

    async def call(self, *args, **options):
        return (await self.talk([request(*args, **options)]))[0]

    async def talk(self, requests):
        """Answers to requests on one connection: (status, headers, body)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        try:
            answers = []
            for text in requests:
                writer.write(text)
                answers.append(await asyncio.wait_for(read_answer(reader, text.startswith(b"HEAD")), LONG_S))
            return answers
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def connect(self, **options):
        return await asyncio.open_connection(*self.sermant.address, **options)

    def send(self, *datagrams):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for datagram in datagrams:
                sock.sendto(datagram, self.udp.address)


@contextlib.asynccontextmanager
async def ingest(limits=None, auth=None, http=False, **options):
    """All ports open; HTTP on uvicorn only if asked for."""
    world = World(limits or Limits(), auth, **options)
    server = task = None
    await world.sermant.start()
    await world.udp.start()
    try:
        if http:
            config = uvicorn.Config(
                world.http,
                port=0,
                log_config=None,  # which would stop the propagation of uvicorn's logger, for all tests of the process
                lifespan="off",
                access_log=False,
                loop="asyncio",
                http="httptools",
            )
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            await world.until(lambda: server.started)
            world.http_port = server.servers[0].sockets[0].getsockname()[1]
        yield world
    finally:
        if server is not None:
            server.should_exit = True
            await task
        await world.sermant.stop()
        await world.udp.stop()
        world.registry.close()


def request(path, body=b"", *, method="POST", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read_answer(reader, is_head=False):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = b"" if is_head else await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body
