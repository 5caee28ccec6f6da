# SPDX-License-Identifier: MIT
"""The bound of a whole stop."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor
from tests.monitor.redis.servers import REDIS
from tests.monitor.redis.storing import a_prefix

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


def test_the_longest_stop_of_a_fleets_monitor_is_the_documented_one(tmp_path, redis_server):
    config = MonitorConfig(
        data=str(tmp_path), tcp_port=0, udp_port=0, cluster_port=0, store=redis_server.url, redis_prefix=a_prefix()
    )

    async def scenario():
        monitor = Monitor(config)
        await monitor.start()
        seconds = monitor.stopping.seconds
        await monitor.stop()
        return seconds

    seconds = asyncio.run(scenario())
    assert f"in a fleet {seconds:g} s" in Monitor.stop.__doc__
