# SPDX-License-Identifier: MIT
"""Requests between channels: one answer or one in pieces, deadlines, cancellations, problems."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from heartfelt.monitor.cluster.channel import ChannelError, Input
from heartfelt.monitor.cluster.channel.answering import MOST_SERVED
from heartfelt.monitor.cluster.channel.asking import BODY_BYTES, CREDIT_BYTES
from heartfelt.monitor.cluster.channel.frames import frame
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from heartfelt.monitor.problems import Problem
from tests.monitor.cluster.channels import LONG_S, A, B, C, Raw, channels, until


def text(data):
    return Input("json", data, "http", "10.0.0.1", monotonic_ms())


class Query(msgspec.Struct):
    limit: int
    service: str = ""


def test_values_problems_and_errors(run, caplog):
    async def main():
        async with channels("a", "b") as (a, b):

            async def list_(peer, query):
                return {"items": [query.service] * query.limit}

            def refuse(peer, message):
                raise Problem(404, "not_found", "there is no such instance", {"retry-after": "3"}, field="id")

            async def fail(peer, message):
                raise RuntimeError("a secret detail")

            b.on("list", list_, Query)
            b.on("refuse", refuse)
            b.on("fail", fail)
            b.on("odd", lambda peer, message: object())
            b.on("large", lambda peer, message: b"x" * BODY_BYTES)
            ask = a.peers.ask
            answer = await ask(
                B, "list", {"limit": 2, "service": "x", "new": 1}, seconds=LONG_S, kind=dict[str, list[str]]
            )
            assert answer == {"items": ["x", "x"]}
            with pytest.raises(Problem) as caught:
                await ask(B, "refuse", seconds=LONG_S)
            error = caught.value
            assert (error.status, error.code, error.field, error.headers) == (
                404,
                "not_found",
                "id",
                {"retry-after": "3"},
            )
            for name, status, code in (
                ("fail", 500, "internal"), ("odd", 500, "internal"), ("large", 500, "large"), ("none", 501, "unknown"),
            ):  # fmt: skip
                with pytest.raises(Problem) as caught:
                    await ask(B, name, seconds=LONG_S)
                assert (caught.value.status, caught.value.code) == (status, code)
                assert "secret detail" not in str(caught.value)
            assert "a secret detail" in caplog.text
            with pytest.raises(Problem, match="limit") as caught:
                await ask(B, "list", {"limit": "many"}, seconds=LONG_S)
            assert caught.value.status == 400
            for kind, body, reason in ((int, "x", "malformed"), (str, b"x" * (BODY_BYTES + 1), "large")):
                with pytest.raises(ChannelError) as wrong:
                    await ask(B, "echo", body, seconds=LONG_S, kind=kind)
                assert wrong.value.reason == reason
            assert not a.peers._peers[B].wire.asks

    run(main())


def test_many_requests_at_a_time_on_one_connection(run):
    async def main():
        async with channels("a", "b") as (a, b):
            go = asyncio.Event()

            async def wait(peer, n):
                await go.wait()
                return n

            b.on("wait", wait)
            tasks = [asyncio.ensure_future(a.peers.ask(B, "wait", n, seconds=LONG_S)) for n in range(60)]
            await until(lambda: b.counts["served"] == 60)
            assert await a.peers.ask(B, "echo", 1, seconds=LONG_S) == [A, 1], "it waits for none of them"
            more = [asyncio.ensure_future(a.peers.ask(B, "wait", n, seconds=LONG_S)) for n in range(20)]
            await until(lambda: b.counts["problems"] == 16)
            go.set()
            assert await asyncio.gather(*tasks) == list(range(60))
            busy = [one for one in await asyncio.gather(*more, return_exceptions=True) if isinstance(one, Problem)]
            assert {one.code for one in busy} == {"busy"} and len(busy) == 16
            assert a.counts["dialed"] == 1

    run(main())


def test_a_deadline_ends_a_request_on_both_sides(run):
    async def main():
        async with channels("a", "b") as (a, b):
            with pytest.raises(ChannelError) as caught:
                await a.peers.ask(B, "never", seconds=0.02)
            assert caught.value.reason == "deadline"
            await until(lambda: not b._handlers.serving)
            with pytest.raises(ChannelError) as caught:
                async for _ in a.peers.stream(B, "never", seconds=0.02):
                    pass
            assert caught.value.reason == "deadline"
            await until(lambda: not b._handlers.serving)

    run(main())


def test_who_serves_ends_a_request_that_is_too_late_by_itself(run):
    async def main():
        async with channels("b") as (b,):
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            body = msgspec.msgpack.encode(["never", 20, 0, None])
            raw.send(frame(13, 1, body))
            kind, number, body = await raw.take()
            assert (kind, number, msgspec.msgpack.decode(body)["code"]) == (17, 1, "deadline")
            await raw.close()

    run(main())


def test_a_request_that_is_cancelled_ends_on_both_sides(run):
    async def main():
        async with channels("a", "b") as (a, b):
            ended = []

            async def endless(peer, message):
                try:
                    while True:
                        yield b"x" * 1000
                finally:
                    ended.append(True)

            b.on("endless", endless)
            task = asyncio.ensure_future(a.peers.ask(B, "never", seconds=LONG_S))
            await until(lambda: b._handlers.serving)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not b._handlers.serving)
            async with aclosing(a.peers.stream(B, "endless", seconds=LONG_S)) as pieces:
                async for _ in pieces:
                    break
            await until(lambda: not b._handlers.serving)
            assert ended == [True]
            assert a.counts["cancelled"] == 2
            assert not a.peers._peers[B].wire.asks

    run(main())


def test_an_answer_in_pieces(run):
    async def main():
        async with channels("a", "b") as (a, b):

            async def fails(peer, count):
                for n in range(count):
                    yield n
                raise Problem(409, "changed", "the list has changed")

            b.on("fails", fails, int)
            stream = a.peers.stream
            assert [n async for n in stream(B, "numbers", 3000, seconds=LONG_S, kind=int)] == list(range(3000))
            assert [n async for n in stream(B, "numbers", 0, seconds=LONG_S)] == []
            assert [n async for n in stream(B, "echo", 5, seconds=LONG_S)] == [[A, 5]], "a single value is a piece"
            pieces = stream(B, "fails", 5, seconds=LONG_S)
            assert [await pieces.__anext__() for _ in range(5)] == [0, 1, 2, 3, 4]
            with pytest.raises(Problem, match="has changed"):
                await pieces.__anext__()
            with pytest.raises(Problem, match="in pieces"):
                await a.peers.ask(B, "numbers", 9, seconds=LONG_S)
            await until(lambda: not b._handlers.serving)

    run(main())


def test_a_reader_that_pauses_bounds_what_is_sent(run):
    async def main():
        async with channels("a", "b") as (a, b):
            made = 0

            async def endless(peer, message):
                nonlocal made
                while made < 3000:
                    made += 1
                    yield b"x" * 10_000

            b.on("endless", endless)
            async with aclosing(a.peers.stream(B, "endless", seconds=LONG_S)) as pieces:
                await pieces.__anext__()
                most = CREDIT_BYTES // 10_000 + 3
                for _ in range(20):
                    assert await a.peers.ask(B, "echo", 1, seconds=LONG_S), "others are not held up"
                    assert made <= most
                assert sum([1 async for _ in pieces]) == 2999

    run(main())


def test_requests_of_a_connection_that_ends_are_answered_so(run):
    async def main():
        async with channels("a", "b") as (a, b):
            task = asyncio.ensure_future(a.peers.ask(B, "never", seconds=LONG_S))
            await until(lambda: b._handlers.serving)
            a.peers._peers[B].wire.transport.abort()
            with pytest.raises(ChannelError) as caught:
                await task
            assert caught.value.reason == "disconnected"
            await until(lambda: not b._handlers.serving)

    run(main())


def test_the_longest_answer_fits(run):
    async def main():
        async with channels("a", "b") as (a, b):
            b.on("long", lambda peer, message: b"x" * (BODY_BYTES - 10))
            assert len(await a.peers.ask(B, "long", seconds=LONG_S)) == BODY_BYTES - 10

    run(main())


def test_a_connection_that_is_ending_is_none(run):
    async def main():
        async with channels("a", "b") as (a, b):
            wire = a.peers._peers[B].wire
            wire.fail("silent", "for a test")
            assert not a.peers.is_connected(B) and a.peers.connected == []
            assert not a.peers.notify(B, "moved")
            with pytest.raises(ChannelError, match="for a test") as caught:
                await a.peers.ask(B, "echo", seconds=LONG_S)
            assert caught.value.reason == "disconnected"
            assert a.peers.states()[0].connected is False
            await until(lambda: a.peers.is_connected(B))
            assert a.peers.states()[0].minor == 0
            assert b.counts["replaced"] + b.counts["accepted"] >= 2

    run(main())


def test_answers_that_wait_for_room_do_not_go_all_at_once(run):
    async def main():
        async with channels("b") as (b,):
            go = asyncio.Event()

            async def later(peer, message):
                await go.wait()
                return b"x" * 100_000

            b.on("later", later)
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            wire = b._listener.known[C]
            raw.writer.transport.pause_reading()
            for n in range(1, MOST_SERVED + 1):
                raw.send(frame(13, n, msgspec.msgpack.encode(["later", 60_000, 0, None])))
            await until(lambda: len(b._handlers.serving) == MOST_SERVED)
            most, write = 0, wire.transport.write

            def noting(data):
                nonlocal most
                write(data)
                most = max(most, wire.transport.get_write_buffer_size())

            wire.write = noting
            go.set()
            await until(lambda: not wire.room.is_set())
            raw.writer.transport.resume_reading()
            for _ in range(MOST_SERVED):
                assert (await raw.take())[0] == 14
            assert 0 < most < 600_000
            await raw.close()

    run(main())
