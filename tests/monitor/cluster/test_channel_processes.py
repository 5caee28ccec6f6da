# SPDX-License-Identifier: MIT
"""Channels in processes of their own: killed, and stopped by SIGSTOP for longer than silence is borne."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heartfelt.monitor.cluster.channel import ChannelError, ChannelTiming, Input
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from tests.monitor.cluster.channels import LONG_S, B, C, channels, monitor_id, until

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="has no SIGSTOP")
ROOT = Path(__file__).parents[3]
SILENT = ChannelTiming(batch_s=0.005, ping_s=0.05, silent_s=0.4, retry_s=0.01, most_retry_s=0.05, handshake_s=0.3)


class Process:
    """A channel in a process of its own; see channels.serve."""

    def __init__(self, letter, *options):
        self.id = monitor_id(letter)
        command = [sys.executable, "-m", "tests.monitor.cluster.channels", letter, *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"

    def heard(self, peers=None):
        """(beats, ids, inputs, connected) so far."""
        self.process.stdin.write((json.dumps(peers) if peers else "") + "\n")
        self.process.stdin.flush()
        return tuple(json.loads(self.process.stdout.readline()))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            assert self.process.wait(LONG_S) in (0, -signal.SIGKILL)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


@pytest.fixture
def start():
    made = []

    def make(letter, *options):
        made.append(Process(letter, *options))
        return made[-1]

    yield make
    for process in made:
        process.end()


async def drained(channel):
    ends = time.monotonic() + LONG_S
    while not await channel.peers.drain(1):
        assert time.monotonic() < ends


def test_two_processes_and_a_hundred_thousand_beats(run, start):
    b, c = start("b"), start("c", "uvloop")

    async def main():
        async with channels("a", connected=False) as (a,):
            a.peers.set_peers({B: b.address, C: c.address})
            await until(lambda: len(a.peers.connected) == 2)
            for n in range(100_000):
                a.peers.forward(B if n % 2 else C, {n: monotonic_ms()})
            await drained(a)

    run(main())
    assert b.heard() == (50_000, 50_000, 0, [])
    assert c.heard() == (50_000, 50_000, 0, [])
    b.heard({C: c.address})
    ends = time.monotonic() + LONG_S
    while b.heard()[3] != [C]:
        assert time.monotonic() < ends
    c.signal(signal.SIGKILL)
    while b.heard()[3]:
        assert time.monotonic() < ends


def test_a_stopped_peer_is_discovered_and_gets_what_it_missed_when_it_goes_on(start):
    b = start("b")

    async def main():
        async with channels("a", connected=False, timing=SILENT) as (a,):
            a.peers.set_peers({B: b.address})
            await until(lambda: a.peers.connected)
            b.signal(signal.SIGSTOP)
            task = asyncio.ensure_future(a.peers.ask(B, "echo", 1, seconds=LONG_S))
            n = 0
            while a.peers.connected:
                a.peers.forward(B, {n % 1000: monotonic_ms()})
                a.peers.forward_input(B, Input("json", b"%d" % n, "http", "10.0.0.1", monotonic_ms()))
                n += 1
                await asyncio.sleep(0.001)
            assert a.counts["failed_silent"] == 1
            with pytest.raises(ChannelError) as caught:
                await task
            assert caught.value.reason == "disconnected"
            await until(lambda: a.counts["connect_failures"] >= 2, "attempts while it is stopped")
            assert a.stats()["waiting_beats"] > 0
            b.signal(signal.SIGCONT)
            await until(lambda: a.peers.connected)
            await drained(a)
            return n

    n = asyncio.run(main())
    beats, ids, inputs, _ = b.heard()
    assert inputs == n, "each once"
    assert ids == min(n, 1000) and beats >= ids


def test_beats_that_waited_in_a_stopped_process_are_old(start):
    """Its port has them while it is stopped; when it goes on, it knows how long they have waited there."""
    program = """
import asyncio, sys
from heartfelt.monitor.cluster.channel import Channel, ChannelTiming
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from tests.monitor.cluster.channels import SECRET, monitor_id
async def main():
    channel = Channel(monitor_id("b"), SECRET, "127.0.0.1", 0)
    def beats(peer, batch):
        for id, age in zip(batch.ids, batch.ages):
            print(id, batch.at_ms - age, monotonic_ms(), flush=True)
    channel.on_beats(beats)
    await channel.start()
    print(channel.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await channel.stop()
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    async def main():
        timing = ChannelTiming(batch_s=0.005, ping_s=0.02, silent_s=LONG_S)
        async with channels("a", connected=False, timing=timing) as (a,):
            a.peers.set_peers({B: f"127.0.0.1:{int(process.stdout.readline())}"})
            await until(lambda: a.peers.connected)
            a.peers.forward(B, {1: monotonic_ms()})
            await drained(a)
            process.send_signal(signal.SIGSTOP)
            heard_ms = monotonic_ms()
            a.peers.forward(B, {2: heard_ms})
            await until(lambda: monotonic_ms() - heard_ms > 1500)
            process.send_signal(signal.SIGCONT)
            await drained(a)
            return heard_ms

    try:
        heard_ms = asyncio.run(main())
        process.stdin.close()
        first, second = (list(map(int, line.split())) for line in process.stdout.read().splitlines())
        assert first[0] == 1 and second[0] == 2
        _, said_ms, read_ms = second
        assert read_ms - heard_ms >= 1500
        assert abs(said_ms - heard_ms) < 1000, "one clock for both processes of this machine"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
