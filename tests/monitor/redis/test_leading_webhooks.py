# SPDX-License-Identifier: MIT
"""The webhooks of several monitors on one Redis. One leads; one that was stopped while it led does no harm."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import uuid

import pytest

pytest.importorskip("redis")
pytest.importorskip("aiohttp")

import msgspec

from heartfelt.monitor.webhooks import Webhooks, WebhookSettings
from heartfelt.monitor.webhooks.history import Position
from tests.monitor.redis.outbox_store import OutboxStore
from tests.monitor.webhooks.parts import Clock, Hook, make_change, make_event, until


class Shared:
    """Everything that the fleet has besides the outbox: its changes and documents."""

    def __init__(self):
        self.changes, self.documents = [], {}

    def happen(self, seq, clock, **more):
        change = make_change(seq, time_ms=clock.ms, **more)
        self.changes.append(change)
        return change


class Store(OutboxStore):
    """A monitor's store. Writes at once what is put."""

    def __init__(self, shared, port, prefix, clock):
        super().__init__(port, prefix, clock.wall_ms)
        self.shared = shared

    def put_delivery(self, target, key, payload, **more):
        super().put_delivery(target, key, payload, **more)
        self._write()

    def put_told(self, target, instances):
        super().put_told(target, instances)
        self._write()

    async def changes(self, *, id, service, before, limit):
        found = sorted(self.shared.changes, key=lambda change: -change.seq)
        return [change for change in found if before is None or change.seq < before][:limit]

    async def documents(self, kind):
        return dict(self.shared.documents)

    async def put_document(self, kind, name, value):
        self.shared.documents[name] = msgspec.json.decode(msgspec.json.encode(value))


class FencedPositions:
    """The position in the outbox, with the fence of the leader."""

    def __init__(self, store, fence):
        self.outbox, self.fence = store.outbox, fence
        self.saves = 0

    async def load(self):
        found = self.outbox.lead(self.fence)
        return None if found is None else msgspec.convert(found, Position)

    async def save(self, position):
        self.saves += 1
        self.outbox.put_position(msgspec.to_builtins(position))


class Monitor:
    """A monitor that leads. `stopped`: nothing of it runs, as of a process that was sent SIGSTOP."""

    def __init__(self, shared, port, prefix, clock, fence):
        self.clock, self.stopped, self.heard = clock, False, []
        self.store = Store(shared, port, prefix, clock)
        self.heard_ms = clock.ms
        self.positions = FencedPositions(self.store, fence)
        self.hooks = Webhooks(
            self.store,
            WebhookSettings(allow_private=True),
            wall_ms=clock.wall_ms,
            pause=self._pause,
            rng=random.Random(fence),
            positions=self.positions,
            heard_ms=lambda: self.heard_ms,
        )

    async def _pause(self, event, seconds):
        await self.clock.pause(event, seconds)
        while self.stopped:
            await asyncio.sleep(0)

    def hear(self, *changes):
        """Takes changes, or keeps them until it goes on."""
        self.heard += changes
        if not self.stopped:
            heard, self.heard = self.heard, []
            for change in heard:
                self.hooks.offer(change)
            self.heard_ms = self.clock.ms

    def go_on(self):
        self.stopped = False
        self.hear()

    async def end(self):
        await self.hooks.stop()
        self.store.close()


class Fleet:
    def __init__(self, port, clock, hook):
        self.port, self.clock, self.hook, self.prefix = port, clock, hook, uuid.uuid4().hex
        self.shared, self.monitors, self.stack = Shared(), [], contextlib.AsyncExitStack()
        self.seq = 0

    async def lead(self, **filter):
        """Another monitor begins to lead."""
        monitor = Monitor(self.shared, self.port, self.prefix, self.clock, len(self.monitors) + 1)
        self.monitors.append(monitor)
        self.stack.push_async_callback(monitor.end)
        await monitor.hooks.start()
        if len(self.monitors) == 1:
            fields = {"kind": "generic", "url": self.hook.url, "filter": {"states": [], **filter}}
            await monitor.hooks.create(fields, id="t")
        return monitor

    def happen(self, **more):
        self.seq += 1
        return self.tell(self.shared.happen(self.seq, self.clock, **more))

    def tell(self, change):
        for monitor in self.monitors:
            monitor.hear(change)
        return change

    def quiet(self):
        """All changes up to now are heard."""
        for monitor in self.monitors:
            monitor.hear()

    async def run(self, seconds):
        for _ in range(seconds):
            self.clock.advance(1)
            self.quiet()
            for _ in range(30):
                await asyncio.sleep(0)

    def told(self):
        """Returns how often each change was told."""
        return collections.Counter(body["key"] for body in self.hook.bodies)


@contextlib.asynccontextmanager
async def fleet(port):
    async with Hook() as hook:
        made = Fleet(port, Clock(), hook)
        try:
            yield made
        finally:
            for monitor in made.monitors:
                monitor.stopped = False
            await made.stack.aclose()


