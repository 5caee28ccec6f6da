# SPDX-License-Identifier: MIT
"""The lane of the HTTP port: the same answers as the general server's, and connections that become its own."""

from __future__ import annotations

import asyncio
import re
import socket
import sys

import pytest

from heartfelt.monitor.model import Limits
from tests.monitor.ingest.world import heartbeat
from tests.monitor.web.http1.lane_world import HOST, beat, closed, ping, serving
from tests.monitor.web.http1.wire import split_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no lane elsewhere")

KNOWN = heartbeat(at=1_700_000_000_000, number=1)
REQUESTS = [
    ("new key", ping(close=True)),
    ("known key", ping(close=True)),
    ("head", ping(method=b"HEAD", close=True)),
    ("post", ping(method=b"POST", close=True)),
    ("word", ping(b"/ping/a/start", close=True)),
    ("end, with a text", ping(b"/ping/a/fail?duration_ms=20", method=b"POST", body=b"disk full", close=True)),
    ("log", ping(b"/ping/a/log", method=b"POST", body=b"note", close=True)),
    ("query", ping(b"/ping?key=shop%2Fb&every=1m", close=True)),
    ("percent", ping(b"/ping/shop%2Fc", close=True)),
    ("no such word", ping(b"/ping/a/begun", close=True)),
    ("no key", ping(b"/ping/", close=True)),
    ("bad query", ping(b"/ping/a?colour=red", close=True)),
    ("other method", ping(method=b"PUT", close=True)),
    ("new beat", beat(KNOWN, close=True)),
    ("known beat", beat(heartbeat(at=1_700_000_001_000, number=2), close=True)),
    ("beat with spaces", beat(b"  " + heartbeat(at=1_700_000_002_000, number=3) + b"\n", close=True)),
    ("list", beat(b"[" + KNOWN + b"]", close=True)),
    ("list behind spaces", beat(b" \n[" + KNOWN + b"]", close=True)),
    ("no body", beat(b"", close=True)),
    ("no JSON", beat(b"{nonsense", close=True)),
    ("no instance", beat(b'{"service":"s"}', close=True)),
    ("get of beats", ping(b"/api/v1/beats", close=True)),
    ("query of beats", ping(b"/api/v1/beats?x=1", method=b"POST", body=KNOWN, close=True)),
    ("foreign host", ping(close=True).replace(b"localhost", b"evil.example")),
    ("foreign origin", ping(b"/ping/a", b"Origin: http://evil.example", close=True)),
    ("two hosts", ping(b"/ping/a", b"Host: localhost", close=True)),
    ("no host", b"GET /ping/a HTTP/1.1\r\nConnection: close\r\n\r\n"),
    ("old version", b"GET /ping/a HTTP/1.0\r\n" + HOST + b"\r\n"),
    ("chunked", ping(b"/ping/a", b"Transfer-Encoding: chunked", method=b"POST", close=True) + b"1\r\nx\r\n0\r\n\r\n"),
    ("authorization", ping(b"/ping/a", b"Authorization: Bearer x", close=True)),
    ("basic", ping(b"/ping/a", b"Authorization: Basic eDp5", close=True)),
    ("two authorizations", ping(b"/ping/a", b"Authorization: Bearer x", b"Authorization: Bearer x", close=True)),
    ("another path", ping(b"/else", close=True)),
    ("two requests", ping() + ping(close=True)),
    ("a bad one behind", ping() + b"GET /ping/a HTTP/1.1\nHost: localhost\n\n"),
    ("not HTTP", b"\x16\x03\x01\x00\x01"),
]


def run(test, **options):
    async def main():
        async with serving(**options) as world:
            await asyncio.wait_for(test(world), 50)

    asyncio.run(main())


def shown(data):
    return re.sub(rb"\r\ndate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", b"\r\ndate: now", data)


