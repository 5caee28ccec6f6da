# SPDX-License-Identifier: MIT
"""Things that one or two monitors do with names, rows, deadlines and changes, on a real server."""

from __future__ import annotations

import pytest

from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused
from heartfelt.monitor.store.redis.holdings import COMING_S
from heartfelt.monitor.store.redis.keys import SEQ_EPOCH_MS, SEQ_PER_MS, Entry, Keys, name_of
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.packing import unpack_change
from heartfelt.monitor.store.redis.pages import parts_of_mark
from tests.monitor.redis.leasing import Fleet, change, entries_of, join, lost, name, removed, row

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


def test_join(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES, 77)
    assert ours.flush() == []
    stored = fleet.check()
    assert {one: found[0] for one, found in stored.items()} == dict(zip(NAMES, entries, strict=True))
    assert {found[1] for found in stored.values()} == {ours.monitor_id}
    assert all(found[2] is not None for found in stored.values())
    for one, entry in zip(NAMES, entries, strict=True):
        shard = fleet.keys.shard_of(one)
        assert Keys.shard_of_id(entry.id) == shard
        fence = parts_of_mark(fleet.client.hget(fleet.keys.shard(shard, "own"), entry.page).decode())[1]
        key = fleet.keys.shard(shard, "page", entry.page, fence)
        assert fleet.client.getrange(key, entry.index * 8, entry.index * 8 + 7) == (77).to_bytes(8, "big")
    events = [unpack_change(seq, fields[b"c"]) for seq, fields in fleet.events()]
    assert sorted(event.id for event in events) == sorted(entry.id for entry in entries)


