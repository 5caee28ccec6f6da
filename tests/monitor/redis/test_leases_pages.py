# SPDX-License-Identifier: MIT
"""Pages do not become more over the years: slots are used again, sparse pages are emptied, empty ones deleted."""

from __future__ import annotations

import random

import pytest

from heartfelt.monitor.store.redis.answers import Accepted
from heartfelt.monitor.store.redis.keys import SLOTS, Entry
from heartfelt.monitor.store.redis.link import Script
from tests.monitor.redis.leasing import Fleet, entries_of, join, name, removed


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port, 1)
    yield made
    made.close()


def leave(leases, entries: dict[bytes, Entry], names) -> None:
    answers = leases.change([removed(one, entries.pop(one)) for one in names])
    assert all(isinstance(answer, Accepted) for answer in answers)


def test_years_of_joins_and_leaves(fleet):
    rng = random.Random(1)
    ours = fleet.started()
    entries: dict[bytes, Entry] = {}
    most = 0
    for year in range(40):
        names = [name(1000 * year + n) for n in range(rng.randrange(100, 500))]
        entries |= dict(zip(names, fleet.joined(ours, names), strict=True))
        most = max(most, len(entries))
        leave(ours, entries, rng.sample(sorted(entries), max(0, len(entries) - rng.randrange(200, 900))))
        ours.renew()
    assert ours.n_pages <= -(-most // SLOTS) + 1
    assert {one: found[0] for one, found in fleet.check().items()}.keys() == entries.keys()


def test_sparse_pages_are_emptied(fleet):
    """Entries change then, and the old ones go on to work."""
    ours = fleet.started()
    names = [name(n) for n in range(10 * SLOTS)]
    entries = dict(zip(names, fleet.joined(ours, names, 5), strict=True))
    ours.flush()
    assert ours.n_pages == 10
    rest = names[::50]
    leave(ours, entries, [one for one in names if one not in set(rest)])
    for round_ in range(40):
        ours.set_deadline(entries[rest[round_]], 1000 + round_)  # also of those on the move
        assert ours.renew().moved == []
    assert ours.n_pages == 1
    stored = fleet.check()
    assert stored.keys() == entries.keys()
    n_moved = sum(stored[one][0] != entries[one] for one in rest)
    assert n_moved > 40
    assert ours.flush() == []
    assert all(ours.set_deadline(entries[one], 5) for one in rest[60:])
    assert all(isinstance(answer, Accepted) for answer in ours.change([join(one, entries[one]) for one in rest]))
    leave(ours, entries, rest[:20])
    assert not ours.set_deadline(fleet.check()[rest[30]][0]._replace(id=1 << 40), 5)
    ours.stop()
    adopted = fleet.make().start()
    assert entries_of(adopted).keys() == set(rest[20:])
    assert sorted(one.deadline_ms for one in adopted) == [5] * (len(rest) - 40) + [1000 + n for n in range(20, 40)]


@pytest.mark.parametrize("executed", [False, True])
def test_lost_answer_of_compaction(fleet, executed):
    link = fleet.link()
    ours = fleet.started(link=link)
    names = [name(n) for n in range(4 * SLOTS)]
    entries = dict(zip(names, fleet.joined(ours, names, 5), strict=True))
    leave(ours, entries, [one for n, one in enumerate(names) if n % 50])
    ours.flush()
    link.lose = lambda command: isinstance(command.words[0], Script) and command.words[0].name == "move"
    link.before = not executed
    ours.set_deadline(entries[names[0]], 6)
    ours.renew()
    assert ours.counts.doubts == 1
    assert ours.set_deadline(entries[names[50]], 7)
    link.lose = None
    renewal = ours.renew()
    assert renewal.moved == renewal.dropped == []
    for _ in range(10):
        ours.renew()
    assert all(ours.set_deadline(entry, 8) for one, entry in entries.items() if one not in names[:51])
    assert ours.flush() == []
    ours.stop()
    adopted = fleet.make().start()
    assert sorted(one.deadline_ms for one in adopted) == [6, 7] + [8] * (len(entries) - 2)
    fleet.check()


def test_moved_away_after_compaction(fleet):
    ours, theirs = fleet.started(), fleet.started()
    names = [name(n) for n in range(4 * SLOTS)]
    entries = dict(zip(names, fleet.joined(ours, names, 5), strict=True))
    leave(ours, entries, [one for n, one in enumerate(names) if n % 50])
    for _ in range(5):
        ours.renew()
    rest = sorted(entries)
    theirs.move(list(zip(rest, theirs.reserve(rest), [True] * len(rest), strict=True)))
    assert sorted((one, entry.id) for one, entry in ours.renew().moved) == [(one, entries[one].id) for one in rest]
    assert not any(ours.set_deadline(entry, 1) for entry in entries.values())
    ours.renew()
    assert ours.n_pages == 1
    fleet.check()


def test_page_that_comes_back_before_it_was_missed(fleet):
    """It takes the place of its former self, also among those with free slots."""
    ours, theirs = fleet.started(), fleet.started()
    names = [name(n) for n in range(20)]
    entries = fleet.joined(ours, names, 5)
    (mark,) = fleet.client.hvals(fleet.keys.shard(0, "own"))
    fleet.end_lease(ours)
    fleet.now_s += 600
    theirs.orphans()
    fleet.now_s += 600
    assert len(theirs.adopt(theirs.orphans())) == 20
    theirs.change([removed(names[0], entries[0])])
    theirs.stop()
    fleet.client.set(fleet.keys.shard(0, "lease", ours.monitor_id), 1)  # as if it had never ended
    adopted = ours.adopt(ours.orphans())
    assert entries_of(adopted) == dict(zip(names[1:], entries[1:], strict=True))
    assert fleet.client.hvals(fleet.keys.shard(0, "own")) != [mark]
    assert ours.flush() == [(names[0], entries[0])]
    assert ours.n_pages == 1
    fleet.joined(ours, [name(n) for n in range(100, 200)])
    renewal = ours.renew()
    assert renewal.moved == renewal.dropped == []
    assert len(fleet.check()) == 119


def test_reservations_of_dead_monitors_are_deleted(fleet):
    """Names that were reserved, and are never heard again."""
    for monitor in range(4):
        dead = fleet.started()
        dead.reserve([name(1000 * monitor + n) for n in range(400)])
        dead.stop()
    ours = fleet.make()
    ours.start()
    names = [name(10_000 + n) for n in range(1500)]
    fleet.joined(ours, names)
    fresh = [name(20_000 + n) for n in range(30)]
    theirs = fleet.started()
    reserved = [*ours.reserve(fresh[:10]), *theirs.reserve(fresh[10:])]
    assert fleet.client.hlen(fleet.keys.shard(0, "slot")) == 1600 + 1500 + 30
    for _ in range(20):
        ours.renew()
    left = fleet.client.hlen(fleet.keys.shard(0, "slot"))
    assert left == 1500 + 30
    assert ours.counts.swept == 1600
    for leases, some in ((ours, range(10)), (theirs, range(10, 30))):
        answers = leases.change([join(fresh[n], reserved[n]) for n in some])
        assert all(isinstance(answer, Accepted) for answer in answers)
    assert len(fleet.check()) == 1530
