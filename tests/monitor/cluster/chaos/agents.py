# SPDX-License-Identifier: MIT
"""Simulated agents: groups of instances that beat together over HTTP, each group like one machine's client.

A group beats to one monitor. Without an answer in time it goes to another one, and sends the same beats there at once.
Instances fall silent and come back by a seeded plan. Everything is noted for story.py: when each beat was sent, and
whether it was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time

ANSWER_S = 1.0


def wall_ms():
    return time.time_ns() // 1_000_000


class Instance:
    """`beats`: (sent_ms, answered_ms or None, monitor) of each beat, in order."""

    def __init__(self, name, plan):
        self.name = name
        self.plan = plan  # [(silent from, until)], in s since the start
        self.beats = []

    def beats_at(self, at_s):
        return not any(begin <= at_s < end for begin, end in self.plan)


class Group:
    def __init__(self, instances, ports, rng, every_s):
        self.instances, self.ports, self.rng, self.every_s = instances, ports, rng, every_s
        self.at = rng.randrange(len(ports))
        self.moves = 0
        self._reader = self._writer = None

    def move(self):
        self.moves += 1
        self.at = (self.at + self.rng.randrange(1, len(self.ports))) % len(self.ports)
        self._close()

    def _close(self):
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def run(self, began_s, until_s):
        await asyncio.sleep(self.rng.random() * self.every_s)
        while (now_s := time.monotonic() - began_s) < until_s:
            some = [one for one in self.instances if one.beats_at(now_s)]
            if some:
                await self._beat(some)
            if self.rng.random() < 0.01:
                self.move()
            await asyncio.sleep(self.every_s * self.rng.uniform(0.9, 1.1))
        self._close()

    async def _beat(self, some):
        for _ in range(len(self.ports) * 2):
            sent_ms = wall_ms()
            notes = [[sent_ms, None, self.at] for _ in some]
            for one, note in zip(some, notes, strict=True):
                one.beats.append(note)
            if await self._post([{"service": "chaos", "instanceId": one.name} for one in some]):
                answered_ms = wall_ms()
                for note in notes:
                    note[1] = answered_ms
                return
            self.move()

    async def _post(self, beats):
        body = json.dumps(beats).encode()
        head = (
            f"POST /api/v1/beats HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        try:
            return await asyncio.wait_for(self._exchange(head + body), ANSWER_S)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError):
            self._close()
            return False

    async def _exchange(self, request):
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.ports[self.at]())
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        await self._reader.readexactly(length)
        return head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))


def make_groups(n, per_group, ports, seed, until_s, every_s, timeout_s):
    """n instances, of which some fall silent, for longer than their timeout or not quite, and come back or not."""
    rng = random.Random(seed)
    groups = []
    for begin in range(0, n, per_group):
        instances = []
        for k in range(begin, min(begin + per_group, n)):
            plan, at_s = [], 0.0
            while rng.random() < 0.3 and at_s < until_s * 0.7:
                start_s = at_s + 2 * timeout_s + rng.random() * until_s * 0.5
                silent_s = rng.choice([timeout_s * 0.5, timeout_s * 3.5, timeout_s * 6, until_s])
                plan.append((start_s, start_s + silent_s))
                at_s = start_s + silent_s
            instances.append(Instance(f"c{k:05}", plan))
        groups.append(Group(instances, ports, random.Random(rng.random()), every_s))
    return groups


@contextlib.asynccontextmanager
async def beating(groups, until_s):
    """Runs the groups, and yields the time of the start by the monotonic clock; ends when all have ended."""
    began_s = time.monotonic()
    tasks = [asyncio.create_task(group.run(began_s, until_s)) for group in groups]
    try:
        yield began_s
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
