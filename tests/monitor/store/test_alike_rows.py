# SPDX-License-Identifier: MIT
"""Instances that are alike are read together at a start: each as it would be alone, and damage is found as well."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.model import Ack, ExpectedBy, State
from heartfelt.monitor.store import opening
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store import damage, mutations
from tests.monitor.store.values import LOST, NOON_MS, Clock, instance


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("expected = 7", "expected is 7, out of range"),
        ("interval_ms = 'soon'", "interval_ms is text, not an integer"),
        ("since_ms = x'00'", "since_ms is a blob, not an integer"),
        ("state = 'ASLEEP'", "'ASLEEP' is not a valid State"),
        ("meta = '{'", "JSON"),
    ],
)
def test_a_damaged_instance_among_many_that_are_like_it(tmp_path, caplog, change, why):
    put(tmp_path, [instance(n) for n in range(1, 9)])
    mutations.change_row(tmp_path, f"UPDATE instances SET {change} WHERE id = 3")
    store = SqliteStore(tmp_path / damage.NAME, wall_ms=Clock())
    assert [one.id for one in store.open().instances] == [1, 2, 4, 5, 6, 7, 8]
    assert store.health().damaged_by_table["instances"] == 1
    store.close()
    assert why in caplog.text


@pytest.mark.parametrize("most_kinds", [1, 4096])
def test_instances_that_are_alike_are_read_as_each_alone_would_be(tmp_path, monkeypatch, most_kinds):
    monkeypatch.setattr(opening, "_MOST_KINDS", most_kinds)
    some = [
        instance(1),
        instance(2, peer="10.0.0.2:1", since_ms=NOON_MS + 5, first_seen_ms=NOON_MS - 9, skew_ms=-3, lag_ms=7),
        instance(3, reason=LOST, state=State.LOST, down_since_ms=NOON_MS, meta={"appName": "a"}),
        instance(4, reason=LOST, meta={"pluginInfoMap": {"p": {"name": "p", "version": "2"}}}),
        instance(5, interval_ms=5000, expected=True, expected_by=ExpectedBy.BEAT, last_beat_ms=NOON_MS + 50),
        instance(6, interval_ms=5000, expected=True, expected_by=ExpectedBy.BEAT),
        instance(7, ack=Ack(by="me", why="", at_ms=NOON_MS), before_pause=State.FAILED, paused_until_ms=NOON_MS),
        instance(8),
    ]
    put(tmp_path, some, {1: NOON_MS + 100, 5: NOON_MS + 1, 8: NOON_MS + 8})
    some[0].last_beat_ms, some[7].last_beat_ms = NOON_MS + 100, NOON_MS + 8
    store = SqliteStore(tmp_path / damage.NAME, wall_ms=Clock())
    found = store.open().instances
    store.close()
    for row in found:
        row.meta = row.meta.meta()
    assert found == some


def put(folder, instances, beats=None):
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
    store.open()
    for one in instances:
        store.put_instance(one)
    store.put_beats(beats or {})
    store.close()
