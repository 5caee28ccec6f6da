# SPDX-License-Identifier: MIT
"""Two and three channels in one loop: what they send arrives once, in order, and nothing waits without a bound."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest

from heartfelt.monitor.cluster.channel import FIGURES, ChannelError, ChannelTiming, Input
from heartfelt.monitor.cluster.channel.frames import NOTICE, UNKNOWN, frame, pack_inputs
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from tests.monitor.cluster.channels import LONG_S, QUICK, A, B, C, Raw, channels, connect, until


def text(data):
    return Input("json", data, "http", "10.0.0.1", monotonic_ms())


class Query(msgspec.Struct):
    limit: int
    service: str = ""


# -- beats, inputs, notices


def test_beats_and_inputs_arrive_in_order(run):
    async def main():
        async with channels("a", "b") as (a, b):
            expected = []
            for n in range(300):
                if n % 3:
                    a.peers.forward(B, {n: monotonic_ms() - 1000})
                    expected.append(n)
                else:
                    a.peers.forward_input(B, text(b"%d" % n))
                    expected.append(b"%d" % n)
                if n % 50 == 0:
                    assert await a.peers.drain(LONG_S)
            assert await a.peers.drain(LONG_S)
            assert [what for _, what, _ in b.heard.order] == expected
            assert all(monotonic_ms() - heard_ms >= 999 for _, _, heard_ms in b.heard.beats)
            assert b.heard.inputs[0][0] == A
            assert b.heard.inputs[0][1][:4] == ("json", b"0", "http", "10.0.0.1")
            assert a.stats()["waiting_beats"] == a.stats()["waiting_input_bytes"] == 0

    run(main())


def test_a_hundred_thousand_beats(run):
    async def main():
        async with channels("a", "b") as (a, b):
            now_ms = monotonic_ms()
            for id in range(100_000):
                assert not a.peers.forward(B, {id: now_ms})
            assert await a.peers.drain(LONG_S)
            assert sorted(id for _, id, _ in b.heard.beats) == list(range(100_000))
            assert all(heard_ms <= monotonic_ms() for _, _, heard_ms in b.heard.beats)
            assert b.counts["beats_received"] == 100_000

    run(main())


def test_three_channels_each_talk_to_each(run):
    async def main():
        async with channels("a", "b", "c") as all_:
            for one in all_:
                for other in all_:
                    if one is not other:
                        one.peers.forward(other.own, {1: monotonic_ms()})
                        assert one.peers.notify(other.own, "moved", [1, 2])
                        assert await one.peers.ask(other.own, "echo", "hi", seconds=LONG_S) == [one.own, "hi"]
            for one in all_:
                assert await one.peers.drain(LONG_S)
            for one in all_:
                others = sorted(other.own for other in all_ if other is not one)
                assert sorted(peer for peer, _, _ in one.heard.beats) == others
                assert sorted(one.heard.notices) == [(peer, [1, 2]) for peer in others]

    run(main())


def test_what_cannot_be_sent_is_counted_and_told(run):
    async def main():
        async with channels("a") as (a,):
            assert a.peers.forward(B, {1: 0}) == [1]
            assert not a.peers.forward_input(B, text(b"x"))
            assert not a.peers.notify(B, "moved")
            with pytest.raises(ChannelError, match="it is not known") as caught:
                await a.peers.ask(B, "echo", seconds=1)
            assert caught.value.reason == "disconnected"
            for name in ("beats_refused", "inputs_refused", "notices_dropped", "unanswered_disconnected"):
                assert a.counts[name] == 1

    run(main())


def test_what_a_monitor_that_is_gone_did_not_take_comes_back(run):
    async def main():
        async with channels("a") as (a,):
            back = []
            a.peers.on_undelivered = lambda peer, left: back.append((peer, left))
            a.peers.set_peers({A: "127.0.0.1:1", B: "127.0.0.1:1"})
            a.peers.forward(B, {1: 77})
            a.peers.forward_input(B, text(b"x"))
            await until(lambda: a.counts["connect_failures"] > 1)
            (state,) = a.peers.states()
            assert not state.connected and state.error and state.waiting_beats == 1
            unheard_s = a.peers.unheard_s(B)
            await until(lambda: a.peers.unheard_s(B) > unheard_s > 0)
            a.peers.set_peers({})
            ((peer, left),) = back
            assert peer == B and left.beats == {1: 77} and [one.data for one in left.inputs] == [b"x"]
            assert a.counts["beats_undelivered"] == a.counts["inputs_undelivered"] == 1

    run(main())


def test_a_handler_that_fails_is_logged_and_the_connection_goes_on(run, caplog):
    async def main():
        async with channels("a", "b") as (a, b):
            b.on_beats(lambda peer, batch: 1 / 0)
            a.peers.forward(B, {1: 0})
            assert await a.peers.drain(LONG_S)
            assert b.counts["handler_errors"] == 1
            assert "ZeroDivisionError" in caplog.text
            assert await a.peers.ask(B, "echo", 1, seconds=LONG_S)
            assert a.counts["dialed"] == 1

    run(main())


# -- connections that end


def test_a_cut_connection_loses_nothing_and_repeats_nothing(run):
    async def main():
        async with channels("a", "b") as (a, b):
            for n in range(400):
                a.peers.forward_input(B, text(b"%d" % n))
                if n % 7 == 0:
                    a.peers._send_batches()
                if n % 40 == 0:
                    for channel in (a, b):  # the one that connected, or the one that listens
                        if (n // 40) % 2 == (channel is a) and channel._listener.known:
                            next(iter(channel._listener.known.values())).transport.abort()
                    if a.peers._peers[B].wire is not None:
                        a.peers._peers[B].wire.transport.abort()
                if n % 11 == 0:
                    await asyncio.sleep(0)
            assert await a.peers.drain(LONG_S)
            assert [one.data for _, one in b.heard.inputs] == [b"%d" % n for n in range(400)]
            assert a.counts["connected"] > 1

    run(main())


def test_a_peer_that_was_away_for_a_while_is_sent_what_comes_then(run):
    async def main():
        async with channels("a", "b") as (a, b):
            for n in range(3):
                a.peers.forward(B, {n: monotonic_ms()})
                assert await a.peers.drain(LONG_S)
                a.peers.set_peers({})
                await until(lambda: not b._listener.known)
                await connect(a, b)
            assert [id for _, id, _ in b.heard.beats] == [0, 1, 2]

    run(main())


def test_another_address_of_a_monitor_is_used(run):
    async def main():
        async with channels("a", "b", connected=False) as (a, b):
            a.peers.set_peers({B: "127.0.0.1:1"})
            a.peers.forward(B, {5: 0})
            await until(lambda: a.counts["connect_failures"])
            a.peers.set_peers({B: f"localhost:{b.port}"})
            assert await a.peers.drain(LONG_S)
            assert a.peers.is_connected(B) and not a.peers.is_connected(C)
            assert [id for _, id, _ in b.heard.beats] == [5]

    run(main())


@pytest.mark.parametrize(
    "address", ["", "nohost", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", "no-such-host.invalid:1"]
)
def test_an_address_that_is_none_is_said(run, address):
    async def main():
        async with channels("a") as (a,):
            a.peers.set_peers({B: address})
            await until(lambda: a.counts["connect_failures"])
            (state,) = a.peers.states()
            await until(lambda: a.peers.states()[0].error != "not connected yet")
            assert not state.connected

    run(main())


def test_another_secret_is_refused_and_a_new_one_is_used(run, caplog):
    async def main():
        async with channels("a", "b", connected=False) as (a, b):
            b.set_secret(b"another one, another one")
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: "secret" in a.peers.states()[0].error)
            assert b.counts["refused_secret"] >= 1
            a.set_secret(b"another one, another one")
            await until(lambda: a.peers.is_connected(B))
            assert "does not know the fleet's secret" in caplog.text

    run(main())


def test_another_version_is_refused_with_the_reason_on_both_sides(run, caplog, monkeypatch):
    async def main():
        from heartfelt.monitor.cluster.channel import handshake

        async with channels("a", "b", connected=False) as (a, b):
            monkeypatch.setattr(handshake.DialerHandshake, "first", lambda self: _hello(self, handshake))
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: "version 2" in a.peers.states()[0].error)
            assert b.counts["refused_version"] >= 1
            assert "the other one version 2" in caplog.text

    def _hello(dialing, handshake):
        dialing._hello.version = 2
        return frame(handshake.HELLO, body=msgspec.msgpack.encode(dialing._hello))

    run(main())


def test_a_connection_over_which_nothing_comes_is_ended(run):
    """Half-open: the other side neither answers nor closes."""

    async def main():
        quick = ChannelTiming(ping_s=0.02, silent_s=0.3, retry_s=0.005, most_retry_s=0.01, batch_s=0.005)
        async with channels("a", "b", timing=quick) as (a, b):
            b._listener._timing = QUICK  # patient
            for wire in b._listener.known.values():
                wire.transport.pause_reading()
            await until(lambda: a.counts["failed_silent"], "a's discovery")
            await until(lambda: a.peers.is_connected(B), "a new connection")
            assert b.counts["accepted"] > 1
            b._listener._timing = quick
            raw = await Raw.open(b.port)
            await raw.greet(C, B)
            await until(lambda: b.counts["failed_silent"], "b's discovery")
            await raw.close()

    run(main())


def test_a_monitor_that_was_stopped_itself_does_not_drop_the_others(run):
    """Its own timers are late, not its peers."""

    async def main():
        quick = ChannelTiming(ping_s=0.05, silent_s=0.2, retry_s=0.005, batch_s=0.005)
        async with channels("a", "b", timing=quick) as (a, b):
            for _ in range(3):
                time.sleep(0.5)
                checked_s = a._due_s
                await until(lambda due_s=checked_s: a._due_s > due_s and b._due_s > due_s)
                assert await a.peers.ask(B, "echo", 1, seconds=LONG_S)
            assert a.counts["dialed"] == b.counts["dialed"] == 1
            assert not a.counts["failed_silent"] and not b.counts["failed_silent"]

    run(main())


def test_kinds_and_notices_of_newer_monitors_are_answered_so(run):
    async def main():
        async with channels("b") as (b,):
            raw = await Raw.open(b.port)
            await raw.greet(A, B)
            raw.send(frame(99, 5, b"new") + frame(NOTICE, 0, msgspec.msgpack.encode(["new", 1])))
            assert await raw.take() == (UNKNOWN, 5, bytes((99,)))
            assert await raw.take() == (UNKNOWN, 0, bytes((NOTICE,)))
            raw.send(frame(UNKNOWN, 1, b"\x01"))
            raw.send(frame(13, 1, msgspec.msgpack.encode(["echo", 20_000, 0, "x", "a new field"])))
            assert await raw.take() == (14, 1, msgspec.msgpack.encode([A, "x"]))
            assert b.counts["unknown"] == 2
            await raw.close()

    run(main())


def test_a_stop_ends_everything_at_once(run):
    async def main():
        async with channels("a", "b") as (a, b):
            tasks = [asyncio.ensure_future(a.peers.ask(B, "never", seconds=LONG_S)) for _ in range(5)]
            await until(lambda: len(b._handlers.serving) == 5)
            await b.stop()
            await b.stop()
            for task in tasks:
                with pytest.raises(ChannelError):
                    await task
            assert not b._handlers.serving

    run(main())


def test_a_handler_that_does_not_end_is_left_and_counted(run, caplog):
    async def main():
        go = asyncio.Event()

        async def stubborn(peer, message):
            while not go.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go.wait()

        timing = ChannelTiming(end_s=0.05, retry_s=0.01)
        async with channels("a", "b", timing=timing) as (a, b):
            b.on("stubborn", stubborn)
            task = asyncio.ensure_future(a.peers.ask(B, "stubborn", seconds=LONG_S))
            await until(lambda: b._handlers.serving)
            began = time.monotonic()
            await b.stop()
            assert time.monotonic() - began < LONG_S
            assert b.counts.pop("left_running") == 1
            go.set()
            await until(lambda: not b._handlers.serving)
            with pytest.raises(ChannelError):
                await task
        assert "is left running" in caplog.text

    run(main())


def test_figures_are_declared(run):
    async def main():
        async with channels("a", "b") as (a, b):
            await a.peers.ask(B, "echo", 1, seconds=LONG_S)
            assert a.stats().keys() | b.stats().keys() <= FIGURES.keys()
            assert {metric.name for metric, _ in a.readings()} >= {"heartfelt_channel_beats"}

    run(main())


# -- beats whose order or number cannot be


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_batch_that_came_before_is_left_out_and_one_that_is_missing_ends_the_connection(run, number):
    async def main():
        async with channels("b") as (b,):
            raw = await Raw.open(b.port)
            await raw.greet(A, B)
            raw.send(pack_inputs(1, 5, [text(b"once")]))
            assert await raw.take() == (11, 1, b"")
            raw.send(pack_inputs(number, 5, [text(b"again")]))
            found = await raw.take()
            if number < 2:
                assert found == (11, 1, b""), "it was handled before"
            else:
                assert found is None
                assert b.counts["failed_malformed"] == 1
            assert [one.data for _, one in b.heard.inputs] == [b"once"]
            await raw.close()

    run(main())


def test_a_new_connection_of_a_monitor_ends_its_former_one(run):
    async def main():
        async with channels("b") as (b,):
            first, second = await Raw.open(b.port), await Raw.open(b.port)
            await first.greet(A, B)
            await second.greet(A, B)
            assert await first.take() is None
            assert b.counts["replaced"] == 1 and len(b._listener.known) == 1
            second.send(frame(13, 1, msgspec.msgpack.encode(["echo", 20_000, 0, 1])))
            assert (await second.take())[0] == 14
            await first.close()
            await second.close()

    run(main())
