# SPDX-License-Identifier: MIT
"""Answers that get lost, commands that arrive late, a link that repeats, and monitors that die at any point."""

from __future__ import annotations

import random

import pytest

from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused
from heartfelt.monitor.store.redis.holdings import COMING_S
from heartfelt.monitor.store.redis.keys import Entry
from heartfelt.monitor.store.redis.link import Script, Unreachable
from tests.monitor.redis.leasing import CutOff, Fleet, OneServer, change, entries_of, join, name, poll, removed

NAMES = [name(n) for n in range(20)]


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port, 2)
    yield made
    made.close()


@pytest.fixture
def relay(redis_server):
    made = CutOff(redis_server.port)
    yield made
    made.close()


def is_script(*names: str):
    return lambda command: isinstance(command.words[0], Script) and command.words[0].name in names


def arrive(link: OneServer) -> list[object]:
    """Lets the commands that were held arrive, and returns their replies."""
    commands, link.held, link.lose, link.before = link.held, [], None, False
    return link.execute(commands)


def joins(entries, first=0):
    return [join(one, entry, first + n) for n, (one, entry) in enumerate(zip(NAMES, entries, strict=True))]


def test_connection_that_ends_after_the_change_was_executed(fleet, relay):
    link = OneServer(relay.port)
    fleet.links.append(link)
    ours = fleet.started(link=link)
    writes = joins(ours.reserve(NAMES), 1)
    ours.change(writes[:1])  # so that the script is known there
    relay.cut = lambda: poll(lambda: len(fleet.events()) == len(NAMES))
    answers = ours.change(writes[1:])
    assert all(isinstance(answer, Unreachable) and not answer.refused for answer in answers)
    assert len(fleet.events()) == len(NAMES)  # it was executed
    assert all(not answer.refused for answer in ours.change(writes[1:]))  # not known before the next renewal
    ours.renew()
    seqs = {seq for answer in ours.change(writes[1:]) for seq in answer.seqs}
    assert seqs < {seq for seq, _ in fleet.events()}
    assert len(seqs) == len(NAMES) - 1
    assert len(fleet.events()) == len(NAMES)
    assert ours.counts.doubts == 2


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("kind", ["join", "remove", "mixed"])
def test_lost_answer_of_a_change(fleet, executed, kind):
    link = fleet.link()
    ours = fleet.started(link=link)
    entries = fleet.joined(ours, NAMES)
    writes = joins(entries, 1)
    for n, (one, entry) in enumerate(zip(NAMES, entries, strict=True)):
        if kind == "remove" or (kind == "mixed" and n % 2):
            writes[n] = removed(one, entry, n + 1)
    writes += [join(name(99), Entry(1, 400, 0, 1 << 40), 99)]
    before = {seq for seq, _ in fleet.events()}
    link.lose, link.before = is_script("change"), not executed
    lost = ours.change(writes)
    assert all(isinstance(answer, Unreachable) for answer in lost[:-1])
    assert lost[-1] == Refused()
    link.lose = None
    ours.renew()
    if not executed:
        arrive(link)  # they are answered as the repeated ones were, and do nothing
    answers = ours.change(writes)
    assert all(isinstance(answer, Accepted) for answer in answers[:-1])
    assert {seq for answer in answers[:-1] for seq in answer.seqs} == {seq for seq, _ in fleet.events()} - before
    assert len(fleet.events()) == 2 * len(NAMES)
    left = {"join": 20, "remove": 0, "mixed": 10}[kind]
    assert len(fleet.check()) == left
    fresh = [name(n) for n in range(200, 200 + 2 * len(NAMES))]
    fleet.joined(ours, fresh)
    assert len(fleet.check()) == left + len(fresh)


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("script", ["reserve", "claim_page"])
def test_lost_answer_of_a_reservation(fleet, executed, script):
    link = fleet.link()
    ours = fleet.started(link=link)
    link.lose, link.before = is_script(script), not executed
    assert all(isinstance(answer, Unreachable) for answer in ours.reserve(NAMES))
    assert all(answer.refused for answer in ours.reserve(NAMES[:3]))
    link.lose = None
    ours.renew()
    arrive(link)
    ours.adopt(ours.orphans())  # a page of which it did not know
    fleet.joined(ours, [*NAMES, *(name(n) for n in range(100, 200))])
    assert len(fleet.check()) == 120
    assert ours.n_pages == 2


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("first", ["move", "reserve"])
def test_lost_answer_of_a_move(fleet, executed, first):
    link = fleet.link()
    ours, theirs = fleet.started(link=link), fleet.started()
    entries = fleet.joined(theirs, NAMES, 55)
    theirs.flush()
    owned = ours.reserve(NAMES)
    wanted = list(zip(NAMES, owned, [True] * 20, strict=True))
    link.lose, link.before = is_script("move"), not executed
    assert all(isinstance(answer, Unreachable) and not answer.refused for answer in ours.move(wanted))
    assert all(isinstance(answer, Unreachable) and answer.refused for answer in ours.move(wanted))
    link.lose = None
    assert ours.renew().moved == []
    ours.flush()
    assert set(arrive(link)) <= {b"lease"}
    if first == "reserve":
        owned = ours.reserve(NAMES)
        assert {(one.owner, one.lives) for one in owned} == (
            {(ours.monitor_id, False)} if executed else {(theirs.monitor_id, True)}
        )
        wanted = list(zip(NAMES, owned, [True] * 20, strict=True))
    answers = ours.move(wanted)
    assert {answer.deadline_ms for answer in answers} == {55}
    assert [answer.entry.id for answer in answers] == [entry.id for entry in entries]
    assert {answer.entry.generation for answer in answers} == {1}
    assert len(theirs.renew().moved) == len(NAMES)
    ours.set_deadline(answers[0].entry, 56)
    ours.flush()
    fleet.check()
    theirs.stop()
    ours.stop()
    assert sorted(one.deadline_ms for one in fleet.make().start()) == [55] * 19 + [56]