@pytest.mark.parametrize("token", ["none", "good", "bad"])
def test_both_ways_give_the_same_answers_and_counts(token):
    """Byte for byte, but for the time in the date header."""

    def auth(secret, scope):
        return token == "none" or (token == "good" and secret == "x")

    async def collect(with_lane):
        async with serving(with_lane=with_lane, auth=auth) as world:
            found = {name: shown(await world.talk(data)) for name, data in REQUESTS}
            intake = world.ingest.intake
            counts = {name: n for name, n in intake.stats().items() if name != "known_bytes"}
            kept = world.lane.stats() if with_lane else None
            return found, counts | world.ingest.stats(), world.shield.stats(), kept

    *with_lane, kept = asyncio.run(collect(True))
    *without, _ = asyncio.run(collect(False))
    assert with_lane == without
    assert b"x-content-type-options: nosniff" in with_lane[0]["known key"]
    assert kept["accepted"] == len(REQUESTS) and 0 < kept["handed_over"] < kept["requests"]


def test_a_known_ping_and_a_known_beat_renew():
    async def test(world):
        reader, writer = await world.connect()
        for n in range(20):
            writer.write(ping() + beat(heartbeat(at=1_700_000_000_000 + n, number=n)))
            for body in (b"OK", b'{"taken":1}'):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n") and await reader.readexactly(len(body)) == body
        await closed(writer)
        counters = world.world.counters
        assert world.world.find("a", "a").beats == 20 and world.world.find("shop-1").beats == 20
        assert counters.messages == {"ping": 20, "http": 20} and counters.beats == counters.messages
        assert counters.fast["ping"] >= 18 and counters.fast["http"] >= 18
        assert world.lane.stats()["requests"] == 40 and world.lane.stats()["handed_over"] == 0
        assert world.ingest.answers == {200: 40}

    run(test)


def test_pipelined_requests_are_answered_in_order():
    async def test(world):
        data = b"".join(ping(b"/ping/k-%d" % n, method=b"HEAD" if n % 3 == 1 else b"GET") for n in range(60))
        methods = ["HEAD" if n % 3 == 1 else "GET" for n in range(60)] + ["GET"]
        found = split_answers(await world.talk(data + ping(b"/else", close=True)), methods)
        assert [one.status for one in found] == [200] * 60 + [404] and found[-1].body == b"general"
        assert len(world.world.registry) == 60
        assert world.lane.stats()["requests"] == 16 and world.lane.stats()["handed_over"] == 1

    run(test)


@pytest.mark.parametrize("size", [1, 20, 70])
def test_a_request_in_pieces_is_handed_over(size):
    async def test(world):
        reader, writer = await world.connect()
        data = ping() + ping(b"/ping/b", method=b"POST", body=b"text", close=True)
        writer.write(data[:size])
        await world.world.until(lambda: world.lane.stats()["handed_over"] == 1)
        writer.write(data[size:])
        assert [one.status for one in split_answers(await reader.read())] == [200, 200]
        await closed(writer)

    run(test)


def test_a_client_that_closes_its_side_is_answered():
    async def test(world):
        assert [one.status for one in await world.answers(ping(), then_eof=True)] == [200]
        assert await world.talk(then_eof=True) == b""
        await world.world.until(lambda: world.lane.stats()["connections"] == 0)

    run(test)


def test_a_client_that_does_not_read_gets_all_when_it_does():
    async def test(world):
        world.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", world.port))
        n = 0
        while not world.lane.stats()["handed_over"]:
            await loop.sock_sendall(sock, ping())
            n += 1
            await world.world.until(lambda: world.ingest.answers.get(200, 0) == n)  # noqa: B023
            assert n < 100_000
        await loop.sock_sendall(sock, ping(close=True))
        data = b""
        while part := await loop.sock_recv(sock, 1 << 16):
            data += part
        sock.close()
        assert [one.status for one in split_answers(data)] == [200] * (n + 1)

    run(test)


def test_a_fresh_and_an_idle_connection_time_out():
    async def test(world):
        found = await world.answers()
        assert [one.status for one in found] == [408] and "request_timeout" in found[0].body.decode()
        assert world.guard.timeouts == 1
        assert [one.status for one in await world.answers(ping())] == [200]
        assert world.lane.stats()["connections"] == 0

    run(test, request_timeout_s=0.2, keep_alive_s=0.2)


