# SPDX-License-Identifier: MIT
"""One message fails again and again, while its target takes all others: people are told, and nobody waits for it."""

from __future__ import annotations

import asyncio
import logging

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.webhooks.test_outbox import answers, world


@pytest.mark.parametrize("status", [408, 423, 500])
def test_its_first_attempts_are_logged_though_others_succeed(status, caplog):
    async def run():
        async with world() as w:
            answers(w, bad=status)
            w.put("t", 1, instance="bad")
            await w.tried(1)
            for attempt in range(2, 12):
                w.put("t", attempt, instance="good")
                await w.settled("done", attempt)
                await w.retry()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert f"attempt 1 failed: {status}" in said[0] and f"attempt 10 failed: {status}" in said[1]


def test_a_code_that_a_robot_does_not_document_is_logged(caplog):
    async def run():
        async with world(lambda request: (200, {}, b'{"code":777,"msg":"what?"}')) as w:
            w.add("t", w.hook.url, kind="feishu", allow_private=True)
            w.put("t", 1)
            await w.tried(1)

    asyncio.run(run())
    assert "code 777: what?" in caplog.text


def test_others_wait_a_minute_at_most_for_one_that_is_always_too_much():
    async def run():
        async with world() as w:
            answers(w, bad=429)
            line = w.outbox.line(w.targets["t"])
            w.put("t", 1, instance="bad")
            await w.tried(1)
            for number in range(2, 14):
                assert 0 < line.wait_ms(w.clock.ms) <= 60_000
                w.put("t", number, instance="good")
                await w.clock.run(61, lambda number=number: w.state(number) == ["done"])
                await w.settled("done", number)
                await w.retry()
            assert w.store.rows[0]["next_ms"] - w.clock.ms > 60_000

    asyncio.run(run())
