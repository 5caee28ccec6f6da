# SPDX-License-Identifier: MIT
"""Redis has lost what monitors own: they write it again, and agree on what others have joined meanwhile."""

from __future__ import annotations

import pytest

from heartfelt.monitor.store.redis.answers import Accepted, Owned, Refused
from heartfelt.monitor.store.redis.keys import SLOTS, Entry, name_of
from heartfelt.monitor.store.redis.link import Unreachable
from tests.monitor.redis.leasing import Fleet, join, lost, name, removed, row

NAMES = [name(n) for n in range(700)]


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port)
    yield made
    made.close()


def empty(fleet):
    fleet.client.delete(*fleet.client.scan_iter(f"{fleet.keys.prefix}:*", count=10_000))


def restore_all(leases, rows):
    """rows: entry -> row, by name."""
    by_id = {one.id: one for one in rows.values()}
    refused = set()
    for _ in range(50):
        if not leases.is_emptied:
            return refused
        ids = leases.to_restore(100)
        answers = leases.restore([(id, by_id.get(id)) for id in ids])
        refused |= {id for id, answer in zip(ids, answers, strict=True) if isinstance(answer, Refused)}
        leases.renew()
    raise AssertionError("it is not whole again")


def rows_of(names, entries):
    return {one: row(one, entry) for one, entry in zip(names, entries, strict=True)}


def test_everything_is_written_again_with_its_ids_and_deadlines(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES, 5)
    ours.renew()
    before = fleet.check()
    last = max(seq for seq, _ in fleet.events())
    empty(fleet)
    renewal = ours.renew()
    assert (renewal.emptied, renewal.dropped, renewal.moved) == (len(NAMES), [], [])
    assert ours.is_emptied
    assert ours.n_restoring == len(NAMES)
    assert isinstance(ours.change([join(NAMES[0], entries[0])])[0], Unreachable)
    assert restore_all(ours, rows_of(NAMES, entries)) == set()
    assert {one: entry for one, (entry, _, _) in fleet.check().items()} == {
        one: entry for one, (entry, _, _) in before.items()
    }
    other = fleet.started()
    fleet.end_lease(ours)
    fleet.now_s += 600
    other.orphans()
    fleet.now_s += 600
    assert {one.deadline_ms for one in other.adopt(other.orphans())} == {5}
    (seqs,) = [one.seqs for one in other.change([join(NAMES[0], entries[0])])]
    assert all(seq > last for seq in seqs)
    assert ours.counts.restored == ours.counts.emptied == len(NAMES)


def test_a_page_that_is_flushed_before_the_renewal_is_not_taken_for_adopted(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES[:10], 5)
    empty(fleet)
    ours.set_deadline(entries[0], 7)
    with pytest.raises(Unreachable):
        ours.flush()
    assert ours.renew().emptied == 10
    restore_all(ours, rows_of(NAMES[:10], entries))
    assert ours.flush() == []


def test_a_stopped_monitor_does_not_write_again_what_others_have_adopted(fleet):
    ours, other = fleet.started(), fleet.started()
    fleet.joined(ours, NAMES)
    fleet.end_lease(ours)
    other.orphans()
    fleet.now_s += 600
    other.adopt(other.orphans())
    renewal = ours.renew()
    assert (renewal.emptied, len(renewal.dropped)) == (0, len(NAMES))
    assert not ours.is_emptied


def test_a_name_that_another_monitor_has_got_meanwhile_comes_back_to_the_one_that_had_it(fleet):
    ours, other = fleet.started(), fleet.started()
    entries = fleet.joined(ours, NAMES)
    empty(fleet)
    other.renew()
    theirs = dict(zip(NAMES[:20], fleet.joined(other, NAMES[:20]), strict=True))  # in pages with the same numbers
    assert ours.renew().emptied == len(NAMES)
    assert restore_all(ours, rows_of(NAMES, entries)) == set()
    found = fleet.check()
    assert {owner for _, owner, _ in found.values()} == {ours.monitor_id}
    assert [found[one][0].id for one in NAMES] == [entry.id for entry in entries]
    assert dict(other.renew().moved) == theirs
    assert all(isinstance(one, Accepted) for one in ours.change([removed(NAMES[0], entries[0])]))
    deadline_ms = fleet.past_ms()
    ours.set_deadline(entries[1], deadline_ms)
    assert isinstance(ours.change([lost(NAMES[1], entries[1], deadline_ms)])[0], Accepted)


