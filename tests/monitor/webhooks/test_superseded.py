# SPDX-License-Identifier: MIT
"""A monitor that leads no more sends nothing, however early it finds that out."""

from __future__ import annotations

import asyncio

from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, until
from tests.monitor.webhooks.test_service import make, offer, running


def test_nothing_is_sent_if_another_monitor_leads_before_the_start_has_ended():
    async def run():
        store, clock = MemoryStore(), Clock()
        async with Hook() as hook:
            async with running(store, clock) as hooks:
                await hooks.create({"kind": "generic", "url": hook.url})
                offer(hooks, store, clock, 1)  # it is gathered until the stop, and waits in the outbox then
            later = make(store, clock)
            load = later.told.load

            async def superseded():
                await load()
                later.supersede()

            later.told.load = superseded
            await later.start()
            await clock.run(60)
            assert store.rows and not hook.requests
            await later.stop()
            async with running(store, clock):
                await clock.run(10, lambda: hook.requests)
                await until(lambda: hook.requests)

    asyncio.run(run())
