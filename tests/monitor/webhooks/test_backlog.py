# SPDX-License-Identifier: MIT
"""The backlog of each target, even though the store fails or does not answer."""

from __future__ import annotations

import asyncio
import logging

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor.store import Backlog
from heartfelt.monitor.webhooks.backlog import Waiting
from heartfelt.monitor.webhooks.metrics import readings


class Store:
    def __init__(self):
        self.found = {"a": Backlog(count=2, oldest_ms=1000)}
        self.error = None
        self.hangs = False

    async def waiting_deliveries(self):
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return self.found


def shown(waiting, targets, now_ms):
    by_name = {metric.name: samples for metric, samples in readings({}, waiting.by_target, targets, now_ms)}
    return by_name["heartfelt_webhooks_waiting"], by_name["heartfelt_webhooks_oldest_waiting_seconds"]


def test_ages_go_on_growing_while_the_store_fails(caplog):
    store = Store()
    waiting = Waiting(store, refresh_s=0.01)
    asyncio.run(waiting.refresh())
    assert shown(waiting, ["a", "b"], 3500) == ({("a",): 2, ("b",): 0}, {("a",): 2.5, ("b",): 0.0})
    store.error = OSError("disk I/O error")
    with caplog.at_level(logging.ERROR):
        asyncio.run(waiting.refresh())
        store.hangs = True
        asyncio.run(waiting.refresh())  # and does not hang
    assert waiting.errors == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the store cannot count the waiting deliveries, metrics show the last numbers: disk I/O error"
    ]
    assert shown(waiting, ["a"], 9000) == ({("a",): 2}, {("a",): 8.0})
    store.error, store.hangs, store.found = None, False, {}
    asyncio.run(waiting.refresh())
    assert shown(waiting, ["a"], 9000) == ({("a",): 0}, {("a",): 0.0})


def test_only_targets_that_exist_have_a_label():
    waiting = Waiting(Store())
    asyncio.run(waiting.refresh())
    assert shown(waiting, [], 5000) == ({}, {})


def test_a_clock_that_was_set_back_makes_no_age_negative():
    waiting = Waiting(Store())
    asyncio.run(waiting.refresh())
    assert shown(waiting, ["a"], 0)[1] == {("a",): 0.0}
