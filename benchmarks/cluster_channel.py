# SPDX-License-Identifier: MIT
"""The cost of a beat that is forwarded to another monitor: CPU time on both sides, by each process's own clock.

python benchmarks/cluster_channel.py [--beats N] [--batch N] [--rounds N] [--json FILE]

Two processes with a channel each, on the loopback. The first forwards beats of different instances, as many at a time
as come in 100 ms; the second reads the ids and ages of each batch. From the CPU time of the whole processes that of the
same time without beats is subtracted. Beside it, the requests: one small answer each, one after the other.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from itertools import islice

import uvloop
from _findings import Findings, parser
from _quiet import OthersLoad

from heartfelt.monitor.cluster.channel import Channel
from heartfelt.monitor.cluster.channel.service import monotonic_ms

SECRET = b"only for this benchmark"
A, B = "a" * 32, "b" * 32
GOAL_US = 0.3
IDLE_S = 1.0


async def serve() -> None:
    """The second process: says its port, then its CPU time and what it has received, at each line of stdin."""
    channel = Channel(B, SECRET, "127.0.0.1", 0)
    beats = oldest = 0

    def take(peer: str, batch: object) -> None:
        nonlocal beats, oldest
        beats += len(batch.ids)  # type: ignore[attr-defined]
        oldest = max(oldest, max(batch.ages))  # type: ignore[attr-defined]

    channel.on_beats(take)
    channel.on("echo", lambda peer, message: message)
    await channel.start()
    print(channel.port, flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps([time.process_time(), beats]), flush=True)
    await channel.stop()


class Other:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def read(self) -> tuple[float, int]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, beats = json.loads(self._line())
        return seconds, beats


async def idle_cpu(other: Other) -> tuple[float, float]:
    """CPU seconds a second of both sides, with a connection and nothing to send."""
    theirs, _ = other.read()
    own = time.process_time()
    await asyncio.sleep(IDLE_S)
    after, _ = other.read()
    return (time.process_time() - own) / IDLE_S, (after - theirs) / IDLE_S


async def round_of(channel: Channel, other: Other, ids: list[int], batch: int) -> tuple[float, float, float]:
    """Forwards each of the ids once. Returns CPU seconds of both sides, and real seconds."""
    theirs, beats_before = other.read()
    own, began = time.process_time(), time.monotonic()
    forward = channel.peers.forward
    items = iter(ids)
    while some := list(islice(items, batch)):
        now_ms = monotonic_ms()
        forward(B, dict.fromkeys(some, now_ms))
        channel.peers._send_batches()
        await asyncio.sleep(0)
    assert await channel.peers.drain(60)
    took, own = time.monotonic() - began, time.process_time() - own
    after, beats = other.read()
    assert beats - beats_before == len(ids), (beats, beats_before)
    return own, after - theirs, took


async def requests(channel: Channel, other: Other, count: int) -> tuple[float, float]:
    theirs, _ = other.read()
    own = time.process_time()
    for n in range(count):
        assert await channel.peers.ask(B, "echo", n, seconds=60) == n
    own = time.process_time() - own
    after, _ = other.read()
    return own / count, (after - theirs) / count


async def measure(beats: int, batch: int, rounds: int, findings: Findings) -> None:
    other = Other()
    channel = Channel(A, SECRET, "127.0.0.1", 0)
    await channel.start()
    try:
        channel.peers.set_peers({B: f"127.0.0.1:{other.port}"})
        while not channel.peers.connected:
            await asyncio.sleep(0.01)
        ids = [n * 64 + 7 for n in range(beats)]
        await round_of(channel, other, ids, batch)
        idle = await idle_cpu(other)
        for size in (batch, max(1, batch // 50)):
            sides: list[list[float]] = [[], []]
            for _ in range(rounds):
                own, theirs, took = await round_of(channel, other, ids, size)
                for side, seconds, idle_s in zip(sides, (own, theirs), idle, strict=True):
                    side.append(max(0.0, seconds - idle_s * took) / beats * 1e6)
            goal = GOAL_US if size == batch else None
            findings.add(
                f"CPU a beat, batches of {size}: the side that forwards", statistics.median(sides[0]), "us", goal
            )
            findings.add(
                f"CPU a beat, batches of {size}: the side that receives", statistics.median(sides[1]), "us", goal
            )
        own, theirs = await requests(channel, other, 2000)
        findings.add("CPU a request: the side that asks", own * 1e6, "us")
        findings.add("CPU a request: the side that answers", theirs * 1e6, "us")
        findings.add("idle: share of a core, each side", 100 * max(idle), "%")
    finally:
        await channel.stop()
        assert other.process.stdin is not None
        other.process.stdin.close()
        other.process.wait()


def main() -> None:
    if sys.argv[1:] == ["--serve"]:
        uvloop.run(serve())
        return
    options = parser(__doc__)
    options.add_argument("--beats", type=int, default=200_000)
    options.add_argument("--batch", type=int, default=2000, help="beats in one batch: those of 100 ms")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    findings, load = Findings(), OthersLoad()
    uvloop.run(measure(given.beats, given.batch, given.rounds, findings))
    findings.add("other programs meanwhile, of one core", load.percent(), "%")
    findings.write(given.json)


if __name__ == "__main__":
    main()
