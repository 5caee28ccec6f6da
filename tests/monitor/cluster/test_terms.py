# SPDX-License-Identifier: MIT
"""Terms of leaders that begin or end badly: whatever fails, each loss is told once."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")
pytest.importorskip("aiohttp")

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster import leading
from heartfelt.monitor.cluster.following import Follower, accepted_until_ms
from heartfelt.monitor.store.redis.history import ChangeHistory
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outbox import RedisOutbox
from heartfelt.monitor.webhooks import history
from tests.monitor.cluster.test_leading import DAMPING, monitors, told, unreadable, wall_ms
from tests.monitor.redis.storing import joined
from tests.monitor.webhooks.parts import until

LOST = {"states": ["LOST"]}


async def begun(one, owner, hook, row):
    """Makes a webhook, tells it a loss, and waits until that is stored."""
    await one.lead(1)
    await one.leading.webhooks.create({"kind": "generic", "url": hook.url, "filter": LOST})
    await owner.lose(row)
    await until(lambda: told(hook) == ([row.instance_id], 0))
    await until(lambda: not one.leading.webhooks._saver.unsaved)


async def passed(one):
    """Waits until what was gathered so far is due, by the clocks of the primaries."""
    over_ms = wall_ms() + 2 * DAMPING.gather_ms
    await until(lambda: accepted_until_ms(one.link, one.keys) > over_ms)


async def followed(one):
    """Waits until a term has followed, and has stored that."""
    await until(lambda: one.leading.counts["followed"] > 0)
    await until(lambda: not one.leading.webhooks._saver.unsaved)


def test_what_is_replayed_in_part_is_not_told(redis_server, link_to, monkeypatch):
    """Redis is away when the second page is to be read: the first page begins in the middle of a group."""
    monkeypatch.setattr(history, "_PAGE", 5)
    monkeypatch.setattr(leading, "RETRY_S", 0.1)
    page, failures = ChangeHistory.page, []

    def failing(self, service, before, limit):
        found = page(self, service, before, limit)
        if len(failures) == 1:
            failures.append(before)
            raise StoreError("not now")
        failures.append(before)
        return found

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, *(f"i{n}" for n in range(8)))
            await begun(one, two, hook, rows[0])
            one.elected.on_lead(None)
            await two.lose(*rows[1:7])
            await passed(two)
            await two.lose(rows[7])
            with monkeypatch.context() as patch:
                patch.setattr(ChangeHistory, "page", failing)
                await two.lead(2)
                await until(lambda: two.leading.counts["terms"] == 2 and len(failures) > 2)
            await followed(two)
            await until(lambda: sum(map(len, told(hook)[:1])) + told(hook)[1] >= 8)
            assert told(hook) == (["i0", "i7"], 6)

    asyncio.run(run())


def test_the_position_is_not_ahead_of_what_could_not_be_put(redis_server, link_to, monkeypatch):
    """Redis loses the connection on which deliveries are put, and answers again at once."""
    put_deliveries = RedisOutbox.put_deliveries

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, "a", "b")
            await begun(one, two, hook, rows[0])
            with monkeypatch.context() as patch:
                patch.setattr(RedisOutbox, "put_deliveries", unreachable)
                errors = one.leading.webhooks.stats()["store_errors"]
                await two.lose(rows[1])
                await until(lambda: one.leading.webhooks.stats()["store_errors"] > errors)
                one.elected.on_lead(None)
                one.store._writer._deliveries.clear()  # as if it was killed
                await two.lead(2)
                patch.setattr(RedisOutbox, "put_deliveries", put_deliveries)
                await until(lambda: told(hook) == (["a", "b"], 0))

    asyncio.run(run())


def unreachable(outbox, rows):
    raise Unreachable("the connection was lost")


def test_what_a_former_term_could_not_note_as_told_is_left_to_the_next(redis_server, link_to, monkeypatch):
    async def run():
        async with monitors(redis_server, link_to, 1) as (_, one):
            await one.lead(1)
            with monkeypatch.context() as patch:
                patch.setattr(RedisOutbox, "put_deliveries", unreachable)
                one.store.put_delivery("target", "old", {})
                one.store.put_told("target", {("shop", "a"): ("old",)})
                await until(lambda: one.store._writer.waiting_here() == 2)
                one.elected.on_lead(None)
                await one.lead(2)
            await one.store.flush()
            assert [one.key for one in await one.store.deliveries("target", None, 10)] == ["old"]
            assert await one.store.told() == {}

    asyncio.run(run())


def test_a_term_that_ends_before_it_has_followed_leaves_its_replay_to_the_next(redis_server, link_to, monkeypatch):
    """A clean stop: what was replayed would be late for the next leader, which would tell it alone, once more."""

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, *(f"i{n}" for n in range(6)))
            await begun(one, two, hook, rows[5])
            one.elected.on_lead(None)
            await two.lose(*rows[:5])
            await passed(two)
            with monkeypatch.context() as patch:
                patch.setattr(Follower, "read", unreadable)
                await two.lead(2)
                await until(lambda: told(hook) == (["i5"], 5))
                await two.leading.stop()
            await one.lead(3)
            await followed(one)
            assert told(hook) == (["i5"], 5)

    asyncio.run(run())


def test_a_claim_without_an_answer_does_not_hold_up_the_next_leader(redis_server, link_to, monkeypatch):
    """Redis goes away while a leader claims, and another one leads when it is back."""
    claim, lost = RedisOutbox._claim, []

    def unanswered(outbox, *args):
        lost.extend(claim(outbox, *args))
        if lost:
            raise Unreachable("its answer was lost")
        return []

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, "a", "b")
            await begun(one, two, hook, rows[0])
            with monkeypatch.context() as patch:
                patch.setattr(RedisOutbox, "_claim", unanswered)
                await two.lose(rows[1])
                await until(lambda: lost)
                one.elected.on_lead(None)
                await until(lambda: not one.leading.leads)
            await two.lead(2)
            await until(lambda: told(hook) == (["a", "b"], 0))

    asyncio.run(run())


def test_a_call_that_ends_with_its_leader_is_made_by_the_next_one(redis_server, link_to):
    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, "a", "b")
            await begun(one, two, hook, rows[0])
            hook.answer = lambda request: "hang" if len(hook.requests) == 2 else (200, {}, b"ok")
            await two.lose(rows[1])
            await until(lambda: len(hook.requests) == 2)
            await one.leading.stop()
            await two.lead(2)
            await until(lambda: len(hook.requests) == 3)
            first, second = (request["headers"]["idempotency-key"] for request in hook.requests[1:])
            assert first == second

    asyncio.run(run())


@pytest.mark.parametrize("known", ["before the term", "during the term"])
def test_what_a_leader_sends_when_it_is_killed_is_sent_by_the_next_one(redis_server, link_to, monkeypatch, known):
    """Its claim would last two minutes more. That it is gone may be known only after the next one has begun to lead."""
    monkeypatch.setattr(leading, "LOOK_S", 0.05)

    async def run():
        async with monitors(redis_server, link_to, 2) as (hook, one, two):
            rows = await joined(two.store, "a", "b")
            await begun(one, two, hook, rows[0])
            hook.answer = lambda request: "hang" if len(hook.requests) == 2 else (200, {}, b"ok")
            await two.lose(rows[1])
            await until(lambda: len(hook.requests) == 2)
            if known == "before the term":
                two.elected.living.remove(one.id)
            await two.lead(2)
            if known == "during the term":
                await followed(two)
                assert len(hook.requests) == 2
                two.elected.living.remove(one.id)
            await until(lambda: len(hook.requests) == 3)
            first, second = (request["headers"]["idempotency-key"] for request in hook.requests[1:])
            assert first == second
            assert two.leading.counts["freed"] == 1

    asyncio.run(run())
