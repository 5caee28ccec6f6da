# SPDX-License-Identifier: MIT
"""The fleet's webhooks on real stores: leaders that come and go, and what they read of the shards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("redis")
pytest.importorskip("aiohttp")

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster import following, leading
from heartfelt.monitor.cluster.following import Follower, accepted_until_ms
from heartfelt.monitor.cluster.in_order import moment_ms
from heartfelt.monitor.cluster.leading import Leading
from heartfelt.monitor.model import Level, State
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.webhooks import Webhooks, WebhookSettings
from heartfelt.monitor.webhooks.damping import Damping
from tests.monitor.redis.storing import SHARDS, a_prefix, joined, make_store, put
from tests.monitor.webhooks.parts import Hook, until

DAMPING = Damping(gather_ms=100, gather_singles=3, gather_long_ms=300)


def wall_ms():
    return time.time_ns() // 1_000_000


class Elected:
    """A membership whose leader is elected by the test."""

    leader, on_lead = None, None

    def __init__(self, living):
        self.living = living

    def leads(self):
        return True


class Monitor:
    """living: the ids of the monitors that live, which all of them share."""

    def __init__(self, link, prefix, living):
        self.link, self.keys = link, Keys(prefix, SHARDS)
        self.store = make_store(link, prefix)
        self.store.open()
        self.id = self.store._outbox.claimer
        living.add(self.id)
        self.elected = Elected(living)
        channel = SimpleNamespace(on=lambda *_: None, own="me", peers={})
        self.leading = Leading(self.store, link, self.keys, self.elected, channel, self.make, lambda webhooks: None)
        self.leading.start()

    def make(self, store, positions, heard_ms):
        settings = WebhookSettings(allow_private=True, damping=DAMPING)
        return Webhooks(store, settings, wall_ms=wall_ms, positions=positions, heard_ms=heard_ms)

    async def lead(self, fence):
        before = self.leading.counts["terms"]
        self.elected.on_lead(fence)
        await until(lambda: self.leading.counts["terms"] > before and self.leading.webhooks._ready)

    async def lose(self, *rows):
        for row in rows:
            put(self.store, row, State.UP, State.LOST, level=Level.EMERGENCY)
        await self.store.flush()

    async def end(self):
        await self.leading.stop()
        await asyncio.to_thread(self.store.close)


@contextlib.asynccontextmanager
async def monitors(redis_server, link_to, n):
    prefix, made, living = a_prefix(), [], set()
    async with Hook() as hook:
        try:
            made += [Monitor(link_to(redis_server.url), prefix, living) for _ in range(n)]
            yield hook, *made
        finally:
            for one in made:
                await one.end()


def told(hook):
    """Returns the instances of the messages of one, and how many the others are about."""
    singles = sorted(body["instance_id"] for body in hook.bodies if body["event"] == "change")
    return singles, sum(body["count"] for body in hook.bodies if body["event"] == "mass")


def test_each_loss_is_told_once_by_leaders_that_come_and_go(redis_server, link_to):
    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, *(f"i{n}" for n in range(12)))
            await one.lead(1)
            await one.leading.webhooks.create({"kind": "generic", "url": hook.url, "filter": {"states": ["LOST"]}})
            await two.lose(rows[0])
            await until(lambda: told(hook) == (["i0"], 0))
            await two.lose(rows[1])  # on its way through the first leader when the second one begins
            await two.lead(2)
            await two.lose(rows[2])
            await until(lambda: told(hook) == (["i0", "i1", "i2"], 0))
            await until(lambda: one.leading.webhooks.superseded or not one.leading.webhooks._ready)
            await two.lose(*rows[3:])
            await until(lambda: told(hook)[1] == 9)
            two.elected.on_lead(None)
            await one.lead(3)
            await one.lose()
            await until(lambda: one.leading.counts["followed"] > 0)
            assert told(hook) == (["i0", "i1", "i2"], 9)

    asyncio.run(run())


def test_a_leader_whose_redis_has_lost_writes_begins_again(redis_server, link_to):
    async def run():
        async with monitors(redis_server, link_to, 1) as (hook, one):
            rows = await joined(one.store, "a", "b")
            await one.lead(1)
            await one.leading.webhooks.create({"kind": "generic", "url": hook.url, "filter": {"states": ["LOST"]}})
            first = one.leading.webhooks
            one.link.call(-1, "HSET", one.keys.fleet("out", "lead"), "written", 0)
            await one.lose(rows[0])  # is left out, but told by the next term
            await until(lambda: told(hook) == (["a"], 0))
            assert one.leading.webhooks is not first and one.leading.counts["terms"] == 2

    asyncio.run(run())


def test_a_term_whose_webhooks_cannot_be_stopped_does_not_end_the_next_ones(redis_server, link_to):
    async def run():
        async with monitors(redis_server, link_to, 1) as (_, one):
            await one.lead(1)
            stop = one.leading.webhooks.stop

            async def fails():
                await stop()
                raise RuntimeError("a fault")

            one.leading.webhooks.stop = fails
            one.elected.on_lead(None)
            await one.lead(2)

    asyncio.run(run())


def test_a_read_that_is_left_has_taken_nothing(redis_server, link_to, monkeypatch):
    async def run():
        async with monitors(redis_server, link_to, 1) as (_, one):
            await joined(one.store, *(f"i{n}" for n in range(20)))
            until_ms = accepted_until_ms(one.link, one.keys)
            monkeypatch.setattr(following, "MOST", 3)
            follower = Follower(one.link, one.keys, dict.fromkeys(range(SHARDS), 0))
            first, again = follower.read(), follower.read()
            assert [shard.changes for shard in first] == [shard.changes for shard in again]
            seqs = []
            while found := [shard for shard in follower.read() if shard.changes]:
                assert all(len(shard.changes) <= 3 for shard in found)
                assert all(shard.until_ms >= until_ms for shard in found)
                seqs += [change.seq for shard in found for change in shard.changes]
                follower.took(found)
            assert len(seqs) == len(set(seqs)) == 20
            assert max(map(moment_ms, seqs)) <= wall_ms() + 1000

    asyncio.run(run())


def test_what_was_replayed_is_not_late_for_the_next_leader(redis_server, link_to, monkeypatch):
    """A leader that cannot follow yet: it has told what it replayed, and does not say that it has followed it."""

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, *(f"i{n}" for n in range(6)))
            await one.lead(1)
            await one.leading.webhooks.create({"kind": "generic", "url": hook.url, "filter": {"states": ["LOST"]}})
            await two.lose(rows[5])
            await until(lambda: told(hook) == (["i5"], 0))
            await until(lambda: not one.leading.webhooks._saver.unsaved)
            one.elected.on_lead(None)
            await two.lose(*rows[:5])
            over_ms = wall_ms() + 2 * DAMPING.gather_ms
            await until(lambda: accepted_until_ms(two.link, two.keys) > over_ms)
            with monkeypatch.context() as patch:
                patch.setattr(Follower, "read", unreadable)
                await two.lead(2)
                await until(lambda: told(hook) == (["i5"], 5))
                await until(lambda: not two.leading.webhooks._saver.unsaved)
            await one.lead(3)
            await until(lambda: one.leading.counts["followed"] > 0)
            await until(lambda: not one.leading.webhooks._saver.unsaved)
            assert told(hook) == (["i5"], 5)

    asyncio.run(run())


def unreadable(follower):
    raise StoreError("not now")


def test_a_webhook_that_was_changed_through_the_last_leader_is_used_soon(redis_server, link_to, monkeypatch):
    monkeypatch.setattr(leading, "LOOK_S", 0.05)

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            (row,) = await joined(two.store, "a")
            await one.lead(1)
            slow = one.leading.webhooks
            await two.lead(2)
            await slow.create({"kind": "generic", "url": hook.url, "filter": {"states": ["LOST"]}})
            await until(lambda: len(two.leading.webhooks.targets()) == 1)
            await two.lose(row)
            await until(lambda: told(hook) == (["a"], 0))
            await two.leading.webhooks.update(two.leading.webhooks.targets()[0]["id"], {"name": "other"})
            terms = two.leading.counts["terms"]
            await until(lambda: two.leading._looked_s > time.monotonic() - 0.01)
            await until(lambda: not two.leading._is_other)
            assert two.leading.counts["terms"] == terms, "its own change is no reason to begin again"

    asyncio.run(run())


def test_a_leader_answers_for_webhooks_once_they_have_started(redis_server, link_to):
    async def run():
        async with monitors(redis_server, link_to, 1) as (_, one):
            seen = []
            make = one.leading._make

            def made(*args):
                webhooks = make(*args)
                start = webhooks.start

                async def slow():
                    seen.append(one.leading.leads)
                    await start()
                    seen.append(one.leading.leads)

                webhooks.start = slow
                return webhooks

            one.leading._make = made
            await one.lead(1)
            await until(lambda: one.leading.leads)
            assert seen == [False, False]

    asyncio.run(run())
