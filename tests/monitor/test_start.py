# SPDX-License-Identifier: MIT
"""How a monitor starts, and fails to, in a process that is not its own."""

from __future__ import annotations

import asyncio
import gc

import pytest

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor, StartError


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, is_enabled):
    async def start_and_stop(**options):
        monitor = Monitor(MonitorConfig(data=str(tmp_path), http_port=0, tcp_port=0, udp_port=0, **options))
        seen = []
        restore = monitor.registry.restore
        monitor.registry.restore = lambda saved: (seen.append(gc.isenabled()), restore(saved))
        try:
            await monitor.start()
        finally:
            seen.append(gc.isenabled())
            await monitor.stop()
        return seen

    (gc.enable if is_enabled else gc.disable)()
    try:
        assert asyncio.run(start_and_stop()) == [False, is_enabled]
        with pytest.raises(StartError, match="token"):
            asyncio.run(start_and_stop(host="0.0.0.0"))
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
