# SPDX-License-Identifier: MIT
"""Leases on the real link: to one server whose connection ends, and to a Redis Cluster."""

from __future__ import annotations

import pytest

from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned
from heartfelt.monitor.store.redis.holdings import COMING_S
from heartfelt.monitor.store.redis.keys import SLOTS
from heartfelt.monitor.store.redis.link import Unreachable
from tests.monitor.redis.leasing import CutOff, Fleet, entries_of, join, lost, name, poll, removed, row

NAMES = [name(n) for n in range(200)]


def go_through_everything(fleet: Fleet, link) -> None:
    """A life of three monitors, with all scripts."""
    first, second = fleet.started(link=link), fleet.started(link=link)
    entries = dict(zip(NAMES, fleet.joined(first, NAMES, 5), strict=True))
    assert first.flush() == []
    owned = second.reserve(NAMES[:50])
    assert {(type(one), one.lives) for one in owned} == {(Owned, True)}
    moved = second.move(list(zip(NAMES[:50], owned, [True] * 50, strict=True)))
    assert all(isinstance(one, Adopted) and one.deadline_ms == 5 for one in moved)
    assert dict(first.renew().moved) == {one: entries[one] for one in NAMES[:50]}
    for one in NAMES[60:70]:
        first.set_deadline(entries[one], 6)
    losses = first.change([lost(one, entries[one], 6) for one in NAMES[60:70]])
    assert all(len(one.seqs) == 1 for one in losses)
    assert all(isinstance(one, Accepted) for one in first.change([removed(one, entries[one]) for one in NAMES[50:60]]))
    assert all(type(one).__name__ == "Entry" for one in second.reserve(NAMES[50:60]))
    assert all(isinstance(one, Unreachable) for one in first.reserve(NAMES[50:60]))  # their rows may still come
    fleet.now_s += COMING_S
    assert all(type(one).__name__ == "Entry" for one in first.reserve(NAMES[50:60]))  # reclaimed: no row came
    first.stop()
    third = fleet.make(link=link)
    adopted = entries_of(third.start())
    fleet.now_s += 600
    third.orphans()
    fleet.now_s += 600
    adopted |= entries_of(third.adopt(third.orphans()))
    assert adopted.keys() == set(NAMES[60:])
    rest = third.change([join(one, entry) for one, entry in adopted.items()])
    assert all(isinstance(one, Accepted) for one in rest)
    for _ in range(3):
        assert third.renew().unreachable == []
    third.stop()
    second.stop()


@pytest.mark.parametrize("shards", [2, 64])
def test_one_server(redis_server, link_to, shards):
    fleet = Fleet(redis_server.port, shards)
    go_through_everything(fleet, link_to(redis_server.url))
    assert len(fleet.events()) == 200 + 10 + 10 + 140
    assert len({seq for seq, _ in fleet.events()}) == 360
    fleet.close()


def test_redis_cluster(redis_cluster, link_to):
    """All keys of a script are in one slot."""
    fleet = Fleet(redis_cluster.primaries()[0].port, 16)
    link = link_to(redis_cluster.url)
    go_through_everything(fleet, link)
    events = [link.call(shard, "XLEN", fleet.keys.shard(shard, "ev")) for shard in range(16)]
    assert sum(events) == 360


def test_compaction_on_a_cluster(redis_cluster, link_to):
    fleet = Fleet(redis_cluster.primaries()[0].port, 1)
    ours = fleet.started(link=link_to(redis_cluster.url))
    names = [name(n) for n in range(3 * SLOTS)]
    entries = dict(zip(names, fleet.joined(ours, names), strict=True))
    ours.change([removed(one, entries[one]) for n, one in enumerate(names) if n % 50])
    for _ in range(6):
        ours.renew()
    assert ours.n_pages == 1
    ours.stop()


def renewed(leases):
    """Renews, unless the server cannot be reached yet."""
    try:
        return leases.renew()
    except Unreachable:
        return None


def test_connection_that_ends_after_the_change_was_executed(redis_server, link_to):
    fleet, relay = Fleet(redis_server.port), CutOff(redis_server.port)
    try:
        ours = fleet.started(link=link_to(f"redis://127.0.0.1:{relay.port}"))
        entries = fleet.joined(ours, NAMES)
        before = len(fleet.events())
        writes = [join(one, entry, n + 1) for n, (one, entry) in enumerate(zip(NAMES, entries, strict=True))]
        relay.cut = lambda: poll(lambda: len(fleet.events()) == before + len(NAMES))
        answers = ours.change(writes)
        assert len(fleet.events()) == before + len(NAMES)  # it was executed
        assert all(isinstance(one, Unreachable) and not one.refused for one in answers)
        poll(lambda: renewed(ours))  # at once, unless the link is still looking for the server
        answers = ours.change(writes)
        assert {seq for one in answers for seq in one.seqs} <= {seq for seq, _ in fleet.events()}
        assert len(fleet.events()) == before + len(NAMES)
        assert ours.change([join(NAMES[0], entries[0])._replace(changes=())]) == [Accepted([])]
    finally:
        ours.stop()
        relay.close()
        fleet.close()


def test_redis_that_is_killed_and_comes_back_empty(make_redis, link_to):
    server = make_redis()
    fleet = Fleet(server.port)
    ours = fleet.started(link=link_to(server.url))
    entries = fleet.joined(ours, NAMES)
    server.end()
    assert all(isinstance(one, Unreachable) for one in ours.change([join(NAMES[0], entries[0], 1)]))
    with pytest.raises(Unreachable):
        ours.renew()
    server.start()

    renewal = poll(lambda: renewed(ours))
    assert (renewal.dropped, renewal.emptied, renewal.gone) == ([], len(NAMES), [0, 1])
    rows = {entry.id: row(one, entry) for one, entry in zip(NAMES, entries, strict=True)}
    assert ours.restore([(id, rows[id]) for id in ours.to_restore(1000)]) == [True] * len(NAMES)
    assert {one: entry for one, (entry, _, _) in fleet.check().items()} == dict(zip(NAMES, entries, strict=True))
    fleet.close()


def test_a_failover_that_loses_what_was_accepted(sentinel_trio, link_to):
    """The replica has lost its connection, and becomes the primary. What it did not get is written again."""
    primary, replica = sentinel_trio.primary, sentinel_trio.replica
    fleet = Fleet(primary.port)
    ours = fleet.started(link=link_to(sentinel_trio.url))
    kept = fleet.joined(ours, NAMES[:10])
    ours.renew()
    assert primary.ask("WAIT", 1, 10_000) == 1
    replica.stop()
    primary.ask("CLIENT", "KILL", "TYPE", "replica")
    gone = fleet.joined(ours, NAMES[10:20], 5)
    assert isinstance(ours.change([removed(NAMES[0], kept[0])])[0], Accepted)
    last = max(seq for seq, _ in fleet.events())
    primary.end()
    replica.cont()
    renewal = poll(lambda: renewed(ours))
    assert renewal.emptied == 19
    entries = dict(zip(NAMES[1:20], (*kept[1:], *gone), strict=True))
    rows = {entry.id: row(one, entry) for one, entry in entries.items()}
    assert ours.restore([(id, rows[id]) for id in ours.to_restore(99)]) == [True] * 19
    ours.renew()
    assert not ours.is_emptied
    after = Fleet(replica.port)
    after.keys = fleet.keys
    assert {one: entry for one, (entry, _, _) in after.check().items()} == entries  # what was removed is, again
    (answer,) = ours.change([removed(NAMES[1], kept[1])])
    assert all(seq > last for seq in answer.seqs if seq % 64 == last % 64)
    ours.stop()
    after.close()
