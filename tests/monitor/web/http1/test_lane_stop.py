# SPDX-License-Identifier: MIT
"""The lane stops while its clients send, as at the top of an hour: what has arrived is answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys

import pytest

from tests.monitor.web.http1.lane_world import closed, ping, serving
from tests.monitor.web.http1.wire import split_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no lane elsewhere")
N = 300


@contextlib.contextmanager
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * N), hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def asked(port, *lines):
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.sendall(ping(b"/ping/a", *lines))
    return sock


def status(sock):
    data = b""
    with sock:
        while part := sock.recv(4096):
            data += part
    return [one.status for one in split_answers(data)]


def test_a_stop_answers_all_that_has_arrived():
    async def main():
        async with serving() as world:
            early = [asked(world.port) for _ in range(N)]
            world.lane.stop()
            assert [status(sock) for sock in early] == [[200]] * N
            assert world.lane.stats()["connections"] == 0

    with descriptors():
        asyncio.run(asyncio.wait_for(main(), 50))


def test_connections_that_are_handed_over_by_a_stop_are_joined():
    async def main():
        async with serving() as world:
            reader, writer = await world.connect()
            writer.write(ping(b"/ping/a", b"X-Own: 1"))
            world.lane.stop()
            await world.lane.joined(20)
            assert len(world.state.connections) == 1
            assert (await reader.readuntil(b"OK")).startswith(b"HTTP/1.1 200")
            await closed(writer)
            await world.lane.joined(20)

    asyncio.run(asyncio.wait_for(main(), 50))


def test_a_process_that_is_told_to_stop_answers_what_has_arrived(tmp_path):
    from tests.monitor.serving import Serving

    server = Serving(data=tmp_path / "data", limits_connections=4 * N)
    server.wait_ready()
    port = server.port
    with descriptors():
        kept = [asked(port) for _ in range(20)]
        for sock in kept:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        os.kill(server.process.pid, signal.SIGSTOP)
        for sock in kept:
            sock.sendall(ping(b"/ping/b"))
        early = kept + [asked(port, *([b"X-Own: 1"] if n % 5 == 0 else [])) for n in range(N)]
        os.kill(server.process.pid, signal.SIGTERM)
        os.kill(server.process.pid, signal.SIGCONT)
        assert [status(sock) for sock in early] == [[200]] * len(early)
    server.wait()
    assert server.process.returncode == 0 and "Traceback" not in server.log
    server.end()
