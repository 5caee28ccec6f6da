# SPDX-License-Identifier: MIT
"""Bounds of the channel that docs/bounds.md names, and no other test reaches."""

from __future__ import annotations

import asyncio
import errno

import msgspec
import pytest

from heartfelt.monitor.cluster.channel import ChannelError, asking, incoming, listener, peers
from heartfelt.monitor.cluster.channel.frames import BEATS, frame, pack_beats
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from tests.monitor.cluster.channels import LONG_S, A, B, C, Raw, channels, connect, until


def test_so_many_peers(run, monkeypatch):
    async def main():
        monkeypatch.setattr(peers, "MOST_PEERS", 1)
        async with channels("a", "b", connected=False) as (a, b):
            a.peers.set_peers({B: f"127.0.0.1:{b.port}", C: "127.0.0.1:1"})
            await until(lambda: a.peers.connected == [B])
            assert C not in a.peers and a.counts["peers_refused"] == 1
            a.peers.set_peers({A: "127.0.0.1:1", C: "127.0.0.1:1"})
            assert C in a.peers and B not in a.peers

    run(main())


def test_so_many_monitors_are_connected(run, monkeypatch):
    async def main():
        monkeypatch.setattr(listener, "MOST_KNOWN", 1)
        async with channels("b") as (b,):
            first, second = await Raw.open(b.port), await Raw.open(b.port)
            await first.greet(A, B)
            await second.greet(C, B)
            assert await first.take() is None
            assert list(b._listener.known) == [C]
            await first.close()
            await second.close()

    run(main())


def test_so_many_requests_are_under_way(run, monkeypatch):
    async def main():
        monkeypatch.setattr(asking, "MOST_ASKED", 2)
        async with channels("a", "b") as (a, b):
            tasks = [asyncio.ensure_future(a.peers.ask(B, "never", seconds=LONG_S)) for _ in range(2)]
            await until(lambda: len(b._handlers.serving) == 2)
            with pytest.raises(ChannelError) as caught:
                await a.peers.ask(B, "echo", seconds=LONG_S)
            assert caught.value.reason == "full"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert await a.peers.ask(B, "echo", 1, seconds=LONG_S)

    run(main())


def test_so_many_monitors_are_remembered(monkeypatch):
    monkeypatch.setattr(incoming, "MOST_REMEMBERED", 2)
    handled = incoming.Handled()
    for number, peer in enumerate((A, B, A, C), 1):
        handled.set(peer, number)
    assert [handled.last(peer) for peer in (A, B, C)] == [3, 0, 4]


def test_a_lack_of_descriptors_is_waited_for(run, monkeypatch):
    class Full:
        def __init__(self, real):
            self.real, self.fileno = real, real.fileno

        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

    async def main():
        monkeypatch.setattr(listener, "RETRY_S", 0.02)
        async with channels("a", "b", connected=False) as (a, b):
            port, real = b.port, b._listener._listening
            b._listener._listening = Full(real)
            a.peers.set_peers({B: f"127.0.0.1:{port}"})
            await until(lambda: b.counts["accept_errors"] >= 2, "attempts")
            b._listener._listening = real
            await until(lambda: a.peers.is_connected(B))

    run(main())


def test_other_callbacks_have_their_turn_between_many_beats(run, monkeypatch):
    async def main():
        monkeypatch.setattr(incoming, "BEATS_A_TURN", 100)
        async with channels("a", "b") as (a, b):
            turns, turn = [], 0

            def count():
                nonlocal turn
                turn += 1
                if len(turns) < 40:
                    asyncio.get_running_loop().call_soon(count)

            b.on_beats(lambda peer, batch: turns.append(turn))
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            now_ms = monotonic_ms()
            batches = [pack_beats(n, now_ms, dict.fromkeys(range(60), now_ms)) for n in range(1, 41)]
            request = frame(13, 1, msgspec.msgpack.encode(["echo", 20_000, 0, "last"]))
            count()
            raw.send(b"".join(batches) + request)
            while (await raw.take())[0] != 14:
                pass
            assert len(turns) == 40
            assert max(turns.count(one) for one in turns) <= 2
            assert await a.peers.ask(B, "echo", 1, seconds=LONG_S)
            await raw.close()

    run(main())


def test_a_batch_with_no_beats_is_one(run):
    async def main():
        async with channels("a", "b", connected=False) as (a, b):
            await connect(a, b)
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            raw.send(frame(BEATS, 1, bytes(8)))
            assert (await raw.take())[1] == 1
            assert b.heard.beats == []
            await raw.close()

    run(main())