def test_seqs_grow_with_time(fleet):
    ours = fleet.started()
    (entry,) = fleet.joined(ours, NAMES[:1])
    shard = fleet.keys.shard_of(NAMES[0])
    before_ms = fleet.past_ms()
    write = join(NAMES[0], entry)._replace(changes=[change(NAMES[0], entry)] * 3)
    seqs = [seq for answer in ours.change([write, write]) for seq in answer.seqs]
    assert len(seqs) == 6
    assert [seq - seqs[0] for seq in seqs] == [0, 64, 128, 192, 256, 320]
    assert {seq % 64 for seq in seqs} == {shard}
    assert before_ms - 1000 <= seqs[0] // 64 // SEQ_PER_MS + SEQ_EPOCH_MS <= fleet.past_ms() + 1000
    fleet.client.hset(fleet.keys.shard(shard, "next"), "seq", (1 << 53) // 64 - 9)  # a clock that was far ahead
    seqs = [seq for answer in ours.change([write, write]) for seq in answer.seqs]
    assert seqs == [((1 << 53) // 64 - 8 + k) * 64 + shard for k in range(6)]
    assert [seq for seq, _ in fleet.events()][-6:] == seqs or fleet.keys.shards == 2


def test_names_of_any_bytes(fleet):
    first = fleet.started()
    metas = [{"k\n{}": "v" * 65_000, "n": 1 << 70, "s": "\udcff"}, *[{}] * (len(ODD) - 1)]
    entries = first.reserve(ODD)
    writes = [join(one, entry, meta=meta) for one, entry, meta in zip(ODD, entries, metas, strict=True)]
    assert all(isinstance(answer, Accepted) for answer in first.change(writes))
    first.stop()
    adopted = fleet.make().start()
    assert entries_of(adopted) == dict(zip(ODD, entries, strict=True))
    by_name = {name_of(one.row.service, one.row.instance_id): one.row.meta for one in adopted}
    assert [by_name[one] for one in ODD] == metas


def test_name_of_another_monitor(fleet):
    ours, theirs = fleet.started(), fleet.started()
    entries = fleet.joined(theirs, NAMES)
    answers = ours.reserve([*NAMES, name(99)])
    for answer, entry in zip(answers[:-1], entries, strict=True):
        assert answer[:3] == (entry, theirs.monitor_id, True)
    assert isinstance(answers[-1], Entry)
    fleet.end_lease(theirs)
    assert {answer.lives for answer in ours.reserve(NAMES)} == {False}
    assert all(owned.fence for owned in answers[:-1])


def test_reservation_whose_row_is_gone(fleet):
    """Its monitor died before CHANGE, or is about to ask for it for a second: whoever reserves it last has it."""
    ours, theirs = fleet.started(), fleet.started()
    before = theirs.reserve(NAMES)
    assert all(isinstance(one, Unreachable) for one in ours.reserve(NAMES)), (
        "taken from a monitor that is writing its row"
    )
    fleet.now_s += COMING_S
    after = ours.reserve(NAMES)
    assert all(type(entry) is Entry for entry in after)
    assert [entry.id for entry in after] == [entry.id for entry in before]
    assert {entry.generation for entry in after} == {1}
    writes = [join(one, entry) for one, entry in zip(NAMES, before, strict=True)]
    assert theirs.change(writes) == [Refused()] * len(NAMES)
    fleet.joined(ours, NAMES)
    assert {found[1] for found in fleet.check().values()} == {ours.monitor_id}
    assert len(theirs.reserve([name(n) for n in range(100, 120)])) == 20  # the slots are free again
    assert [type(answer) for answer in theirs.reserve(NAMES)] == [Owned] * len(NAMES)


def test_reservation_of_a_dead_monitor_whose_slot_was_used_again(fleet2):
    """A name whose entry points to a slot that has another's row by now is not taken for its owner."""
    dead = fleet2.started()
    dead.reserve(NAMES[:10])
    fleet2.end_lease(dead)
    ours = fleet2.make()
    ours.start()
    used = [name(n) for n in range(100, 150)]
    fleet2.joined(ours, used)
    entries = ours.reserve(NAMES[:10])
    assert all(type(entry) is Entry for entry in entries)
    theirs = fleet2.started()
    fleet2.joined(theirs, NAMES[10:])
    theirs.reserve(NAMES[:10])
    fleet2.now_s += COMING_S
    stale = theirs.reserve(NAMES[:10])
    assert all(type(entry) is Entry for entry in stale)
    fleet2.joined(theirs, NAMES[:10])
    assert len([one for one, found in fleet2.check().items() if found[2]]) == 70


@pytest.mark.parametrize("consent", [False, True])
def test_move(fleet, consent):
    ours, theirs = fleet.started(), fleet.started()
    entries = fleet.joined(theirs, NAMES, 12345)
    theirs.flush()
    owned = ours.reserve(NAMES)
    if not consent:
        assert ours.move([(one, at, False) for one, at in zip(NAMES, owned, strict=True)]) == [Refused()] * 20
        fleet.end_lease(theirs)
    moved = ours.move([(one, at, consent) for one, at in zip(NAMES, owned, strict=True)])
    for one, entry, adopted in zip(NAMES, entries, moved, strict=True):
        assert adopted.deadline_ms == 12345
        assert (adopted.entry.id, adopted.entry.generation) == (entry.id, entry.generation + 1)
        assert adopted.row == row(one, adopted.entry, State.NEW)
    assert {found[1] for found in fleet.check().values()} == {ours.monitor_id}
    assert theirs.set_deadline(entries[0], 1)  # it does not know yet
    renewal = theirs.renew()
    assert sorted(renewal.moved) == sorted(zip(NAMES, entries, strict=True))
    assert not theirs.set_deadline(entries[0], 2)
    assert theirs.renew().moved == []
    assert ours.move([(one, at, True) for one, at in zip(NAMES, owned, strict=True)]) == moved  # repeated
    assert theirs.move([(one, at, True) for one, at in zip(NAMES, owned, strict=True)]) == [Refused()] * 20
    fleet.joined(theirs, [name(n) for n in range(100, 120)])
    fleet.check()


def test_move_of_what_was_moved_on(fleet2):
    a, b, c = fleet2.started(), fleet2.started(), fleet2.started()
    fleet2.joined(a, NAMES[:1])
    (read,) = b.reserve(NAMES[:1])
    assert isinstance(c.move([(NAMES[0], *c.reserve(NAMES[:1]), True)])[0], Adopted)
    assert b.move([(NAMES[0], read, True)]) == [Refused()]
    (again,) = b.reserve(NAMES[:1])
    assert (again.owner, again.entry.generation) == (c.monitor_id, 1)


def test_full_list_of_moved(fleet2, monkeypatch):
    """Notices are bounded: when there were too many, all is compared."""
    monkeypatch.setattr("heartfelt.monitor.store.redis.joining.MOVED_MOST", 3)
    ours, theirs = fleet2.started(), fleet2.started()
    entries = fleet2.joined(theirs, NAMES)
    ours.move([(one, at, True) for one, at in zip(NAMES, ours.reserve(NAMES), strict=True)])
    assert fleet2.client.llen(fleet2.keys.shard(0, "moved", theirs.monitor_id)) == 4
    assert sorted(theirs.renew().moved) == sorted(zip(NAMES, entries, strict=True))
    more = [name(n) for n in range(50, 60)]
    joined = fleet2.joined(theirs, more)
    ours.move([(one, at, True) for one, at in zip(more, ours.reserve(more), strict=True)])
    assert sorted(theirs.renew().moved) == sorted(zip(more, joined, strict=True))  # there was no room for notices
    assert theirs.renew().moved == []
    assert fleet2.client.llen(fleet2.keys.shard(0, "moved", theirs.monitor_id)) == 0


def test_notices_have_an_end(fleet2):
    ours, theirs = fleet2.started(), fleet2.started()
    fleet2.joined(theirs, NAMES[:1])
    ours.move([(NAMES[0], *ours.reserve(NAMES[:1]), True)])
    shard = fleet2.keys.shard_of(NAMES[0])
    assert fleet2.client.pttl(fleet2.keys.shard(shard, "moved", theirs.monitor_id)) > 0


def test_loss(fleet):
    ours = fleet.started()
    (entry,) = fleet.joined(ours, NAMES[:1])
    past, future = fleet.past_ms(), fleet.past_ms() + 600_000
    ours.set_deadline(entry, future)
    assert ours.change([lost(NAMES[0], entry, past)]) == [Refused(early=True)]
    assert ours.change([lost(NAMES[0], entry, future)]) == [Refused(early=True)]
    ours.set_deadline(entry, past)
    (answer,) = ours.change([lost(NAMES[0], entry, past)])
    assert len(answer.seqs) == 1
    assert ours.change([lost(NAMES[0], entry, past)]) == [Refused(early=True)]  # no timeout runs
    assert len(fleet.events()) == 2
    ours.stop()
    (adopted,) = fleet.make().start()
    assert (adopted.row.state, adopted.deadline_ms) == (State.LOST, 0)


def test_loss_keeps_a_deadline_that_came_meanwhile(fleet2):
    link = fleet2.link()
    ours = fleet2.started(link=link)
    (entry,) = fleet2.joined(ours, NAMES[:1])
    past = fleet2.past_ms()
    ours.set_deadline(entry, past)
    ours.flush()
    execute = link.execute

    def and_beat(commands):
        ours.set_deadline(entry, 7)
        return execute(commands)

    link.execute = and_beat
    assert isinstance(ours.change([lost(NAMES[0], entry, past)])[0], Accepted)
    link.execute = execute
    ours.stop()
    assert [one.deadline_ms for one in fleet2.make().start()] == [7]


def test_remove(fleet):
    ours = fleet.started()
    entries = fleet.joined(ours, NAMES)
    answers = ours.change([removed(one, entry) for one, entry in zip(NAMES, entries, strict=True)])
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert fleet.check() == {}
    assert not ours.set_deadline(entries[0], 1)
    again = fleet.joined(ours, NAMES)
    assert not {entry.id for entry in again} & {entry.id for entry in entries}
    assert ours.n_pages <= fleet.keys.shards
    assert ours.change([removed(NAMES[0], entries[0])]) == [Refused()]


def test_stale_entry_does_not_write_the_next_ones_deadline(fleet2):
    ours = fleet2.started()
    (old,) = fleet2.joined(ours, NAMES[:1])
    ours.change([removed(NAMES[0], old)])
    (new,) = fleet2.joined(ours, NAMES[:1], 5)
    assert (new.page, new.index) == (old.page, old.index)
    assert not ours.set_deadline(old, 6)
    ours.stop()
    assert [one.deadline_ms for one in fleet2.make().start()] == [5]


def test_deadlines_that_no_clock_reaches(fleet2):
    ours = fleet2.started()
    entries = fleet2.joined(ours, NAMES[:3])
    for entry, ms in zip(entries, (-5, 1 << 80, (1 << 53) - 1), strict=True):
        assert ours.set_deadline(entry, ms)
    assert ours.change([lost(NAMES[1], entries[1], 1 << 80)]) == [Refused(early=True)]
    ours.stop()
    assert sorted(one.deadline_ms for one in fleet2.make().start()) == [0, (1 << 53) - 1, (1 << 53) - 1]


def test_stream_is_capped(fleet2):
    ours = fleet2.started(events_kept=100)
    entries = fleet2.joined(ours, NAMES[:1])
    write = join(NAMES[0], entries[0])._replace(changes=[change(NAMES[0], entries[0])] * 50)
    for _ in range(20):
        ours.change([write] * 2)
    assert 100 <= len(fleet2.events()) < 400


def test_find_makes_no_name_ours(fleet):
    ours, theirs = fleet.started(), fleet.started()
    (mine,) = fleet.joined(ours, NAMES[:1])
    (other,) = fleet.joined(theirs, NAMES[1:2])
    theirs.reserve(NAMES[2:3])  # its row never came
    before = fleet.check()
    found = ours.find(NAMES[:4])
    assert (found[0], found[1].entry, found[1].owner, found[1].lives) == (mine, other, theirs.monitor_id, True)
    assert found[2:] == [None, None]
    assert fleet.check() == before
