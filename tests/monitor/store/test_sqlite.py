# SPDX-License-Identifier: MIT
"""The store in SQLite: the contract, and what only a file has."""

from __future__ import annotations

import sqlite3

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.model import Level
from heartfelt.monitor.store import EventCursor, EventFilter, queries, schema
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store.contract import StoreContract, run
from tests.monitor.store.values import a_run, change, instance


@pytest.mark.parametrize(
    ("which", "index"),
    [
        (EventFilter(), "events_at"),
        (EventFilter(scopes=("a",)), "events_at"),
        (EventFilter(services=("a",), levels=(Level.NORMAL,)), "events_service"),
        (EventFilter(instance_ids=("a",), services=("a",)), "events_instance"),
        (EventFilter(ips=("a",), types=("LOG",)), "events_ip"),
        (EventFilter(levels=(Level.NORMAL,), newest=5), "events_level"),
        (EventFilter(types=("LOG",), start_ms=5, end_ms=9), "events_type"),
        (EventFilter(names=("a", "b")), "events_name"),
    ],
)
def test_a_page_is_read_from_an_index_in_its_order(tmp_path, monkeypatch, which, index):
    monkeypatch.setattr(queries, "_FEW", 0)  # no range of time is small
    connection = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    schema.prepare(connection)
    for before in (None, EventCursor(7, 7)):
        selects, params = queries._selects(connection, which, before, 10)
        each = len(params) // len(selects)
        for select in selects:
            (plan,) = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {select}", params[:each])]
            assert f"USING INDEX {index}" in plan  # one step: nothing is sorted
            assert ("at_ms<" in plan) is (before is not None or which.end_ms is not None)
    connection.close()


class TestSqliteStore(StoreContract):
    def make(self, place, wall_ms):
        return SqliteStore(place / "data" / "heartfelt.db", wall_ms=wall_ms)

    def test_changes_keep_their_seqs_and_runs_are_numbered_on(self, again):
        store, saved = again()
        store.put_instance(instance(saved.next_id))
        for seq in (saved.next_seq + 3, saved.next_seq + 7):
            store.put_change(change(seq))
        store.put_run(a_run(8, id=saved.next_id))
        run(store.flush())
        found = run(store.changes(id=None, service=None, before=None, limit=9))
        assert [one.seq for one in found] == [saved.next_seq + 7, saved.next_seq + 3]
        assert again()[1].next_run == 9

    def say_what_is_few(self, monkeypatch, few):
        monkeypatch.setattr(queries, "_FEW", few)

    def scan_only(self, monkeypatch, count):
        monkeypatch.setattr(queries, "TEXT_SCAN", count)
