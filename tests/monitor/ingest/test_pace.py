# SPDX-License-Identifier: MIT
"""Lists whose instances join wait while the store has many to write; nobody else does, and a stuck store stops none."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor.ingest import pace
from heartfelt.monitor.store import Health
from tests.monitor.ingest.world import heartbeat, ingest

BEATS = "/api/v1/beats"


class Store:
    def __init__(self):
        self.ok, self.waiting, self.writes = True, 0, 0

    def __call__(self):
        return Health(
            ok=self.ok, error=None, waiting=self.waiting, dropped_changes=0, dropped_events=0, writes=self.writes,
            bytes=0, last_written_ms=None, waiting_instances=self.waiting,
        )  # fmt: skip


def run(test, most_s=100.0, monkeypatch=None):
    async def main():
        store = Store()
        async with ingest(http=True, store=store) as world:
            await test(world, store)

    if monkeypatch is not None:
        monkeypatch.setattr("heartfelt.monitor.ingest.http.MOST_S", most_s)
    asyncio.run(main())


def post(world, begin, end):
    texts = [heartbeat(instance_id=f"i-{n}") for n in range(begin, end)]
    return asyncio.ensure_future(world.call(BEATS, b"[" + b",".join(texts) + b"]"))


async def taken(posted):
    status, _, body = await posted
    assert status == 200
    return json.loads(body)["taken"]


def test_joins_wait_until_the_store_has_room_and_known_beats_do_not(monkeypatch):
    async def test(world, store):
        assert await taken(post(world, 0, 100)) == 100
        store.waiting = pace.MOST_WAITING + 1
        lists = [post(world, 100 * n, 100 * n + 100) for n in (1, 2, 3)]
        await world.until(lambda: world.http.stats()["joins_paced"] == 3)
        n_joined = len(world.registry)
        assert n_joined < 400
        assert await taken(post(world, 0, 100)) == 100  # known ones
        assert (await world.call(BEATS, heartbeat(instance_id="alone")))[0] == 200
        assert not any(one.done() for one in lists)
        assert len(world.registry) == n_joined + 1
        store.waiting = pace.MOST_WAITING
        assert [await taken(one) for one in lists] == [100, 100, 100]
        assert world.http.stats()["joins_paced"] == 3

    run(test, monkeypatch=monkeypatch)


def test_a_store_that_writes_slowly_holds_up_each_list_for_a_bounded_time(monkeypatch):
    async def test(world, store):
        store.waiting = pace.MOST_WAITING + 1
        for n in (1, 2):
            posted = post(world, 100 * n, 100 * n + 100)
            await world.until(lambda: world.http.stats()["joins_paced"] == n)  # noqa: B023
            store.writes += 1
            assert await taken(posted) == 100
        assert world.http.stats()["joins_paced"] == 2  # once each, then the time of the list is over

    run(test, 0.05, monkeypatch)


def test_a_store_that_does_not_get_on_holds_up_one_list(monkeypatch):
    async def test(world, store):
        store.waiting = pace.MOST_WAITING + 1
        for n in range(5):
            assert await taken(post(world, 100 * n, 100 * n + 100)) == 100
        assert world.http.stats()["joins_paced"] == 1
        store.writes += 1
        assert await taken(post(world, 500, 600)) == 100
        assert world.http.stats()["joins_paced"] == 2

    run(test, 0.05, monkeypatch)


@pytest.mark.parametrize("ok", [True, False])
def test_a_store_that_cannot_be_written_holds_up_nobody(ok):
    async def test(world, store):
        store.waiting = 10 * pace.MOST_WAITING
        store.ok = ok
        posted = post(world, 0, 100)
        if ok:  # it fails meanwhile
            await world.until(lambda: world.http.stats()["joins_paced"] == 1)
            store.ok = False
        assert await taken(posted) == 100
        assert await taken(post(world, 100, 200)) == 100
        assert world.http.stats()["joins_paced"] == int(ok)

    run(test)


def test_a_client_that_leaves_while_it_waits(monkeypatch):
    async def test(world, store):
        store.waiting = pace.MOST_WAITING + 1
        posted = post(world, 0, 100)
        await world.until(lambda: world.http.stats()["joins_paced"] == 1)
        posted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posted
        store.waiting = 0
        assert await taken(post(world, 100, 200)) == 100
        await world.until(lambda: world.http._pace._timer is None and not world.http._pace._waiting)

    run(test, monkeypatch=monkeypatch)
