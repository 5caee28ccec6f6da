# SPDX-License-Identifier: MIT
"""Sermant's port, over real sockets: what agents send, and what nobody should."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import random
import resource
import socket
import tracemalloc

import pytest

from heartfelt.monitor.model import Limits, State
from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import EVENT, HEARTBEAT, TRACING
from tests.monitor.ingest.world import LONG_S, heartbeat, ingest
from tests.sermant_frames import recorded

VECTOR = recorded("heartbeat_jdk17")


def run(test, **options):
    async def main():
        async with ingest(**options) as world:
            await test(world)

    asyncio.run(main())


def frame(*texts, kind=HEARTBEAT, **more):
    return encode_frame([(kind, pack(text)) for text in texts], **more)


def events(instance_id, name="SERMANT_START"):
    event = {
        "time": 5,
        "scope": "framework",
        "eventLevel": "NORMAL",
        "eventType": "OPERATION",
        "eventInfo": {"name": name},
    }
    return json.dumps({"metaHash": instance_id, "events": [event]}).encode()


async def is_closed(reader):
    """Waits until the server has closed; it never writes."""
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), LONG_S) == b""


def test_a_java_agent_byte_by_byte_and_in_one_piece():
    async def test(world):
        _, writer = await world.connect()
        for at in range(len(VECTOR)):
            writer.write(VECTOR[at : at + 1])
            await writer.drain()
        writer.write(VECTOR * 5)
        await world.until(lambda: world.counters.beats["sermant"] == 6)
        instance = world.find("7814bc2a-2e88-4d94-8096-cbdf3f83b268", "order_service")
        assert instance.beats == 6 and instance.meta["appName"] == "backend-demo"
        writer.close()

    run(test)


def test_several_messages_a_frame_and_a_goodbye():
    async def test(world):
        _, writer = await world.connect()
        parts = [(HEARTBEAT, pack(heartbeat(instance_id=f"i-{n}"))) for n in range(3)]
        parts += [(EVENT, pack(events("i-1"))), (TRACING, pack(b"{}"))]
        writer.write(encode_frame(parts))
        writer.write(encode_frame(goodbye=b'{"service":"shop","instanceId":"i-2"}'))
        await world.until(lambda: world.counters.goodbyes["sermant"])
        assert [world.find(f"i-{n}").state for n in range(3)] == [State.NEW, State.NEW, State.LEFT]
        assert [(event.service, event.instance_id) for event in world.events] == [("shop", "i-1")]
        assert world.sermant.stats()["messages_ignored"] == 1
        writer.close()

    run(test)


def test_events_that_come_before_the_first_beat_wait_for_it():
    async def test(world):
        _, writer = await world.connect()
        writer.write(frame(events("i-1"), kind=EVENT) + frame(events("nobody"), kind=EVENT))
        await world.until(lambda: world.counters.messages["sermant"] == 2)
        assert world.events == []
        writer.write(frame(heartbeat(instance_id="i-1")))
        await world.until(lambda: world.events)
        assert (world.events[0].service, world.events[0].info) == ("shop", {"name": "SERMANT_START"})
        writer.close()
        await world.until(lambda: len(world.events) == 2)
        assert (world.events[1].service, world.events[1].instance_id) == ("", "nobody")

    run(test)


def test_an_event_has_the_address_that_its_instance_has():
    async def test(world):
        _, writer = await world.connect()
        writer.write(
            frame(heartbeat(instance_id="i-1", ip=["10.9.8.7", "10.9.8.8"])) + frame(events("i-1"), kind=EVENT)
        )
        await world.until(lambda: world.events)
        assert world.events[0].ip == "10.9.8.7" == world.find("i-1").ip()
        writer.close()

    run(test)


def test_what_an_agent_sent_before_it_went_is_taken_all():
    async def test(world):
        _, writer = await world.connect()
        writer.write(b"".join(frame(heartbeat(instance_id=f"i-{n}")) for n in range(1000)))
        writer.close()
        await world.until(lambda: world.counters.beats["sermant"] == 1000 and not world.sermant.connections)

    run(test)


BAD = {
    "malformed": b"\x02\x0b\x00",
    "gzip": encode_frame([(0, b"no gzip")]),
    "data_type": encode_frame([(9, pack(b"{}"))]),
    "json": frame(b"nonsense"),
    "field": frame(b"[]"),
    "service_missing": frame(b"{}"),
    "gunzip_limit": encode_frame([(EVENT, gzip.compress(b" " * 10_000_000))]),
    "messages": encode_frame([(0, b"")] * 257),
    "key_size": frame(heartbeat(instance_id="i" * 600)),
    "meta_size": frame(heartbeat(x="y" * 5_000_000)),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_read_is_counted_and_the_connection_goes_on(reason):
    async def test(world):
        _, writer = await world.connect()
        writer.write(BAD[reason] + frame(heartbeat()))
        await world.until(lambda: world.counters.beats["sermant"] == 1)
        assert world.refused("sermant", reason) == 1
        assert len(world.sermant.connections) == 1
        writer.close()

    run(test)


def test_a_frame_above_the_limit_is_skipped_and_the_agent_stays():
    """Sermant's agents send up to 100 messages of any size in a frame."""

    async def test(world):
        _, writer = await world.connect()
        large = encode_frame([(TRACING, pack(random.Random(n).randbytes(50_000))) for n in range(100)])
        assert len(large) > 4 * world.intake.limits.frame_bytes
        for n in range(3):
            writer.write(large + frame(heartbeat(number=n)))
            await writer.drain()
        await world.until(lambda: world.counters.beats["sermant"] == 3)
        stats = world.sermant.stats()
        assert world.refused("sermant", "frame_limit") == 3
        assert 3 * len(large) - 30 < stats["skipped_bytes"] < 3 * len(large)
        assert (stats["connections"], stats["connections_held"], stats["pending_bytes"]) == (1, 0, 0)
        writer.write(large[:-1])
        writer.close()
        await world.until(lambda: world.sermant.stats().get("ended_within_a_frame") == 1)

    run(test)


