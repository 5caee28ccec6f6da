# SPDX-License-Identifier: MIT
"""Datagrams, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import gzip
import tracemalloc

import pytest

from heartfelt.monitor.model import Limits, State
from heartfelt.wire import pack
from tests.monitor.ingest.world import heartbeat, ingest


def run(test, **options):
    async def main():
        async with ingest(**options) as world:
            await test(world)

    asyncio.run(main())


def test_plain_keys_json_and_gzip():
    async def test(world):
        for _ in range(12):
            world.send(b"a/1", b"b\r\n\n  c/2/3 \nd", heartbeat(), pack(heartbeat(instance_id="packed")))
        await world.until(lambda: world.counters.beats["udp"] == 12 * 6)
        found = {(one.service, one.instance_id): one for one in world.registry.instances()}
        assert set(found) == {
            ("a", "a/1"), ("b", "b"), ("c/2", "c/2/3"), ("d", "d"), ("shop", "shop-1"), ("shop", "packed"),
        }  # fmt: skip
        assert {one.beats for one in found.values()} == {12}
        assert {one.via for one in found.values()} == {"udp"}
        assert world.counters.fast["udp"] >= 12 * 6 - 6 * 2
        assert world.registry.beats == 12 * 6
        assert world.counters.refused == {}

    run(test)


def test_a_goodbye():
    async def test(world):
        world.send(heartbeat(), heartbeat(goodbye=True))
        await world.until(lambda: world.counters.goodbyes["udp"] == 1)
        assert world.find("shop-1").state is State.LEFT

    run(test)


def test_tokens():
    async def test(world):
        world.send(b"a", b"Bearer wrong\na", b"Bearer right\nb\nc", b"Bearer right\n" + heartbeat(), b"Bearer right")
        await world.until(lambda: world.counters.beats["udp"] == 3 and sum(world.counters.refused.values()) == 3)
        assert [world.refused("udp", f"token_{why}") for why in ("needed", "unknown")] == [1, 1]
        assert world.refused("udp", "format") == 1
        assert {one.instance_id for one in world.registry.instances()} == {"b", "c", "shop-1"}

    run(test, auth=lambda token, scope: token == "right" and scope == "ingest")


BAD = {
    "format": [b"[" + heartbeat() + b"]", b" ", b"\n\n", b""],
    "json": [b"{", b"{nonsense", pack(b"nonsense")],
    "field": [b'{"service":3}', pack(b"[]")],
    "gzip": [b"\x1f\x8b", pack(heartbeat())[:-2], b"\x1f"],
    "gunzip_limit": [gzip.compress(b" " * 5_000_000)],
    "key": [b"\xff\xfe", b"a\x00b", "a\u202eb".encode()],
    "key_size": [b"k" * 600, b"k" * 60_000],
    "meta_size": [heartbeat(x="y" * 5_000)],
    "instance_missing": [b'{"service":"s"}'],
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_read_is_counted(reason):
    async def test(world):
        world.send(*BAD[reason])
        await world.until(lambda: sum(world.counters.refused.values()) == len(BAD[reason]))
        assert world.refused("udp", reason) == len(BAD[reason])
        assert len(world.registry) == 0
        world.send(b"alive")
        await world.until(lambda: len(world.registry) == 1)

    run(test, limits=Limits(meta_bytes=2000))


def test_one_bad_key_does_not_take_the_others_along():
    async def test(world):
        world.send(b"a\n\xff\nb")
        await world.until(lambda: world.counters.beats["udp"] == 2)
        assert world.refused("udp", "key") == 1

    run(test)


def test_many_keys_in_many_datagrams_are_taken_in_turns():
    async def test(world):
        data = b"\n".join(b"k%d" % n for n in range(5000))
        for n in range(4):
            world.send(data, data)
            await world.until(lambda n=n: world.counters.beats["udp"] == 10_000 * (n + 1))
        assert world.find("k4999", "k4999").beats == 8
        assert world.udp.stats()["waiting"] == 0

    run(test)


def test_what_comes_too_fast_is_dropped_and_counted():
    async def test(world):
        for _ in range(50):
            world.send(*[b"a\nb"] * 20)
            await asyncio.sleep(0)
        await world.until(lambda: world.udp.stats()["datagrams"] == 1000 and not world.udp.stats()["waiting"])
        dropped = world.refused("udp", "rate")
        assert dropped > 100
        assert world.counters.beats["udp"] == 2 * (1000 - dropped)

    run(test, limits=Limits(beats_of_client_per_s=100))


def test_what_the_kernel_drops_is_told():
    async def test(world):
        if world.udp.stats()["kernel_drops"] < 0:
            pytest.skip("this system does not tell")
        full = b"k" * 60_000
        for _ in range(5000):  # without a turn of the loop: nobody reads meanwhile
            world.send(full)
            if world.udp.stats()["kernel_drops"]:
                break
        assert world.udp.stats()["kernel_drops"] > 0

    run(test)


def test_memory_stays_flat_whatever_comes():
    async def test(world):
        bad = [data for several in BAD.values() for data in several]

        async def hammer(times):
            before = sum(world.counters.refused.values())
            for n in range(times):
                world.send(*bad)
                await world.until(lambda n=n: sum(world.counters.refused.values()) == before + len(bad) * (n + 1))
            gc.collect()

        await hammer(10)
        tracemalloc.start()
        try:
            await hammer(3)
            before = tracemalloc.get_traced_memory()[0]
            await hammer(100)
            # A buffer may be larger by chance; a few hundred bytes lost a message would be more.
            assert tracemalloc.get_traced_memory()[0] - before < 400_000
        finally:
            tracemalloc.stop()

    run(test, limits=Limits(meta_bytes=2000))


def test_stop_takes_what_was_received():
    async def test(world):
        world.send(b"a")
        await world.until(lambda: len(world.registry) == 1)
        await world.udp.stop()
        await world.udp.stop()

    run(test)
