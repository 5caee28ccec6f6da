# SPDX-License-Identifier: MIT
"""An agent that has moved to a monitor which Redis does not answer: its beats reach their owner."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.many import doing, fleet_of, until


async def passes_on(one, owner):
    """It hears beats, and their owner gets them, though it cannot use Redis; then it can again."""
    began_ms = time.time() * 1000
    async with doing(one.beating(0.2, "a")):
        await until(lambda: owner.find("a").last_beat_ms >= began_ms, "a beat")
    assert one.counts["passed_on"] > 0
    one.redis.heal()


@pytest.mark.parametrize("answers", [False, True])
def test_plain_beats_of_unknown_names_reach_their_owner_without_redis(tmp_path, redis_server, answers):
    """Their text has nothing but the name, as a simple client writes it."""

    async def run():
        async with fleet_of(3, tmp_path, redis_server, lease_timeout=60.0) as (owner, deaf, _):
            owner.beat("a")
            await until(lambda: owner.owned() == {"a"}, "joining")
            deaf.redis.cut(answers=answers)
            await passes_on(deaf, owner)

    asyncio.run(run())


def test_beats_of_what_others_have_taken_over_are_passed_on_at_once(tmp_path, redis_server):
    """Not only when the last beats are written, twice a second: a timeout may end before."""

    async def run():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=60.0) as (former, owner):
            former.beat("a")
            await until(lambda: former.owned() == {"a"}, "joining")
            await former.monitor.store.flush()
            former.redis.cut()
            await until(lambda: owner.owned() == {"a"}, "the take-over")
            (task,) = [task for task in former.monitor.upkeep._tasks if "checkpoint" in task.get_name()]
            task.cancel()
            await passes_on(former, owner)

    asyncio.run(run())
