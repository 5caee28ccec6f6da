# SPDX-License-Identifier: MIT
"""Findings of the writer's thread are told also if they come before anybody has called a coroutine."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.outcomes import Outcome
from heartfelt.monitor.store.redis.telling import Teller


def found(n):
    outcome = Outcome()
    outcome.renewals.append(Renewal(emptied=n))
    return outcome


def test_what_came_before_there_was_a_loop_is_told_in_order():
    told = []
    teller = Teller(SimpleNamespace(renewed=lambda one: told.append(one.emptied)), set(), logging.getLogger("test"))
    teller.tell(found(1))
    teller.tell(found(2))

    async def run():
        teller.see_loop()
        await asyncio.to_thread(teller.tell, found(3))
        await asyncio.sleep(0)

    asyncio.run(run())
    assert told == [1, 2, 3]
    teller.tell(found(4))  # the loop has ended: nobody is left to be told
    assert told == [1, 2, 3]
