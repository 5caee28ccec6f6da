# SPDX-License-Identifier: MIT
"""Questions to Redis while nothing happens: whether something was moved away, and whether there are orphans."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from heartfelt.monitor.store.pending import Dropped
from heartfelt.monitor.store.redis import renewing
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.link import Unreachable
from tests.monitor.redis.leasing import REFUSED, Fleet, entries_of, name

NAMES = [name(n) for n in range(20)]


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port, 4)
    yield made
    made.close()


def calls_of(leases, what):
    link = leases._holdings.link
    link.calls.clear()
    found = what()
    return found, link.calls.copy()


def moved(ours, names):
    ours.move([(one, at, True) for one, at in zip(names, ours.reserve(names), strict=True)])


def test_nothing_to_watch(fleet):
    ours = fleet.started()
    assert not ours.must_watch
    fleet.joined(ours, NAMES[:1])
    assert ours.must_watch
    assert calls_of(ours, ours.watch) == (None, ["EXISTS"])  # in one shard


def test_what_was_moved_away_is_seen_by_watching(fleet):
    ours, theirs = fleet.started(), fleet.started()
    entries = dict(zip(NAMES, fleet.joined(theirs, NAMES), strict=True))
    assert theirs.watch() is None
    moved(ours, NAMES[:1])
    renewal, calls = calls_of(theirs, theirs.watch)
    assert list(renewal.moved) == [(NAMES[0], entries[NAMES[0]])]
    assert len(renewal.renewed) == calls.count("renew") == 1
    again = theirs.watch()  # says that they have arrived
    assert not again.moved
    assert theirs.watch() is None
    moved(ours, NAMES[1:])
    assert len(theirs.watch().moved) == 19


def test_a_lease_that_has_ended_is_seen_by_watching(fleet):
    ours, theirs = fleet.started(), fleet.started()
    entries = fleet.joined(theirs, NAMES)
    fleet.end_lease(theirs)
    adopted = ours.adopt(ours.orphans())
    fleet.now_s += 601
    adopted += ours.adopt(ours.orphans())
    assert len(adopted) == 20
    assert sorted(entry for _, entry in theirs.watch().dropped) == sorted(entries)
    assert not theirs.must_watch


def test_a_shard_that_was_not_renewed_is_asked_until_it_is(fleet):
    link = fleet.link()
    ours = fleet.started(link=link)
    fleet.joined(ours, NAMES)
    refuses = {1}

    def execute(commands, execute=link.execute):
        commands = list(commands)
        return [REFUSED if one.shard in refuses else reply
                for one, reply in zip(commands, execute(commands), strict=True)]  # fmt: skip

    link.execute = execute
    assert ours.watch().unreachable == [1]
    assert ours.watch().unreachable == [1]
    refuses.clear()
    renewal = ours.watch()
    assert (renewal.unreachable, renewal.renewed) == ([], [1])
    assert ours.watch() is None
    refuses.update(range(4))
    with pytest.raises(Unreachable):
        ours.watch()
    with pytest.raises(Unreachable):
        ours.renew()


def test_search_for_orphans_reads_no_pages_while_nothing_happens(fleet):
    ours, theirs, third = (fleet.started() for _ in range(3))
    fleet.joined(theirs, NAMES)
    fleet.joined(third, [name(n) for n in range(20, 40)])
    assert ours.orphans() == []
    for _ in range(3):
        found, calls = calls_of(ours, ours.orphans)
        assert (found, set(calls)) == ([], {"HKEYS", "EXISTS"})
        assert len(calls) <= 1 + 2 * 4
    fleet.end_lease(theirs, [2])
    found, calls = calls_of(ours, ours.orphans)
    assert "HGETALL" in calls
    fleet.now_s += 601  # also those that fall to another monitor
    adopted = ours.adopt(ours.orphans())
    assert {fleet.keys.shard_of(one) for one in entries_of(adopted)} == {2}


def test_search_for_orphans_sees_monitors_that_came_after_it(fleet):
    ours = fleet.started()
    assert ours.orphans() == []
    theirs = fleet.started()
    fleet.joined(theirs, NAMES)
    assert ours.orphans() == []
    fleet.joined(theirs, [name(n) for n in range(100, 200)])
    theirs.stop()
    assert len(ours.adopt(ours.orphans())) == 120


def test_search_for_orphans_sees_a_lease_that_was_not_there(fleet):
    """A monitor had no lease in a shard when there were no orphans; it got one, owned something, and died."""
    ours, theirs = fleet.started(), fleet.started()
    fleet.end_lease(theirs, [0])
    assert ours.orphans() == []
    theirs.renew()
    names = [one for one in NAMES if fleet.keys.shard_of(one) == 0]
    fleet.joined(theirs, names)
    assert ours.orphans() == []
    fleet.end_lease(theirs, [0])
    assert entries_of(ours.adopt(ours.orphans())).keys() <= set(names)
    fleet.now_s += 601
    ours.adopt(ours.orphans())
    assert {found[1] for found in fleet.check().values()} == {ours.monitor_id}


def test_search_for_orphans_sees_own_pages_that_were_dropped(fleet):
    ours = fleet.started()
    fleet.joined(ours, NAMES)
    assert ours.orphans() == []
    for shard in ours._holdings.shards:
        for page in list(shard.pages.all.values()):
            ours._holdings.drop_page(shard, page)
    assert len(ours.adopt(ours.orphans())) == 20


class Counting:
    """Leases that count what they are asked."""

    renew_s, must_watch = 0.625, True

    def __init__(self):
        self.renewed = self.watched = 0
        self.fails = False

    def renew(self):
        self.renewed += 1
        if self.fails:
            raise Unreachable("down")
        return Renewal()

    def watch(self):
        self.watched += 1


@pytest.mark.parametrize(("owns", "fails", "wanted"), [(True, False, (8, 42)), (False, False, (4, 0)),
                                                       (False, True, (50, 0))])  # fmt: skip
def test_how_often_leases_are_renewed_in_one(monkeypatch, owns, fails, wanted):
    now_s = 100.0
    monkeypatch.setattr(renewing.time, "monotonic", lambda: now_s)
    leases = Counting()
    leases.must_watch, leases.fails = owns or fails, fails
    idle = SimpleNamespace(ended=False, flush_s=1000.0)
    one = renewing.Renewing(leases, idle, Dropped(), lambda outcome: None, 0.1)
    one.start()
    one.renew_soon()
    for _ in range(50):
        with contextlib.suppress(Unreachable):
            one.renew()
        now_s += 0.1
    assert (leases.renewed, leases.watched) == pytest.approx(wanted, abs=1)


def test_owners_are_those_of_a_reading_that_was_begun_after_a_death(fleet):
    ours, theirs = fleet.started(), fleet.started()
    ours.orphans()
    before = ours.reads
    fleet.joined(theirs, NAMES)
    ours.orphans()
    assert (theirs._holdings.me in ours.owners, ours.reads) == (False, before), (
        "nothing has happened that could leave orphans"
    )
    begun, _ = before
    fleet.end_lease(theirs)
    ours.orphans()
    assert theirs._holdings.me in ours.owners
    assert ours.reads[1] > begun
    ours.adopt(ours.orphans())
    while ours.orphans():
        fleet.now_s += 601
        ours.adopt(ours.orphans())
    begun, _ = ours.reads
    ours.orphans()
    assert ours.reads == (begun, begun), "calm"
    ours.read_owners()
    ours.orphans()
    assert ours.reads == (begun + 1, begun + 1)
