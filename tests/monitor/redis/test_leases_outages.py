# SPDX-License-Identifier: MIT
"""Redis that cannot be reached, is empty, or refuses to write: nothing is done by halves, and all goes on later."""

from __future__ import annotations

import pytest

from heartfelt.monitor.store.redis.answers import Accepted
from heartfelt.monitor.store.redis.keys import Entry
from heartfelt.monitor.store.redis.link import Unreachable
from tests.monitor.redis.leasing import Fleet, join, name, removed, row

NAMES = [name(n) for n in range(20)]


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port, 2)
    yield made
    made.close()


@pytest.fixture
def empty_fleet(tmp_path, redis_server):
    """On a server of its own, which a test may empty."""
    server = type(redis_server)(tmp_path)
    made = Fleet(server.port, 2)
    yield made
    made.close()
    server.end()


def joins(entries, first=0):
    return [join(one, entry, first + n) for n, (one, entry) in enumerate(zip(NAMES, entries, strict=True))]


def test_one_shard_that_cannot_be_reached(fleet):
    link = fleet.link()
    ours = fleet.started(link=link)
    link.lose, link.before = (lambda command: command.shard == 1), True
    answers = ours.reserve(NAMES)
    for one, answer in zip(NAMES, answers, strict=True):
        assert isinstance(answer, Unreachable if fleet.keys.shard_of(one) else Entry)
    assert ours.renew().unreachable == [1]
    assert ours.flush() == []
    link.held.clear()
    link.lose = None
    assert ours.renew().unreachable == []
    fleet.joined(ours, NAMES)


def test_nothing_can_be_reached(fleet):
    link = fleet.link()
    ours = fleet.started(link=link)
    entries = fleet.joined(ours, NAMES)
    link.lose, link.before = (lambda command: True), True
    with pytest.raises(Unreachable):
        ours.renew()
    assert ours.set_deadline(entries[0], 4)
    with pytest.raises(Unreachable):
        ours.flush()
    assert all(isinstance(answer, Unreachable) for answer in ours.change(joins(entries)))
    assert ours.orphans() == []
    ours.stop()
    with pytest.raises(Unreachable):
        fleet.make(link=link).start()


def test_redis_restarted_empty(empty_fleet):
    """Nothing is dropped: all is written again."""
    fleet = empty_fleet
    ours, theirs = fleet.started(), fleet.started()
    entries = fleet.joined(ours, NAMES, 5)
    owned = theirs.reserve(NAMES)
    fleet.client.flushall()
    fleet.client.script_flush()
    assert all(answer.refused for answer in ours.change(joins(entries)))
    assert all(answer.refused for answer in theirs.move([(NAMES[0], owned[0], True)]))
    assert all(answer.refused for answer in theirs.reserve(NAMES))
    assert theirs.orphans() == []
    ours.set_deadline(entries[0], 9)
    with pytest.raises(Unreachable):
        ours.flush()
    renewal = ours.renew()
    assert renewal.gone == [0, 1]
    assert (renewal.dropped, renewal.emptied) == ([], 20)
    assert theirs.renew().gone == [0, 1]
    assert all(answer.refused for answer in ours.change(joins(entries)))
    rows = {entry.id: row(one, entry) for one, entry in zip(NAMES, entries, strict=True)}
    assert ours.restore([(id, rows[id]) for id in ours.to_restore(99)]) == [True] * 20
    ours.renew()
    assert not ours.is_emptied
    assert ours.flush() == []
    assert all(isinstance(answer, Accepted) for answer in ours.change(joins(entries)))
    assert {one: entry for one, (entry, _, _) in fleet.check().items()} == dict(zip(NAMES, entries, strict=True))


def test_out_of_memory(empty_fleet):
    """Nothing is done by halves; leases live on, and all goes on as soon as there is memory."""
    fleet = empty_fleet
    ours = fleet.started(lease_ms=60_000)
    entries = fleet.joined(ours, NAMES)
    theirs = fleet.started()
    owned = theirs.reserve(NAMES)
    before = fleet.check()
    n_events = len(fleet.events())
    fleet.client.config_set("maxmemory", 1)
    writes = joins(entries, 1)
    writes[::2] = [removed(one, entry, 99 + n) for n, (one, entry) in enumerate(zip(NAMES, entries, strict=True))][::2]
    assert all(answer.refused for answer in ours.change(writes))
    assert all(answer.refused for answer in ours.reserve([name(99)]))
    assert all(answer.refused for answer in theirs.move(list(zip(NAMES, owned, [True] * 20, strict=True))))
    renewal = ours.renew()
    assert renewal.unreachable == renewal.gone == []
    ours.set_deadline(entries[1], 4)
    with pytest.raises(Unreachable):
        ours.flush()
    assert fleet.check() == before
    assert len(fleet.events()) == n_events
    fleet.client.config_set("maxmemory", 0)
    assert ours.flush() == []
    assert all(isinstance(answer, Accepted) for answer in ours.change(writes))
    assert ours.counts.doubts == 0