@pytest.mark.parametrize(("data", "reason"), [(b"\xff" * 6, "length"), (b"\xff\xff\xff\x7f", "frame_limit")])
def test_a_connection_that_lost_its_framing_is_held_and_closed_later(data, reason):
    async def test(world):
        reader, writer = await world.connect()
        writer.write(data + frame(heartbeat()))
        await world.until(lambda: world.refused("sermant", reason) == 1)
        stats = world.sermant.stats()
        assert (stats["connections"], stats["connections_held"], stats["lost_framing"]) == (1, 1, 1)
        await is_closed(reader)
        assert world.counters.beats["sermant"] == 0
        writer.close()

    run(test, quarantine_s=0.05)


def test_at_the_limit_nobody_is_accepted_until_somebody_goes():
    async def test(world):
        writers = []
        for n in range(5):
            _, writer = await world.connect()  # the kernel completes it; nobody accepts those beyond the limit
            writer.write(frame(heartbeat(instance_id=f"i-{n}")))
            writers.append(writer)
        await world.until(lambda: world.counters.beats["sermant"] == 3)
        stats = world.sermant.stats()
        assert (stats["connections"], stats["accepting"], stats["accepted"]) == (3, 0, 3)
        assert stats["times_full"] >= 1
        writers[0].close()
        await world.until(lambda: world.counters.beats["sermant"] == 4)
        assert world.sermant.stats()["connections"] == 3
        writers[1].close()
        await world.until(lambda: world.counters.beats["sermant"] == 5)
        await world.until(lambda: world.sermant.stats()["connections"] == 3)
        for writer in writers:
            writer.close()
        await world.until(lambda: world.sermant.stats()["accepting"] == 1)

    run(test, limits=Limits(connections=3))


def test_out_of_descriptors_nothing_is_accepted_for_a_while():
    async def test(world):
        _, writer = await world.connect()
        await world.until(lambda: world.sermant.connections)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.create_connection(world.sermant.address) as other:  # in the backlog: the loop does not run yet
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
            try:
                world.sermant._accept()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            stats = world.sermant.stats()
            assert (stats["accept_errors"], stats["accepting"], stats["connections"]) == (1, 0, 1)
            other.sendall(frame(heartbeat()))
            await world.until(lambda: world.counters.beats["sermant"] == 1)
        writer.close()

    run(test)


