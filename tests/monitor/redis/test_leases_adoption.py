# SPDX-License-Identifier: MIT
"""Monitors that end, stop for longer than their lease, and come back: others adopt what they had."""

from __future__ import annotations

import pytest

from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Refused
from heartfelt.monitor.store.redis.keys import Entry, name_of
from heartfelt.monitor.store.redis.link import Unreachable
from tests.monitor.redis.leasing import Fleet, entries_of, join, name, poll

NAMES = [name(n) for n in range(20)]
ODD = [
    name_of("", ""),
    name_of("a{b}c", "{7}\n\r\0*?[x]"),
    name_of("1:x", "y"),
    name_of("1", ":xy"),
    name_of("ü" * 100, "\udcff日本"),
    name_of("x" * 300, "%s %d \\ ' \""),
]


@pytest.fixture(params=[2, 64])
def fleet(redis_server, request):
    made = Fleet(redis_server.port, request.param)
    yield made
    made.close()


@pytest.fixture
def fleet2(redis_server):
    made = Fleet(redis_server.port, 2)
    yield made
    made.close()


def test_restart_of_a_fleet_of_one(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES, 99)
    ours.stop()
    adopted = fleet.make().start()
    assert entries_of(adopted) == dict(zip(NAMES, entries, strict=True))
    assert {one.deadline_ms for one in adopted} == {99}
    assert fleet.client.hlen(fleet.keys.fleet("mons")) == 1
    fleet.check()


def test_restart_after_kill(fleet2):
    """It starts at once; what its former self had is adopted when that one's lease ends."""
    entries = fleet2.joined(fleet2.started(lease_ms=500), NAMES)
    ours = fleet2.make()
    assert ours.start() == []
    assert ours.orphans() == []
    adopted = []

    def all_adopted():
        adopted.extend(ours.adopt(ours.orphans()))
        return len(adopted) == len(NAMES)

    poll(all_adopted)
    assert entries_of(adopted) == dict(zip(NAMES, entries, strict=True))


def test_adoption_is_shared(fleet):
    """Each adopts its part at once, and the rest after another lease."""
    dead = fleet.started()
    entries = fleet.joined(dead, [name(n) for n in range(3000)])
    a, b = fleet.started(), fleet.started()
    fleet.end_lease(dead)
    first, second = a.orphans(), b.orphans()
    assert not set(first) & set(second)
    assert len(first) + len(second) == dead.n_pages
    assert first
    assert second
    adopted = entries_of(a.adopt(first))
    assert a.orphans() == []
    fleet.now_s += 600
    assert set(a.orphans()) == set(second)
    adopted |= entries_of(b.adopt(second))
    assert sorted(adopted.values()) == sorted(entries)
    assert a.adopt(second) == []  # b was faster
    assert {found[1] for found in fleet.check().values()} == {a.monitor_id, b.monitor_id}


def test_deposed_monitor(fleet):
    """It was stopped for longer than its lease, and goes on: nothing that it writes counts."""
    deposed, ours = fleet.started(), fleet.started()
    entries = fleet.joined(deposed, NAMES, 50)
    deposed.flush()
    fleet.end_lease(deposed)
    adopted = ours.adopt(ours.orphans())
    fleet.now_s += 600
    adopted += ours.adopt(ours.orphans())
    assert len(adopted) == len(NAMES)
    before = fleet.check()
    deposed.set_deadline(entries[0], 10**13)
    gone = deposed.flush()
    assert (NAMES[0], entries[0]) in gone
    refused = deposed.change([join(one, entry) for one, entry in zip(NAMES, entries, strict=True)])
    assert all((isinstance(answer, Unreachable) and answer.refused) or answer == Refused() for answer in refused)
    assert any(isinstance(answer, Unreachable) and answer.refused for answer in refused)
    assert all(answer.refused for answer in deposed.reserve([name(99)]))
    renewal = deposed.renew()
    assert {fleet.keys.shard_of(one) for one in NAMES} <= set(renewal.gone)
    assert sorted([*gone, *renewal.dropped]) == sorted(zip(NAMES, entries, strict=True))
    assert fleet.check() == before
    deposed.stop()
    ours.stop()
    assert {one.deadline_ms for one in fleet.make().start()} == {50}


