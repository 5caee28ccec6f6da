# SPDX-License-Identifier: MIT
"""The store in SQLite: the contract, and what only a file has."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.store import queries
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store.contract import StoreContract


class TestSqliteStore(StoreContract):
    def make(self, place, wall_ms):
        return SqliteStore(place / "data" / "heartfelt.db", wall_ms=wall_ms)

    def say_what_is_few(self, monkeypatch, few):
        monkeypatch.setattr(queries, "_FEW", few)

    def scan_only(self, monkeypatch, count):
        monkeypatch.setattr(queries, "TEXT_SCAN", count)