def test_a_leader_that_goes_on_tells_nothing_and_undoes_nothing(redis_server):
    async def run():
        async with fleet(redis_server.port) as f:
            old = await f.lead()
            f.happen(instance="told")
            await f.run(5)
            await until(lambda: f.told()["change-1"] == 1)
            f.happen(instance="gathered")  # in the damper of the old one
            old.stopped = True
            f.happen(instance="unheard")
            new = await f.lead()
            await f.run(5)
            await until(lambda: len(f.told()) == 3)
            f.happen(instance="unheard", old="LOST", new="UP")
            f.happen(instance="unheard")  # lost again
            await f.run(5)
            await until(lambda: len(f.told()) == 5)
            told = await new.store.told()
            old.go_on()
            await f.run(5)
            await until(lambda: old.hooks.superseded)
            assert old.store.outbox.refused > 0
            f.happen(instance="after")
            tries = old.store.outbox.refused, old.positions.saves
            await old.hooks.stop()
            assert (old.store.outbox.refused, old.positions.saves) == tries  # it does not even try
            await f.run(5)
            await until(lambda: f.told()["change-6"] == 1)
            assert set(f.told().values()) == {1}
            assert (await new.store.told())["t"] == {**told["t"], ("shop", "after"): ("change-6",)}
            position = msgspec.convert(new.store.outbox.lead(99), Position)
            assert (position.seq, position.flushed) == (6, False)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(4))
def test_each_change_is_told_once_whoever_leads(redis_server, seed):
    """Leaders are stopped in the middle of anything and go on later, for a while beside the next ones."""

    async def run():
        rng = random.Random(seed)
        async with fleet(redis_server.port) as f:
            await f.lead()
            for _ in range(8):
                for _ in range(rng.randrange(1, 9)):
                    f.happen(instance=f"i{f.seq}", service=rng.choice("ab"))
                    await f.run(rng.choice((0, 0, 0, 1, 3)))
                f.monitors[-1].stopped = rng.random() < 0.8
                await f.run(rng.choice((0, 1, 130)))  # 130 s: the claims have ended
                await f.lead()
                for monitor in f.monitors[:-1]:
                    if monitor.stopped and rng.random() < 0.6:
                        monitor.go_on()
            f.happen(instance="last")
            await f.run(200)
            counted = await f.monitors[-1].store.deliveries("t", None, 500)
            await until(lambda: len(f.told()) == len(counted))
            messages = {body["key"]: body["count"] if body["event"] == "mass" else 1 for body in f.hook.bodies}
            assert sum(messages.values()) == f.seq
            assert all(monitor.hooks.superseded for monitor in f.monitors[:-1] if not monitor.stopped)

    asyncio.run(run())


@pytest.mark.parametrize("by_the_next", [False, True])
def test_a_change_of_a_shard_that_was_not_read_is_told_alone(redis_server, by_the_next):
    async def run():
        async with fleet(redis_server.port) as f:
            await f.lead()
            late = f.shared.happen(1, f.clock, instance="late")
            f.seq = 1
            for n in range(9):
                f.happen(instance=f"i{n}")
            await f.run(5 if by_the_next else 1)
            if by_the_next:
                f.monitors[0].stopped = True
                await f.lead()
            f.tell(late)
            await f.run(5)
            await until(lambda: len(f.told()) == 2)
            assert f.told().keys() == {"change-1", "mass-change-2"}
            assert {body.get("count") for body in f.hook.bodies if body["event"] == "mass"} == {9}

    asyncio.run(run())


def test_what_is_gathered_when_another_leads_is_told_by_that_one(redis_server):
    async def run():
        async with fleet(redis_server.port) as f:
            old = await f.lead()
            f.happen()
            old.hooks.supersede()
            await old.hooks.stop()
            new = await f.lead()
            assert await new.store.deliveries("t", None, 9) == []
            await f.run(5)
            await until(lambda: f.told() == {"change-1": 1})

    asyncio.run(run())


def test_a_late_end_is_noted(redis_server):
    async def run():
        async with fleet(redis_server.port) as f:
            await f.lead(states=["LOST"])
            f.happen()
            f.seq = 2
            f.happen(instance="another")
            await f.run(5)
            f.monitors[0].stopped = True
            new = await f.lead()
            assert len((await new.store.told())["t"]) == 2
            f.tell(f.shared.happen(2, f.clock, old="LOST", new="REMOVED"))
            assert (await new.store.told())["t"] == {("shop", "another"): ("change-3",)}

    asyncio.run(run())


def test_a_leader_that_has_heard_nothing_yet_leaves_what_it_has_gathered_together(redis_server):
    async def run():
        async with fleet(redis_server.port) as f:
            await f.lead()
            for n in range(5):
                f.happen(instance=f"i{n}")
            f.monitors[0].stopped = True
            new = await f.lead()
            new.hear, new.heard_ms = (lambda *changes: None), 0
            await f.run(5)
            assert await new.store.deliveries("t", None, 9) == []
            new.heard_ms = f.clock.ms
            await f.run(3)
            await until(lambda: f.told() == {"mass-change-1": 1})

    asyncio.run(run())


def test_dampers_wait_for_what_is_not_heard_yet(redis_server):
    async def run():
        async with fleet(redis_server.port) as f:
            leader = await f.lead(event_types=["*"])
            for n in range(5):
                f.happen(instance=f"i{n}")
            at_ms = f.clock.ms
            leader.hear, hear = (lambda *changes: None), leader.hear
            await f.run(20)
            leader.hooks.offer_event(make_event(received_ms=f.clock.ms, type="LOG"))  # of now: it is no clock either
            await f.run(1)
            assert f.told() == {}
            leader.hear = hear
            change = make_change(6, time_ms=at_ms + 1, instance="i6")  # on its way all the time
            f.shared.changes.append(change)
            f.tell(change)
            await f.run(3)
            await until(lambda: len(f.told()) == 2)
            assert [body["count"] for body in f.hook.bodies if body["event"] == "mass"] == [6]

    asyncio.run(run())
