# SPDX-License-Identifier: MIT
"""Tokens that cannot be read are logged within a rate: they are read every two seconds."""

from __future__ import annotations

import asyncio
import logging

import pytest

pytest.importorskip("msgspec")
from heartfelt.errors import StoreError
from heartfelt.monitor.web.auth import Auth


class Store:
    """Holds a damaged token, or fails."""

    fails = False

    async def documents(self, kind):
        if self.fails:
            raise StoreError("disk I/O error")
        return {"bad": {"name": "of nobody"}}


def test_one_line_for_a_damaged_token_and_for_a_disk_that_cannot_be_read(caplog):
    store = Store()
    auth = Auth(store, needed=True, wall_ms=lambda: 0)

    async def reload(count):
        for _ in range(count):
            await auth.reload()

    with caplog.at_level(logging.INFO):
        asyncio.run(reload(5))
        store.fails = True
        asyncio.run(reload(5))
        store.fails = False
        asyncio.run(reload(5))
    lines = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert lines == [
        "token bad is damaged in the store and therefore not valid",
        "cannot read the tokens; those already known stay valid",
        "the tokens can be read again, after 4 more failures",
    ]
    assert auth.reload_failures == 5