@pytest.mark.parametrize("executed", [False, True])
def test_lost_answer_of_an_adoption(fleet, executed):
    entries = fleet.joined(fleet.started(), NAMES, 5)
    for shard in range(2):
        for key in fleet.client.scan_iter(fleet.keys.shard(shard, "lease", "*").replace("{", "?").replace("}", "?")):
            fleet.client.delete(key)
    link = fleet.link()
    ours = fleet.make(link=link)
    link.lose, link.before = is_script("adopt"), not executed
    assert ours.start() == []
    link.lose = None
    ours.renew()
    assert set(arrive(link)) <= {b"lease"}
    assert entries_of(ours.adopt(ours.orphans())) == dict(zip(NAMES, entries, strict=True))
    fleet.check()


def test_rows_that_could_not_be_read_after_an_adoption(fleet):
    first = fleet.started()
    entries = fleet.joined(first, NAMES, 5)
    first.stop()
    link = fleet.link()
    ours = fleet.make(link=link)
    link.lose = lambda command: command.words[0] == "HGETALL" and b":rows:" in str(command.words[1]).encode()
    assert ours.start() == []
    assert all(type(answer) is Owned for answer in ours.reserve(NAMES))  # it is ours, but not known: not lost
    link.lose = None
    assert entries_of(ours.adopt(ours.orphans())) == dict(zip(NAMES, entries, strict=True))


def test_lost_answer_of_a_renewal(fleet):
    """It has taken the notices of what was moved away: these are found by comparing."""
    link = fleet.link()
    ours, theirs = fleet.started(), fleet.started(link=link)
    entries = fleet.joined(theirs, NAMES)
    ours.move(list(zip(NAMES[:9], ours.reserve(NAMES[:9]), [True] * 9, strict=True)))
    link.lose = is_script("renew")
    with pytest.raises(Unreachable):
        theirs.renew()
    link.lose = None
    renewal = theirs.renew()
    assert sorted(renewal.moved) == sorted(zip(NAMES[:9], entries, strict=False))
    assert not renewal.gone
    assert theirs.counts.doubts == 2


def test_late_flush_of_a_deposed_monitor(fleet):
    link = fleet.link()
    deposed, ours = fleet.started(link=link), fleet.started()
    (entry,) = fleet.joined(deposed, NAMES[:1], 5)
    deposed.flush()
    deposed.set_deadline(entry, 10**14)
    link.lose, link.before = (lambda command: command.words[0] == "SET"), True
    with pytest.raises(Unreachable):
        deposed.flush()
    fleet.end_lease(deposed)
    fleet.now_s += 600
    ours.orphans()
    fleet.now_s += 600
    assert [one.deadline_ms for one in ours.adopt(ours.orphans())] == [5]
    assert arrive(link) == [None]
    ours.stop()
    deposed.stop()
    assert [one.deadline_ms for one in fleet.make().start()] == [5]


