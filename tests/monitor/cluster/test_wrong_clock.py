# SPDX-License-Identifier: MIT
"""A monitor whose machine's clock is wrong by days, and that leads: it deletes nothing, and says so."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.member import ClusterMember
from heartfelt.monitor.config import MonitorConfig

DAY_MS = 86_400_000


@pytest.mark.parametrize("days", [30, -30])
def test_what_is_old_is_decided_by_the_earlier_of_both_clocks(redis_server, tmp_path, days):
    def wall_ms():
        return int(time.time() * 1000) + days * DAY_MS

    config = MonitorConfig(store=redis_server.url, data=str(tmp_path), redis_prefix=f"clock{days % 7}")
    member = ClusterMember(config, wall_ms)

    async def main():
        await member.check()
        return member.store._forgetting._wall_ms()

    try:
        by_ms = asyncio.run(main())
    finally:
        member.link.close()
    assert abs(by_ms - (min(0, days) * DAY_MS + time.time() * 1000)) < DAY_MS / 2