def test_the_one_that_took_an_instance_over_last_has_it(fleet):
    """Both believe to have it: Redis lost the move, or the notice."""
    first, second = fleet.started(), fleet.started()
    entries = fleet.joined(first, NAMES[:5])
    owned = second.reserve(NAMES[:5])
    moved = second.move([(one, answer, True) for one, answer in zip(NAMES[:5], owned, strict=True)])
    empty(fleet)
    first.renew()
    restore_all(first, rows_of(NAMES[:5], entries))
    second.renew()
    assert restore_all(second, {one: row(one, new.entry) for one, new in zip(NAMES[:5], moved, strict=True)}) == set()
    assert {owner for _, owner, _ in fleet.check().values()} == {second.monitor_id}
    assert len(first.renew().moved) == 5


def test_the_older_one_loses_if_the_newer_one_is_there_first(fleet):
    first, second = fleet.started(), fleet.started()
    entries = fleet.joined(first, NAMES[:5])
    owned = second.reserve(NAMES[:5])
    moved = second.move([(one, answer, True) for one, answer in zip(NAMES[:5], owned, strict=True)])
    empty(fleet)
    second.renew()
    restore_all(second, {one: row(one, new.entry) for one, new in zip(NAMES[:5], moved, strict=True)})
    first.renew()
    assert restore_all(first, rows_of(NAMES[:5], entries)) == {entry.id for entry in entries}
    assert {owner for _, owner, _ in fleet.check().values()} == {second.monitor_id}


def test_what_waits_for_its_removal_is_there_without_a_row(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES[:3])
    empty(fleet)
    ours.renew()
    assert restore_all(ours, rows_of(NAMES[:2], entries[:2])) == set()
    (answer,) = ours.change([removed(NAMES[2], entries[2])])
    assert isinstance(answer, Accepted)
    assert fleet.check().keys() == set(NAMES[:2])


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("script", ["restore_page", "restore", "move", "change"])
def test_answers_get_lost_meanwhile(fleet, script, before):
    ours, other = fleet.started(), fleet.started()
    link = fleet.links[0]
    entries = fleet.joined(ours, NAMES[:300])
    empty(fleet)
    other.renew()
    fleet.joined(other, NAMES[:20])
    left = [2]

    def lose(command):
        if getattr(command.words[0], "name", None) == script and left[0]:
            left[0] -= 1
            return True
        return False

    link.lose, link.before = lose, before
    ours.renew()
    assert restore_all(ours, rows_of(NAMES[:300], entries)) == set()
    assert left == [0]
    found = fleet.check()
    assert {owner for _, owner, _ in found.values()} == {ours.monitor_id}
    assert {entry.id for entry, _, _ in found.values()} == {entry.id for entry in entries}


def test_a_replica_without_the_last_writes(fleet):
    """Pages and leases are there, though what was accepted last is gone."""
    ours = fleet.started()
    kept = fleet.joined(ours, NAMES[:10])
    ours.renew()
    saved = {key: fleet.client.dump(key) for key in fleet.client.scan_iter(f"{fleet.keys.prefix}:*", count=10_000)}
    gone = fleet.joined(ours, NAMES[10:20], 5)
    assert isinstance(ours.change([removed(NAMES[0], kept[0])])[0], Accepted)
    empty(fleet)
    for key, data in saved.items():
        fleet.client.restore(key, 600_000 if b":lease:" in key else 0, data)
    renewal = ours.renew()
    assert renewal.emptied == 19
    entries = [*kept[1:], *gone]
    assert restore_all(ours, rows_of(NAMES[1:20], entries)) == set()
    found = {one: entry for one, (entry, _, _) in fleet.check().items()}
    assert found == dict(zip(NAMES[1:20], entries, strict=True)), "what was removed is, again"
    ours.renew()
    assert not ours.is_emptied
    assert fleet.joined(ours, NAMES[:1])