def test_connections_above_the_limit_are_refused():
    async def test(world):
        others = [await world.connect() for _ in range(2)]
        await world.world.until(lambda: world.lane.stats()["connections"] == 2)
        others[0][1].write(b"GET /els")  # handed over: it still counts
        await world.world.until(lambda: world.lane.stats()["handed_over"] == 1)
        found = await world.answers(ping())
        assert [(one.status, one.headers["retry-after"]) for one in found] == [(503, "5")]
        assert [one.status for one in await world.answers(ping(b"/else"))] == [503]
        assert world.guard.over_limit == 2
        for _, writer in others:
            await closed(writer)
        await world.world.until(
            lambda: not world.lane.stats()["connections"] + len(world.uvicorn.server_state.connections)
        )
        assert [one.status for one in await world.answers(ping(close=True))] == [200]

    run(test, limit=2)


def test_silent_connections_above_the_limit_are_closed_at_once():
    """They would take the descriptors of all other parts."""

    async def test(world):
        many = [await world.connect() for _ in range(30)]
        await world.world.until(lambda: world.guard.over_limit == 19)
        assert world.lane.stats()["connections"] == 11  # two above the limit would be answered, with 503
        others = [await asyncio.wait_for(reader.read(), 20) for reader, _ in many[11:]]
        assert others == [b""] * 19
        for _, writer in many:
            await closed(writer)
        await world.world.until(lambda: not world.lane.stats()["connections"])
        assert [one.status for one in await world.answers(ping(close=True))] == [200]

    run(test, limit=9)


def test_a_client_that_is_too_fast_waits():
    async def test(world):
        found = await world.answers(*(ping() for _ in range(8)), ping(close=True))
        assert [one.status for one in found][:3] == [200] * 3 and found[-1].status == 429
        assert found[-1].headers["retry-after"] == "1"
        assert world.ingest.intake.rates.limited == [one.status for one in found].count(429)

    run(test, limits=Limits(beats_of_client_per_s=3))


def test_a_token_that_was_accepted_can_be_revoked():
    valid = {"x"}

    async def test(world):
        async def status():
            return [one.status for one in await world.answers(ping(b"/ping/a", b"Authorization: Bearer x", close=True))]

        assert [await status() for _ in range(3)] == [[200]] * 3
        assert [one.status for one in await world.answers(ping(close=True))] == [401]
        valid.clear()
        world.lane.forget_allowed()
        assert await status() == [401]

    run(test, auth=lambda secret, scope: secret in valid)


def test_a_fault_is_answered_and_does_not_spread(caplog):
    async def test(world):
        await world.talk(ping(close=True))
        reader, writer = await world.connect()
        writer.write(ping())
        await reader.readuntil(b"OK")
        world.world.intake.counters.messages = None
        assert [one.status for one in await world.answers(ping(close=True))] == [500]
        assert [one.status for one in await world.answers(ping(b"/else", close=True))] == [404]
        assert "Exception in the HTTP lane" in caplog.text
        await closed(writer)

    run(test)


def test_a_stop_answers_what_has_arrived_and_closes_idle_connections():
    async def test(world):
        idle, to_idle = await world.connect()
        _, half = half_open = await world.connect()
        half.write(b"GET /ping/a HTTP/1.1\r\n")
        await world.world.until(lambda: world.lane.stats()["handed_over"] == 1)
        late = socket.create_connection(("127.0.0.1", world.port))
        late.sendall(ping())
        world.lane.stop()
        assert (await idle.read()) == b""
        await closed(to_idle)
        assert split_answers(late.makefile("rb").read())[0].status == 200
        late.close()
        half.write(HOST + b"\r\n")  # those handed over go on
        assert b"200 OK" in await half_open[0].readuntil(b"\r\n")
        await closed(half)

    run(test)


def test_paths_below_a_base_path_are_handed_over():
    async def test(world):
        below = b"GET /heartfelt/ping/a HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        assert [one.body for one in await world.answers(ping(), below)] == [b"OK", b"general"]
        stats = world.lane.stats()
        assert (stats["accepted"], stats["handed_over"], stats["requests"]) == (1, 1, 1)

    run(test)
