# SPDX-License-Identifier: MIT
"""Whoever does not know the secret, or sends nonsense, costs little, is refused, and holds up nobody."""

from __future__ import annotations

import asyncio
import random
import socket

import msgspec
import pytest

from heartfelt.monitor.cluster.channel import Timing
from heartfelt.monitor.cluster.channel.frames import BEATS, INPUTS, REFUSED, REQUEST, frame, pack_beats, pack_inputs
from heartfelt.monitor.cluster.channel.handshake import CHALLENGE, HELLO, Dialing
from heartfelt.monitor.cluster.channel.listener import MOST_STRANGERS
from tests.monitor.cluster.channels import LONG_S, SECRET, A, B, C, Raw, channels, connect, until


def strangers_of(channel):
    return channel._listener.strangers


async def still_works(a, b):
    assert await a.peers.ask(b.own, "echo", 1, seconds=LONG_S) == [a.own, 1]


def test_nonsense_before_the_handshake(run):
    async def main():
        async with channels("a", "b") as (a, b):
            rand = random.Random(16)
            hello = Dialing(SECRET, C, B).first()
            cases = [rand.randbytes(rand.randrange(1, 3000)) for _ in range(60)]
            cases += [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\xff" * 100, bytes(100), frame(HELLO)]
            cases += [frame(HELLO, body=bytes(2000)), hello + b"x", hello + hello, frame(REFUSED), frame(BEATS, 1)]
            for _ in range(60):
                changed = bytearray(hello)
                changed[rand.randrange(4, len(changed))] ^= 1 << rand.randrange(8)
                cases.append(bytes(changed) + frame(HELLO))
            for data in cases:
                raw = await Raw.open(b.port)
                raw.send(data)
                raw.writer.write_eof()
                while (found := await raw.take()) is not None:
                    assert found[0] in (REFUSED, CHALLENGE)
                await raw.close()
            await until(lambda: not strangers_of(b))
            assert len(b._listener.known) == 1
            await still_works(a, b)

    run(main())


def test_a_truncated_handshake(run):
    async def main():
        async with channels("b") as (b,):
            hello = Dialing(SECRET, C, B).first()
            for size in range(len(hello)):
                raw = await Raw.open(b.port)
                raw.send(hello[:size])
                await raw.close()
            await until(lambda: not strangers_of(b) and b.counts["accepted"] == len(hello))

    run(main())


def test_a_replayed_handshake_is_refused(run):
    async def main():
        async with channels("b") as (b,):
            first = await Raw.open(b.port)
            hello, proof = await first.greet(A, B)
            again = await Raw.open(b.port)
            again.send(hello)
            assert (await again.take())[0] == CHALLENGE
            again.send(proof)
            kind, _, body = await again.take()
            assert kind == REFUSED and msgspec.msgpack.decode(body)["code"] == "secret"
            assert await again.take() is None
            assert b.counts["refused_secret"] == 1
            assert list(b._listener.known) == [A]
            first.send(frame(REQUEST, 1, msgspec.msgpack.encode(["echo", 20_000, 0, 1])))
            assert (await first.take())[0] == 14, "the real one is not disturbed"
            await first.close()
            await again.close()

    run(main())


def test_a_handshake_has_a_time_limit(run):
    async def main():
        timing = Timing(handshake_s=0.05, retry_s=0.01)
        async with channels("b", timing=timing) as (b,):
            silent, slow = await Raw.open(b.port), await Raw.open(b.port)
            slow.send(Dialing(SECRET, C, B).first()[:10])
            assert await silent.take() is None
            assert await slow.take() is None
            assert b.counts["refused_time"] == 2
            await silent.close()
            await slow.close()

    run(main())


def test_a_server_that_never_answers_does_not_hold_up_the_one_that_connects(run):
    async def main():
        silent = socket.create_server(("127.0.0.1", 0))  # the system accepts, and nobody answers
        timing = Timing(handshake_s=0.05, retry_s=0.01, most_retry_s=0.02, batch_s=0.005)
        async with channels("a", "b", timing=timing) as (a, b):
            port = silent.getsockname()[1]
            a.peers.set_peers({B: f"127.0.0.1:{b.port}", C: f"127.0.0.1:{port}"})
            await until(lambda: a.counts["connect_failures"] > 2)
            (state,) = [one for one in a.peers.states() if one.id == C]
            assert "too long" in state.error
            await until(lambda: a.peers.is_connected(B))
            await still_works(a, b)
        silent.close()

    run(main())


def test_many_that_say_nothing_do_not_lock_out_a_monitor(run):
    async def main():
        async with channels("a", "b", connected=False) as (a, b):
            many = [await Raw.open(b.port) for _ in range(3 * MOST_STRANGERS)]
            await until(lambda: b.counts["accepted"] == len(many))
            assert strangers_of(b) <= MOST_STRANGERS
            assert b.counts["strangers_evicted"] == 2 * MOST_STRANGERS
            await connect(a, b)
            assert strangers_of(b) <= MOST_STRANGERS
            await still_works(a, b)
            for raw in many:
                await raw.close()

    run(main())


def test_nonsense_of_a_monitor_that_is_known_ends_its_connection_only(run):
    async def main():
        async with channels("a", "b") as (a, b):
            b.on("never_called", lambda peer, message: 1 / 0)
            rand = random.Random(61)
            good = [
                pack_beats(1, 5, dict.fromkeys(range(20), 1)),
                pack_inputs(1, 5, []),
                frame(REQUEST, 1, msgspec.msgpack.encode(["echo", 20_000, 0, [1] * 20])),
            ]
            cases = [
                frame(rand.randrange(6, 25), rand.randrange(3), rand.randbytes(rand.randrange(60))) for _ in range(150)
            ]
            for _ in range(100):
                changed = bytearray(rand.choice(good))
                changed[rand.randrange(len(changed))] ^= 1 << rand.randrange(8)
                cases.append(bytes(changed))
            cases += [frame(INPUTS, 1, bytes(8) + b"\x91" * 5000), frame(BEATS, (1 << 64) - 1, bytes(8))]
            for data in cases:
                raw = await Raw.open(b.port)
                await raw.greet(C, B)
                raw.send(data)
                raw.writer.write_eof()
                while await raw.take() is not None:
                    pass
                await raw.close()
            assert not b.counts["failed_error"], "only what was foreseen"
            await until(lambda: list(b._listener.known) == [A])
            assert not b._handlers.serving
            await still_works(a, b)

    run(main())


def test_nonsense_of_the_one_that_listens(run):
    """A known monitor that answers with nonsense: the connection ends, and is made again."""

    async def main():
        async with channels("a", "b") as (a, b):
            rand = random.Random(7)
            for n in range(40):
                await until(lambda: a.peers.is_connected(B))
                await until(lambda: A in b._listener.known)
                wire, more = b._listener.known[A], a.counts["connected"] + 1
                task = asyncio.ensure_future(a.peers.ask(B, "never", seconds=LONG_S))
                await until(lambda: b._handlers.serving)
                kind = (11, 14, 15, 16, 17)[n % 5]
                wire.write(frame(kind, 1 if kind > 11 else 10**9, b"\xc1" + rand.randbytes(20)) + bytes(4))
                await asyncio.gather(task, return_exceptions=True)
                assert task.exception() is not None
                await until(lambda more=more: a.counts["connected"] >= more)
            assert not a.counts["failed_error"]
            await until(lambda: a.peers.is_connected(B))
            await still_works(a, b)

    run(main())


@pytest.mark.parametrize("what", ["answers", "pieces"])
def test_a_peer_that_never_reads_bounds_what_waits_for_it(run, what):
    async def main():
        timing = Timing(ping_s=0.05, silent_s=0.5, retry_s=0.01)
        async with channels("b", timing=timing) as (b,):
            made = 0

            def answer(peer, message):
                nonlocal made
                made += 1
                return b"x" * 100_000

            async def pieces(peer, message):
                while True:
                    yield answer(peer, message)

            b.on("answers", answer)
            b.on("pieces", pieces)
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            raw.writer.transport.pause_reading()
            wire = b._listener.known[C]
            most = 0
            credit = (1 << 40) if what == "pieces" else 0
            for n in range(1, 20_000):
                if wire.ending:
                    break
                if n < 1000 and raw.writer.transport.get_write_buffer_size() < 1 << 20:
                    raw.send(frame(REQUEST, n, msgspec.msgpack.encode([what, 60_000, credit, None])))
                most = max(most, wire.transport.get_write_buffer_size())
                await asyncio.sleep(0.001)
            assert wire.ending and b.counts["failed_silent"] == 1
            assert most < 1 << 20, "what waits in this process"
            assert made < 400, "what the system has taken, and a little more"
            await until(lambda: not b._handlers.serving)
            raw.writer.transport.abort()

    run(main())
