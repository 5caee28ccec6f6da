# SPDX-License-Identifier: MIT
"""A fault of the program itself ends none of the webhooks' tasks, and is told."""

from __future__ import annotations

import asyncio
import random

from heartfelt.monitor.webhooks import Webhooks, WebhookSettings
from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, make_change, until


def failing_once(works, error):
    def call(*args):
        if not failed:
            failed.append(True)
            raise error
        return works(*args)

    failed = []
    return call


def run(break_something, caplog):
    async def scenario():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:
            hooks = Webhooks(
                store,
                WebhookSettings(allow_private=True),
                wall_ms=clock.wall_ms,
                pause=clock.pause,
                rng=random.Random(1),
            )
            await hooks.start()
            try:
                await hooks.create({"kind": "generic", "url": hook.url})
                break_something(hooks)
                hooks.offer(make_change(1, time_ms=clock.wall_ms()))
                await clock.run(400)
                hooks.offer(make_change(2, time_ms=clock.wall_ms(), new="UP", old="LOST"))
                await clock.run(400)
                await until(lambda: [body["key"] for body in hook.bodies] == ["change-1", "change-2"])
                assert hooks.stats()["faults"] == 1
            finally:
                await hooks.stop()

    asyncio.run(scenario())
    assert "planted" in caplog.text


def test_of_what_gathers_messages(caplog):
    def break_something(hooks):
        damper = next(iter(hooks._dampers.values()))
        damper.advance = failing_once(damper.advance, ZeroDivisionError("planted"))
        # What is offered drives it, too: only the ticker is to fail.
        offer = damper.offer

        def offered(entry):
            broken, damper.advance = damper.advance, type(damper).advance.__get__(damper)
            try:
                return offer(entry)
            finally:
                damper.advance = broken

        damper.offer = offered

    run(break_something, caplog)


def test_of_what_delivers_them(caplog):
    def break_something(hooks):
        hooks._outbox._take = failing_once(hooks._outbox._take, ZeroDivisionError("planted"))

    run(break_something, caplog)
