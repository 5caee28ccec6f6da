# SPDX-License-Identifier: MIT
"""A server process of benchmarks/ingest.py: `_ingest_server.py noop|http|udp|sermant`.

It prints its port. For each line on its standard input it prints the CPU time that it has used, in ns, and how many
beats it has taken.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import uvicorn
import uvloop

from heartfelt.monitor.fleet.polling import Polling
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import HttpIngest, Intake, SermantServer, UdpServer
from heartfelt.monitor.ingest.http import OK, TAKEN_ONE
from heartfelt.monitor.model import Limits
from heartfelt.monitor.web.http1 import RequestGuard, protocol_class
from heartfelt.monitor.web.http1.lane import Lane, can_serve


async def noop(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"OK"})


async def serve(kind: str) -> None:
    registry = Registry()
    intake = Intake(registry, Limits(beats_of_client_per_s=1 << 40))
    http = None
    if kind in ("noop", "http"):
        ingest = HttpIngest(intake)
        guard = RequestGuard(request_timeout_s=20.0, header_bytes=64 << 10)
        app = noop if kind == "noop" else ingest
        config = uvicorn.Config(
            app, log_level="error", lifespan="off", access_log=False, http=protocol_class(guard), server_header=False
        )
        config.load()
        http = uvicorn.Server(config)
        http.install_signal_handlers = lambda: None
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        with_lane = kind == "http" and can_serve()
        task = asyncio.create_task(http.serve(sockets=[] if with_lane else [sock]))
        while not http.started:
            await asyncio.sleep(0.01)
        if with_lane:
            lane = Lane(
                sock,
                config=config,
                state=http.server_state,
                guard=guard,
                ingest=ingest,
                refusal=lambda scope: None,
                plain=(OK, TAKEN_ONE),
                most_body=intake.limits.body_bytes,
            )
            lane.start()
        port = sock.getsockname()[1]
    else:
        server = UdpServer(intake, port=0) if kind == "udp" else SermantServer(intake, port=0)
        await server.start()
        port = server.address[1]
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def ask() -> None:
        if sys.stdin.readline():
            print(time.process_time_ns(), registry.beats, flush=True)
        else:
            loop.remove_reader(0)
            ended.set_result(None)

    loop.add_reader(0, ask)
    polling = Polling(registry)
    polling.start()
    await ended
    polling.stop()
    if http is not None:
        if with_lane:
            lane.stop()
        http.should_exit = True
        await task
    else:
        await server.stop()
    registry.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