def test_link_that_repeats_everything(fleet):
    """It does not know that the first time was executed. Nothing is done twice."""
    link = fleet.link()
    link.twice = True
    ours, theirs = fleet.started(link=link), fleet.started()
    entries = fleet.joined(ours, NAMES, 5)
    assert len(fleet.events()) == len(NAMES)
    writes = [removed(one, entry) for one, entry in zip(NAMES[:5], entries, strict=False)]
    assert all(len(answer.seqs) == 1 for answer in ours.change(writes))
    others = [name(n) for n in range(100, 120)]
    fleet.joined(theirs, others, 6)
    theirs.flush()
    moved = ours.move(list(zip(others, ours.reserve(others), [True] * 20, strict=True)))
    assert {one.deadline_ms for one in moved} == {6}
    theirs.reserve(NAMES[:5])
    ours.reserve(NAMES[:5])
    fleet.now_s += COMING_S
    assert all(type(answer) is Entry for answer in ours.reserve(NAMES[:5]))
    back = theirs.move(list(zip(others, theirs.reserve(others), [True] * 20, strict=True)))
    assert all(isinstance(one, Adopted) for one in back)
    assert sorted(ours.renew().moved) == sorted(
        (one, adopted.entry) for one, adopted in zip(others, moved, strict=True)
    )
    assert ours.renew().moved == []
    fleet.check()
    theirs.stop()
    fleet.now_s += 600
    ours.orphans()
    fleet.now_s += 600
    ours.renew()
    assert entries_of(ours.adopt(ours.orphans())).keys() == set(others)
    ours.set_deadline(back[0].entry, 7)
    assert ours.flush() == []
    assert len(fleet.check()) == 40


def test_clock_of_a_later_epoch(fleet):
    """A renewal that was on its way for long does not bring an old epoch back."""
    link = fleet.link()
    ours = fleet.started(link=link)
    fleet.joined(ours, NAMES)
    link.lose, link.before = is_script("renew"), True
    with pytest.raises(Unreachable):
        ours.renew()
    link.lose = None
    ours.renew()
    assert arrive(link) == [b"stale", b"stale"]
    fleet.joined(ours, [name(50)])


@pytest.mark.parametrize("seed", range(6))
def test_monitors_die_at_any_point(fleet, seed):
    """Each monitor is cut off before or after a random command, for good; another takes over, and so on."""
    rng = random.Random(seed)
    names = [name(n) for n in range(60)]
    accepted: dict[bytes, int] = {}
    for _ in range(12):
        link = fleet.link()
        ours = fleet.make(link=link)
        n_left = rng.randrange(4, 40)

        def dies(command, budget=[n_left]):  # noqa: B006
            budget[0] -= 1
            return budget[0] < 0

        link.lose, link.before = dies, rng.random() < 0.5
        known: dict[bytes, Entry] = {}
        try:
            known = entries_of(ours.start())
            for _ in range(4):
                fleet.now_s += 600
                known |= entries_of(ours.adopt(ours.orphans()))
                unknown = rng.sample([one for one in names if one not in known], min(8, len(names) - len(known)))
                for one, answer in zip(unknown, ours.reserve(unknown), strict=True):
                    if type(answer) is Entry:
                        known[one] = answer
                    elif isinstance(answer, Owned):
                        (moved,) = ours.move([(one, answer, False)])
                        if isinstance(moved, Adopted):
                            known[one] = moved.entry
                writes = [join(one, known[one]) for one in rng.sample(sorted(known), min(len(known), 10))]
                for write, answer in zip(writes, ours.change(writes), strict=True):
                    assert not isinstance(answer, Refused)
                    if isinstance(answer, Accepted):
                        accepted[write.name] = write.entry.id
                ours.flush()
        except Unreachable:
            pass
        link.lose = lambda command: True
        fleet.end_lease(ours)
        stored = fleet.check()
        for one, id in accepted.items():
            assert stored[one][0].id == id
            assert stored[one][2] is not None
    last = fleet.make()
    adopted = entries_of(last.start())
    assert set(accepted) <= set(adopted)
    for one, answer in zip(names, last.reserve(names), strict=True):
        assert type(answer) is (Owned if one in adopted else Entry)
    missing = [one for one in names if one not in adopted]
    answers = last.change(list(map(join, missing, last.reserve(missing))))
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert len(fleet.check()) == len(names)


def test_change_of_state_without_changes(fleet):
    ours = fleet.started()
    (entry,) = fleet.joined(ours, NAMES[:1])
    write = join(NAMES[0], entry)._replace(changes=())
    assert ours.change([write]) == [Accepted([])]
    more = write._replace(changes=[change(NAMES[0], entry, State.UP, State.NEW)])
    assert len(ours.change([more])[0].seqs) == 1
