# SPDX-License-Identifier: MIT
"""Names of monitors that have died, until others have taken over all that they owned."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.entries import FleetMember
from heartfelt.monitor.cluster.member import ClusterMember
from heartfelt.monitor.config import MonitorConfig


@pytest.fixture
def member(tmp_path, monkeypatch):
    made = ClusterMember(MonitorConfig(data=str(tmp_path), store="redis://127.0.0.1:1"), lambda: 0)
    nobody = SimpleNamespace(set_living=lambda living: None, look_soon=lambda: None, look_for_orphans=lambda: None)
    made.channel = SimpleNamespace(peers=SimpleNamespace(set_peers=lambda peers: None))
    made.availability = made.census = made.status = made.ownership = nobody
    made.store = SimpleNamespace(leases=SimpleNamespace(owners=frozenset(), reads=(1, 1)))
    made.store.leases.asked = []
    made.store.leases.read_owners = lambda: made.store.leases.asked.append(made.store.leases.reads)
    made.membership = SimpleNamespace(living={})
    return made


def lives(member, *ids):
    living = {id: FleetMember(address="", version="", start_ms=0, host=id.upper()) for id in ids}
    member.membership.living = living
    member._changed(living)


def test_one_that_died_is_named_until_a_later_reading_says_what_it_owned(member):
    leases = member.store.leases
    lives(member, "a", "b", "c")
    assert member._gone() == []
    leases.reads = (2, 1)  # a reading is under way, begun before the death
    lives(member, "a", "b")
    assert leases.asked == [(2, 1)], "all may have been taken over before: then nothing else begins a reading"
    assert [name[0] for name in member._gone()] == ["C"]
    leases.reads = (2, 2)
    assert [name[0] for name in member._gone()] == ["C"], "it may have owned its first page since"
    leases.owners, leases.reads = frozenset("bc"), (3, 3)
    assert [name[0] for name in member._gone()] == ["C"]
    leases.owners, leases.reads = frozenset("b"), (4, 4)
    assert member._gone() == []


def test_one_that_owned_nothing_or_lives_again_is_not_named(member):
    leases = member.store.leases
    lives(member, "a", "b", "c")
    lives(member, "a")
    assert [name[0] for name in member._gone()] == ["B", "C"]
    lives(member, "a", "b")
    assert [name[0] for name in member._gone()] == ["C"]
    leases.reads = (2, 2)
    assert member._gone() == []
