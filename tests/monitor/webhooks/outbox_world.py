# SPDX-License-Identifier: MIT
"""An outbox with its targets, a server that answers as a test says, and a clock that stands still."""

from __future__ import annotations

import contextlib
import random

import msgspec

from heartfelt.monitor.webhooks.caller import Caller, CallLimits
from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.outbox import Outbox
from heartfelt.monitor.webhooks.target_state import Retry
from heartfelt.monitor.webhooks.targets import make_target
from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, make_change, until


class World:
    def __init__(self, store=None, clock=None, **limits):
        self.clock = clock or Clock()
        self.store = store or MemoryStore()
        self.targets = {}
        self.caller = Caller(CallLimits(**limits), wall_ms=self.clock.wall_ms, allow_private=True)
        self.outbox = Outbox(
            self.store,
            self.targets,
            self.caller.call,
            Retry(),
            wall_ms=self.clock.wall_ms,
            pause=self.clock.pause,
            rng=random.Random(1),
        )

    def add(self, id, url, **fields):
        made = make_target({"kind": "generic", "url": url, **fields}, now_ms=0, id=id, private=True)
        self.targets[id] = msgspec.structs.replace(made, generation="")  # the same one over restarts

    def put(self, id, *seqs, **more):
        for seq in seqs:
            change = make_change(seq, time_ms=self.clock.ms, **more)
            self.outbox.put(self.targets[id], of_entry(of_change(change, False)))

    def state(self, *numbers):
        return [self.store.rows[number - 1]["state"] for number in numbers]

    async def settled(self, state, *numbers):
        await until(lambda: self.state(*numbers) == [state] * len(numbers))

    async def tried(self, number):
        """There was an attempt, and it is over."""
        await until(lambda: self.store.rows[number - 1]["attempts"] and self.state(number) == ["waiting"])

    async def retry(self):
        """On to the time of the next attempt, and until that is over."""
        row = next(row for row in self.store.rows if row["state"] == "waiting")
        tried = row["attempts"]
        self.clock.advance(max(0, row["next_ms"] - self.clock.ms) / 1000)
        await until(lambda: row["attempts"] > tried and row["state"] != "claimed")


@contextlib.asynccontextmanager
async def world(answer=None, **more):
    async with Hook(answer) as hook:
        made = World(**more)
        made.hook = hook
        made.add("t", hook.url)
        made.outbox.start()
        try:
            yield made
        finally:
            await made.outbox.stop()
            await made.caller.close()


def answers(w, **by_instance):
    """Answers by the instance that a message is about: a status, or a status and a body."""

    def answer(request):
        found = by_instance.get(msgspec.json.decode(request["body"])["instance_id"], 200)
        status, body = found if isinstance(found, tuple) else (found, b"")
        return status, {}, body

    w.hook.answer = answer


def instances(w):
    return [body["instance_id"] for body in w.hook.bodies]
