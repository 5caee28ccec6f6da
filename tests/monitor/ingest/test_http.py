# SPDX-License-Identifier: MIT
"""Beats by HTTP, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import tracemalloc

import pytest

from heartfelt.monitor.model import Limits, State
from tests.monitor.ingest.world import heartbeat, ingest, read_answer, request

BEATS = "/api/v1/beats"


def run(test, **options):
    async def main():
        async with ingest(http=True, **options) as world:
            await test(world)

    asyncio.run(main())


def test_one_heartbeat_and_a_list():
    async def test(world):
        status, headers, body = await world.call(BEATS, heartbeat())
        assert (status, headers["content-type"], body) == (200, "application/json", b'{"taken":1}')
        texts = [heartbeat(instance_id=f"i-{n}") for n in range(450)]
        for _ in range(3):
            _, _, body = await world.call(BEATS, b"[" + b",".join(texts) + b"]")
            assert json.loads(body) == {"taken": 450}
        _, _, body = await world.call(BEATS, gzip.compress(b"[" + texts[0] + b"]"), Content_Encoding="gzip")
        assert json.loads(body) == {"taken": 1}
        assert len(world.registry) == 451
        assert world.find("i-7").state is State.UP and world.find("i-7").via == "http"
        assert world.find("i-7").peer == "127.0.0.1"
        assert world.counters.beats["http"] == 1 + 3 * 450 + 1
        assert world.counters.fast["http"] == 2 * 450 + 1

    run(test)


def test_an_empty_list_is_taken():
    async def test(world):
        assert (await world.call(BEATS, b"[]"))[0] == 200
        assert (await world.call(BEATS, b" [ ] "))[0] == 200

    run(test)


def test_what_of_a_list_was_not_taken_is_told():
    async def test(world):
        body = b"[" + heartbeat() + b',{"service":"s"},3,' + heartbeat(instance_id="i-2") + b"]"
        for _ in range(2):
            status, _, answer = await world.call(BEATS, body)
            told = json.loads(answer)
            assert status == 200 and told["taken"] == 2 and told["refused_total"] == 2
            assert [(one["index"], one["reason"]) for one in told["refused"]] == [(1, "instance_missing"), (2, "field")]
        assert world.refused("http", "instance_missing") == 2

    run(test)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json"),
        (b"nonsense", 400, "json"),
        (b"[1,", 400, "json"),
        (b"[" + heartbeat() + b",]", 400, "json"),
        (b"[" + heartbeat() + b"]]", 400, "json"),
        (b"[" * 3000, 400, "json"),
        (b"[3]", 400, "field"),
        (b'{"service":"s"}', 400, "instance_missing"),
        (b'{"service":"s","instanceId":"' + b"i" * 513 + b'"}', 400, "key_size"),
        (b'{"service":"s","instanceId":"i","x":"' + b"y" * 3000 + b'"}', 413, "meta_size"),
        (b"[" + b",".join([b"{}"] * 101) + b"]", 413, "beats_in_body"),
        (b" " * 5001, 413, "body_size"),
    ],
)
def test_what_cannot_be_taken(body, status, code):
    async def test(world):
        answers = [await world.call(BEATS, body) for _ in range(3)]
        for got, headers, text in answers:
            assert got == status and headers["content-type"] == "application/problem+json"
            problem = json.loads(text)
            assert problem["code"] == code and problem["detail"] and problem["status"] == status
        assert world.refused("http", code) == 3
        assert len(world.registry) == 0

    run(test, limits=Limits(meta_bytes=1000, beats_in_body=100, body_bytes=5000))


def test_nothing_of_a_broken_list_is_taken_though_it_begins_with_what_is_known():
    async def test(world):
        await world.call(BEATS, heartbeat())
        before = world.find("shop-1").beats
        assert (await world.call(BEATS, b"[" + heartbeat() + b",{]"))[0] == 400
        assert world.find("shop-1").beats == before

    run(test)


def test_headers_and_methods():
    async def test(world):
        status, headers, _ = await world.call(BEATS, method="GET")
        assert (status, headers["allow"]) == (405, "POST")
        assert (await world.call(BEATS, b"{}", Content_Encoding="br"))[0] == 415
        assert (await world.call(BEATS, b"no gzip", Content_Encoding="gzip"))[0] == 400
        assert (await world.call(BEATS, gzip.compress(heartbeat())[:-3], Content_Encoding="gzip"))[0] == 400
        bomb = gzip.compress(b" " * 5_000_000)
        assert len(bomb) < 5000
        status, _, body = await world.call(BEATS, bomb, Content_Encoding="gzip")
        assert (status, json.loads(body)["code"]) == (413, "gunzip_limit")

    run(test, limits=Limits(gunzip_bytes=10_000))


def test_one_heartbeat_that_is_too_large_is_not_unpacked_as_a_list_would_be():
    async def test(world):
        for texts in (b'{"service":"s","x":"' + b"y" * 1_000_000, b"x" * 1_000_000, b" {" + b"[" * 1_000_000):
            status, _, body = await world.call(BEATS, gzip.compress(texts), Content_Encoding="gzip")
            assert (status, json.loads(body)["code"]) == (413, "gunzip_limit"), texts[:10]
            assert "66560" in json.loads(body)["detail"]
        padded = b"[" + heartbeat() + b" " * 1_000_000 + b"]"
        assert (await world.call(BEATS, gzip.compress(padded), Content_Encoding="gzip"))[0] == 200
        status, _, body = await world.call(BEATS, b"{" + b"[" * 500_000)
        assert (status, json.loads(body)["code"]) == (413, "meta_size")

    run(test)


def test_a_body_in_chunks_and_one_that_says_it_is_too_large():
    async def test(world):
        text = heartbeat()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.http_port)
        writer.write(b"POST /api/v1/beats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (text[:10], text[10:]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        writer.write(b"POST /api/v1/beats HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert (await read_answer(reader))[0] == 413
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.http_port)
        writer.write(b"POST /api/v1/beats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        assert (await read_answer(reader))[0] == 413
        writer.close()

    run(test, limits=Limits(body_bytes=10_000))


def test_a_body_that_does_not_come_ends():
    async def test(world):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.http_port)
        writer.write(b"POST /api/v1/beats HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["code"]) == (408, "too_slow")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.http_port)
        writer.write(b"POST /api/v1/beats HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await world.until(lambda: world.http.disconnected == 1 or world.http.answers.get(408) == 2)
        assert not world.http._deadlines._open

    run(test, body_s=0.05)


def test_tokens():
    asked = []

    def auth(token, scope):
        asked.append((token, scope))
        return token == "right"

    async def test(world):
        status, headers, body = await world.call(BEATS, heartbeat())
        assert status == 401 and headers["www-authenticate"].startswith("Basic realm=")
        assert json.loads(body)["code"] == "token_needed"
        assert (await world.call(BEATS, heartbeat(), Authorization="Bearer wrong"))[0] == 401
        assert (await world.call("/ping/a", method="GET", Authorization="Basic right"))[0] == 401
        assert len(world.registry) == 0
        assert (await world.call(BEATS, heartbeat(), Authorization="bearer right"))[0] == 200
        assert [world.refused("http", f"token_{why}") for why in ("needed", "unknown")] == [1, 1]
        assert world.refused("http", "authorization") == 1
        assert asked[0] == (None, "ingest") and asked[-1] == ("right", "ingest")

    run(test, auth=auth)


def test_a_client_that_beats_too_fast_is_told_to_wait():
    async def test(world):
        body = b"[" + b",".join(heartbeat(instance_id=f"i-{n}") for n in range(100)) + b"]"
        assert (await world.call(BEATS, body))[0] == 200  # a message is taken as a whole, and paid for afterwards
        status, headers, answer = await world.call(BEATS, heartbeat())
        assert status == 429 and 1 <= int(headers["retry-after"]) <= 100
        assert json.loads(answer)["code"] == "rate"
        assert world.refused("http", "rate") == 1
        assert world.intake.stats()["clients_limited"] == 1

    run(test, limits=Limits(beats_of_client_per_s=1))


def test_no_room_for_another_instance_is_no_fault_of_the_beats():
    async def test(world):
        assert (await world.call(BEATS, heartbeat(instance_id="a")))[0] == 200
        status, headers, body = await world.call(BEATS, heartbeat(instance_id="b"))
        assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "60", "instances")
        assert (await world.call(BEATS, heartbeat(instance_id="a")))[0] == 200

    run(test, limits=Limits(instances=1))


def test_memory_stays_flat_whatever_is_refused(caplog):
    caplog.set_level(logging.CRITICAL, "heartfelt.monitor.ingest")  # pytest keeps all lines, one a second of each kind

    async def test(world):
        def bodies(k):
            for n in range(k * 300, k * 300 + 300):
                yield b'{"service":"s-%d"}' % n
                yield heartbeat(instance_id=f"i-{n}")
                yield b"[%d," % n

        async def hammer(k):
            await world.talk([request(BEATS, body) for body in bodies(k)])

        await hammer(0)
        tracemalloc.start()
        try:
            await hammer(1)
            before = tracemalloc.get_traced_memory()[0]
            for k in range(2, 5):
                await hammer(k)
            assert tracemalloc.get_traced_memory()[0] - before < 100_000
        finally:
            tracemalloc.stop()
        assert len(world.registry) == 1
        assert world.refused("http", "instances") == 5 * 300 - 1
        assert world.intake.log.left_out > 4000

    run(test, limits=Limits(instances=1))