def test_monitor_that_lost_some(fleet2):
    """Its lease ended, nobody adopted its pages, but some instances were moved away meanwhile."""
    deposed, ours = fleet2.started(), fleet2.started()
    entries = dict(zip(NAMES, fleet2.joined(deposed, NAMES), strict=True))
    fleet2.end_lease(deposed)
    owned = ours.reserve(NAMES[:5])
    assert all(isinstance(one, Adopted) for one in ours.move(list(zip(NAMES[:5], owned, [False] * 5, strict=True))))
    for shard in range(2):
        fleet2.client.delete(fleet2.keys.shard(shard, "moved", deposed.monitor_id))
    renewal = deposed.renew()
    assert renewal.gone == [0, 1]
    assert renewal.dropped == []
    assert dict(renewal.moved) == {one: entries[one] for one in NAMES[:5]}
    rest = [join(one, entries[one]) for one in NAMES[5:]]
    assert all(isinstance(answer, Accepted) for answer in deposed.change(rest))


def test_lease_of_some_shards(fleet2):
    ours = fleet2.started()
    entries = dict(zip(NAMES, fleet2.joined(ours, NAMES), strict=True))
    fleet2.end_lease(ours, [1])
    answers = ours.change([join(one, entries[one]) for one in NAMES])
    for one, answer in zip(NAMES, answers, strict=True):
        expected = Accepted if fleet2.keys.shard_of(one) == 0 else Unreachable
        assert isinstance(answer, expected)
    assert ours.renew().gone == [1]
    assert all(isinstance(answer, Accepted) for answer in ours.change([join(one, entries[one]) for one in NAMES]))


def test_row_that_cannot_be_read(fleet2, caplog):
    ours = fleet2.started()
    entries = fleet2.joined(ours, NAMES)
    for one, entry in zip(NAMES[:8], entries, strict=False):
        key = fleet2.keys.shard(fleet2.keys.shard_of(one), "rows", entry.page)
        fleet2.client.hset(key, entry.index, entry.pack()[6:] + b"\x80")
    theirs = fleet2.started()
    owned = theirs.reserve(NAMES[:4])
    moved = theirs.move(list(zip(NAMES[:4], owned, [True] * 4, strict=True)))
    assert all(type(one) is Entry for one in moved)
    fleet2.joined(theirs, [name(n) for n in range(50, 60)])
    assert all(isinstance(a, Accepted) for a in theirs.change(list(map(join, NAMES[:4], moved))))
    ours.stop()
    again = fleet2.make()
    adopted = again.start()
    fleet2.now_s += 600
    adopted += again.adopt(again.orphans())  # also what was the other one's part
    assert entries_of(adopted).keys() == set(NAMES[8:])
    assert again.counts.unreadable == theirs.counts.unreadable == 4
    assert sum("cannot be read" in record.message for record in caplog.records) == 6  # three lines a minute each
    fleet2.joined(again, [*NAMES[4:8], *(name(n) for n in range(70, 80))])
    assert len(fleet2.check()) == 40


def test_page_whose_deadlines_are_gone(fleet2):
    ours = fleet2.started()
    fleet2.joined(ours, NAMES, 9)
    ours.stop()
    for key in fleet2.client.scan_iter(f"{fleet2.keys.prefix}:*:page:*"):
        fleet2.client.delete(key)
    again = fleet2.make()
    adopted = again.start()
    assert {one.deadline_ms for one in adopted} == {0}
    assert len(adopted) == len(NAMES)
    assert again.counts.lost_pages == 2
    fleet2.check()


def test_leases_are_renewed_during_a_long_take_over(fleet, monkeypatch):
    """Otherwise others would adopt what it is adopting."""
    monkeypatch.setattr("heartfelt.monitor.store.redis.adopting.PAGES_AT_ONCE", 1)
    dead = fleet.started()
    entries = fleet.joined(dead, [name(n) for n in range(2500)])
    dead.stop()
    link = fleet.link()
    execute = link.execute

    def slow(commands):
        fleet.now_s += 1.0
        return execute(commands)

    link.execute = slow
    ours = fleet.make(link=link, lease_ms=4000)
    assert len(ours.start()) == len(entries)
    n_adopted, n_renewed = link.calls.count("adopt"), link.calls.count("renew") // fleet.keys.shards
    assert n_adopted == dead.n_pages
    assert n_renewed == n_adopted
    assert ours.renew().gone == []
    assert len(fleet.check()) == len(entries)