def test_slow_and_half_open_connections_end():
    async def test(world):
        silent, w1 = await world.connect()
        slow, w2 = await world.connect()
        text = frame(heartbeat())

        async def trickle():
            for byte in text[:-1]:
                w2.write(bytes([byte]))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(trickle())
        await is_closed(silent)
        await is_closed(slow)
        task.cancel()
        await world.until(lambda: not world.sermant.connections)
        stats = world.sermant.stats()
        assert stats["idle"] == 2 and stats["ended_within_a_frame"] == 1
        assert stats["pending_bytes"] == 0
        for writer in (w1, w2):
            writer.close()

    run(test, limits=Limits(connection_idle=0.2))


def test_a_client_that_beats_too_fast_is_read_slower_and_never_closed():
    async def test(world):
        _, writer = await world.connect()
        writer.write(frame(heartbeat()) * 300)
        await world.until(lambda: world.sermant.stats().get("rate_pauses", 0) >= 1)
        await world.until(lambda: world.counters.beats["sermant"] == 300)
        assert world.sermant.stats()["connections"] == 1
        assert world.counters.refused == {}
        writer.close()

    run(test, limits=Limits(beats_of_client_per_s=200))


def test_what_is_held_of_frames_that_are_not_whole_is_bounded(monkeypatch):
    from heartfelt.monitor.ingest import connection

    monkeypatch.setattr(connection, "PENDING_BYTES", 100_000)

    async def test(world):
        writers = []
        for _ in range(4):
            _, writer = await world.connect()
            writers.append(writer)
            writer.write(b"\xa0\x8d\x06" + bytes(40_000))
            await writer.drain()
        await world.until(lambda: world.sermant.stats().get("pending_limit", 0) >= 1)
        assert world.sermant.pending_bytes <= 100_000
        for writer in writers:
            writer.close()
        await world.until(lambda: not world.sermant.connections)
        assert world.sermant.pending_bytes == 0

    run(test, quarantine_s=0.1)


def test_a_thousand_agents_come_back_at_once():
    async def test(world):
        async def agent(n):
            _, writer = await world.connect()
            writer.write(frame(heartbeat(instance_id=f"i-{n}")) * 2)
            await writer.drain()
            return writer

        writers = await asyncio.gather(*(agent(n) for n in range(1000)))
        await world.until(lambda: world.counters.beats["sermant"] == 2000)
        assert len(world.registry) == 1000 and world.counters.refused == {}
        assert world.sermant.stats()["connections"] == 1000
        for writer in writers:
            writer.close()
        await world.until(lambda: not world.sermant.connections)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"this system allows {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    try:
        run(test)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_memory_stays_flat_whatever_comes():
    async def test(world):
        _, writer = await world.connect()
        bad = b"".join(BAD[reason] for reason in ("malformed", "gzip", "json", "data_type", "key_size", "gunzip_limit"))

        async def hammer(times):
            before = sum(world.counters.refused.values())
            for _ in range(times):
                writer.write(bad)
                await writer.drain()
            await world.until(lambda: sum(world.counters.refused.values()) == before + 6 * times)

        await hammer(20)
        tracemalloc.start()
        try:
            await hammer(5)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await hammer(100)
            gc.collect()
            # A buffer may be larger by chance; a few hundred bytes lost a message would be more.
            assert tracemalloc.get_traced_memory()[0] - before < 250_000
        finally:
            tracemalloc.stop()
        writer.close()

    run(test)


def test_tls(tmp_path):
    pytest.importorskip("cryptography")
    from tests.certificates import Certificates

    certificates = Certificates(tmp_path)

    async def test(world):
        _, plain = await world.connect()
        plain.write(VECTOR * 20)
        await world.until(lambda: world.refused("sermant", "handshake") == 1)
        _, writer = await world.connect(ssl=certificates.client_context(), server_hostname="localhost")
        writer.write(VECTOR)
        await world.until(lambda: world.counters.beats["sermant"] == 1)
        assert world.sermant.stats()["connections"] == 1
        plain.close()
        writer.close()

    run(test, tls=certificates.server_context())


def test_stop_closes_what_is_open_and_may_be_called_twice():
    async def test(world):
        reader, writer = await world.connect()
        await world.until(lambda: world.sermant.connections)
        address = world.sermant.address
        await world.sermant.stop()
        await world.sermant.stop()
        await is_closed(reader)
        with pytest.raises(OSError):
            await asyncio.open_connection(*address)
        writer.close()

    run(test)
