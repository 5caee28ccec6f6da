# SPDX-License-Identifier: MIT
"""Webhooks that start again make the same messages of the same changes, however the ones before have ended."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, until
from tests.monitor.webhooks.test_service import crash, make, offer, running


def test_a_clean_stop_and_then_a_crash_lose_nothing_of_what_was_gathered_between():
    """A stop ends the time for which a service is gathered for long; the one that starts after a crash must know."""

    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:

            async def lose(hooks, seqs, seconds):
                for seq in seqs:
                    offer(hooks, store, clock, seq, instance=f"i{seq}")
                await clock.run(seconds)

            async with running(store, clock) as hooks:
                await hooks.create({"kind": "generic", "url": hook.url})
                await lose(hooks, range(1, 6), 5)  # several: from now on the service is gathered for 30 s
            hooks = make(store, clock)
            await hooks.start()
            await lose(hooks, range(6, 11), 4)
            await lose(hooks, range(11, 15), 4)
            await crash(hooks)
            async with running(store, clock):
                await clock.run(90)
                await until(lambda: store.rows[-1]["state"] == "done")
            keys = {row["key"]: row["payload"]["count"] for row in store.rows}
            assert keys == {"mass-change-1": 5, "mass-change-6": 5, "mass-change-11": 4}

    asyncio.run(run())


def test_a_service_that_is_busy_for_longer_than_is_replayed_is_told_once():
    """What is replayed begins in the middle of a group, so all that follow would be others."""

    async def run():
        clock, store, seq = Clock(), MemoryStore(), 0
        async with Hook() as hook:

            async def lose(hooks, seconds):
                nonlocal seq
                for _ in range(seconds):
                    for _ in range(3):
                        seq += 1
                        offer(hooks, store, clock, seq, instance=f"i{seq}")
                    await clock.run(1)

            hooks = make(store, clock)
            await hooks.start()
            await hooks.create({"kind": "generic", "url": hook.url})
            await lose(hooks, 1200)
            await crash(hooks)
            async with running(store, clock) as hooks:
                assert hooks.stats()["replayed"] < 100
                await lose(hooks, 40)
            assert sum(row["payload"].get("count", 1) for row in store.rows) == seq

    asyncio.run(run())
