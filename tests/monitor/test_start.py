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


@pytest.mark.parametrize(
    ("options", "why", "not_said"),
    [
        ({"auth_require": "always"}, ["auth.require is always", "set auth.require to auto"], "other machines"),
        ({"host": "0.0.0.0"}, ["other machines can reach", "http on 0.0.0.0", "host to 127.0.0.1"], "auth.require"),
        ({"tcp_host": "0.0.0.0"}, ["other machines can reach this monitor (tcp on 0.0.0.0)"], "http on"),
        (
            {"host": "0.0.0.0", "auth_require": "always"},
            ["auth.require to auto and host to 127.0.0.1"],
            "other machines",
        ),
    ],
)
def test_a_start_without_a_token_says_why_one_is_needed(tmp_path, options, why, not_said):
    config = MonitorConfig(data=str(tmp_path), http_port=0, tcp_port=0, udp_port=0, **options)
    monitor = Monitor(config)

    async def start():
        try:
            await monitor.start()
        finally:
            await monitor.stop()

    with pytest.raises(StartError) as caught:
        asyncio.run(start())
    text = str(caught.value)
    assert all(part in text for part in [*why, "heartfelt token create"]), text
    assert not_said not in text


def test_it_is_not_ready_from_the_beginning_of_a_stop(tmp_path):
    async def main():
        monitor = Monitor(MonitorConfig(data=str(tmp_path), http_port=0, tcp_port=0, udp_port=0))
        try:
            await monitor.start()
            before = monitor.readiness()
            monitor.begin_stop()
            return before, monitor.readiness()
        finally:
            await monitor.stop()

    before, after = asyncio.run(main())
    assert (before.ready, before.degraded) == (True, False)
    assert (after.ready, after.degraded) == (False, False)
