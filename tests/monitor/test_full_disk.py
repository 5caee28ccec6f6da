# SPDX-License-Identifier: MIT
"""A monitor whose disk is full: each part that writes logs that once, not once a second."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("uvicorn")
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.model import Beat
from heartfelt.monitor.monitor import Monitor
from tests.monitor.store.values import LONG_S


def test_a_full_disk_does_not_flood_the_log(tmp_path, monkeypatch, caplog):
    async def until(condition):
        end = time.monotonic() + LONG_S
        n = 0
        while not condition():
            assert time.monotonic() < end
            n += 1
            monitor.registry.beat(Beat(service="shop", instance_id=f"i-{n}", via="http", peer="10.0.0.1"))
            await asyncio.sleep(0.02)

    async def live():
        await monitor.start()
        try:
            file = monitor.store._file
            with monkeypatch.context() as patch:

                def full(batch):
                    raise sqlite3.OperationalError("database or disk is full")

                patch.setattr(file, "write", full)
                await until(lambda: monitor.webhooks.stats()["store_errors"] >= 3)
                assert not monitor.readiness().ready
            await until(lambda: monitor.readiness().ready)
            await until(lambda: any("is stored again" in line.getMessage() for line in caplog.records))
        finally:
            await monitor.stop()

    monitor = Monitor(MonitorConfig(data=str(tmp_path / "data"), http_port=0, tcp_port=0, udp_port=0))
    with caplog.at_level(logging.WARNING):
        asyncio.run(live())
    lines = [line.getMessage() for line in caplog.records if line.name.startswith("heartfelt.monitor")]
    for words in (
        "new records are kept in memory",
        "can be written again",
        "the position of the webhooks cannot be stored",
        "the position of the webhooks is stored again",
    ):
        assert sum(words in line for line in lines) == 1, lines
    assert len(lines) <= 6, lines
