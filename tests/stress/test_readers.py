# SPDX-License-Identifier: MIT
"""Many readers of one hub, of every kind: each event goes to exactly one of them, and none of them hangs."""

from __future__ import annotations

import asyncio
import queue
from collections import Counter

from heartfelt import EventType, HeartHub, HubClosed

N = 20_000


def read_by_iteration(hub, got):
    got.extend(hub.events)


def read_by_get(hub, got):
    while True:
        try:
            got.append(hub.events.get(timeout=0.01))
        except queue.Empty:
            continue
        except HubClosed:
            return


def read_by_get_many(hub, got):
    while True:
        try:
            got += hub.events.get_many(7, timeout=0.01)
        except HubClosed:
            return


def read_in_asyncio(hub, got):
    async def iterate():
        async for event in hub.events:
            got.append(event)

    async def get():
        while True:
            try:
                got.append(await hub.events.aget())
            except HubClosed:
                return

    async def get_and_be_cancelled():  # a cancelled aget has taken nothing
        while True:
            task = asyncio.ensure_future(hub.events.aget())
            await asyncio.sleep(0)
            task.cancel()
            try:
                got.append(await task)
            except asyncio.CancelledError:
                pass
            except HubClosed:
                return
            await asyncio.sleep(0.001)

    async def all_of_them():
        await asyncio.gather(iterate(), iterate(), get(), get_and_be_cancelled())

    asyncio.run(all_of_them())


def read_all(crowd, eventually, readers, types):
    hub = HeartHub(0.3, parallelism=2, subscribe=types, event_buffer=4 * N)
    piles = [[] for _ in readers]
    for reader, pile in zip(readers, piles, strict=True):
        crowd.start(reader, hub, pile)
    for n in range(N):
        hub.heartbeat(n, timeout=0.001 + n % 300 / 1000)
    eventually(lambda: hub.stats().timeouts == N, "all keys end")
    hub.close()
    crowd.join()
    return Counter((event.type, event.key) for pile in piles for event in pile)


def test_threads_share_the_events(crowd, eventually):
    readers = [read_by_iteration, read_by_get, read_by_get_many, read_by_get_many]
    counts = read_all(crowd, eventually, readers, {EventType.TIME_OUT})
    assert counts == Counter((EventType.TIME_OUT, n) for n in range(N))


def test_threads_and_event_loops_share_the_events_of_all_types(crowd, eventually):
    types = {EventType.TIME_OUT, EventType.JOIN, EventType.HEART_BEAT}
    readers = [read_in_asyncio, read_by_get, read_in_asyncio, read_by_iteration]
    counts = read_all(crowd, eventually, readers, types)
    assert counts == Counter((one, n) for n in range(N) for one in types)


def test_waiting_readers_all_end_when_the_hub_is_closed(crowd, eventually):
    for _ in range(20):
        hub = HeartHub(60)
        for reader in (read_by_iteration, read_by_get, read_by_get_many, read_in_asyncio):
            crowd.start(reader, hub, [])
        hub.close()
        crowd.join()