def test_an_answer_of_change_that_is_missing_is_no_loss_of_data(fleet):
    ours = fleet.started()
    link = fleet.links[0]
    entries = fleet.joined(ours, NAMES[:10])
    for before in (True, False):
        link.before, link.lose = before, lambda command: getattr(command.words[0], "name", None) == "change"
        writes = [join(one, entry, 1 + before) for one, entry in zip(NAMES[:10], entries, strict=True)]
        assert all(isinstance(one, Unreachable) for one in ours.change(writes))
        link.lose = None
        assert ours.renew().emptied == 0
        assert all(isinstance(one, Accepted) for one in ours.change(writes))


def test_the_change_that_had_no_answer_when_redis_was_emptied_is_made_afterwards(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES[:10])
    link = fleet.links[0]
    link.lose = lambda command: getattr(command.words[0], "name", None) == "change"
    writes = [join(one, entry, n + 1) for n, (one, entry) in enumerate(zip(NAMES[:10], entries, strict=True))]
    assert all(isinstance(one, Unreachable) for one in ours.change(writes))
    link.lose = None
    empty(fleet)
    ours.renew()
    restore_all(ours, rows_of(NAMES[:10], entries))
    assert all(isinstance(one, Accepted) for one in ours.change(writes))
    assert len(fleet.events()) == 10


def test_a_monitor_whose_lease_ends_while_it_restores(fleet):
    """Another one adopts the pages, with a part of their rows."""
    ours, other = fleet.started(), fleet.started()
    entries = fleet.joined(ours, NAMES[:300])
    rows = rows_of(NAMES[:300], entries)
    empty(fleet)
    ours.renew()
    other.renew()
    by_id = {one.id: one for one in rows.values()}
    ours.restore([(id, by_id[id]) for id in ours.to_restore(100)])
    fleet.end_lease(ours)
    other.orphans()
    fleet.now_s += 600
    assert len(other.adopt(other.orphans())) == 100
    ours.renew()
    restore_all(ours, rows)
    ours.renew()
    other.renew()
    found = fleet.check()
    assert found.keys() == set(NAMES[:300])
    assert {entry.id for entry, _, _ in found.values()} == by_id.keys()


def test_many(fleet):
    """No call of a script takes long."""
    ours = fleet.started()
    names = [name_of("many", str(n)) for n in range(8 * SLOTS)]
    entries = fleet.joined(ours, names)
    empty(fleet)
    fleet.client.config_resetstat()
    ours.renew()
    restore_all(ours, rows_of(names, entries))
    assert len(fleet.check()) == len(names)
    assert all(type(one) is Entry for one in ours.find(names[:50]))
    assert isinstance(fleet.started().reserve(names[:1])[0], Owned)


def test_a_cluster_of_which_one_server_was_emptied(redis_cluster, link_to):
    server = redis_cluster.primaries()[0]
    fleet = Fleet(server.port, 16)
    link = link_to(redis_cluster.url)
    ours = fleet.started(link=link)
    entries = fleet.joined(ours, NAMES)
    server.ask("FLUSHALL")
    renewal = ours.renew()
    assert 0 < renewal.emptied < len(NAMES)
    rows = {entry.id: row(one, entry) for one, entry in zip(NAMES, entries, strict=True)}
    ids = ours.to_restore(1000)
    assert len(ids) == renewal.emptied
    assert ours.restore([(id, rows[id]) for id in ids]) == [True] * len(ids)
    ours.renew()
    assert not ours.is_emptied
    writes = [join(one, entry) for one, entry in zip(NAMES, entries, strict=True)]
    assert all(isinstance(one, Accepted) for one in ours.change(writes))
    ours.stop()
