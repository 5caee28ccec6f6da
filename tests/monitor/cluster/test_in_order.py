# SPDX-License-Identifier: MIT
"""The order of changes for webhooks, and that leaders who hear them differently make the same messages of them."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor.cluster.in_order import InOrder, moment_ms
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS
from heartfelt.monitor.webhooks.damping import Damper, Damping
from heartfelt.monitor.webhooks.notices import of_change
from tests.monitor.webhooks.parts import START_MS, make_change

SHARDS = 4


def seq_at(ms, shard, n=0):
    return ((ms - SEQ_EPOCH_MS) * SEQ_PER_MS + n) * MOST_SHARDS + shard


def change_at(ms, shard, n=0, **more):
    return make_change(seq_at(ms, shard, n), time_ms=ms - 50, **more)


def seqs(changes):
    return [change.seq for change in changes]


def test_the_moment_of_a_seq():
    assert moment_ms(seq_at(START_MS, 63, 127)) == START_MS
    assert moment_ms(seq_at(START_MS, 0) - 1) == START_MS - 1


def test_changes_wait_for_the_shards_that_were_read_less_far():
    order = InOrder(2)
    a, b, c = change_at(START_MS, 0), change_at(START_MS + 5, 1), change_at(START_MS + 9, 0)
    order.read(0, [a, c], START_MS + 100)
    assert order.release() == []
    order.read(1, [b], START_MS + 8)
    found = order.release()
    assert seqs(found) == [a.seq, b.seq]
    assert [change.time_ms for change in found] == [START_MS, START_MS + 5]
    assert order.heard_ms == START_MS + 7
    order.read(1, [], START_MS + 50)
    assert seqs(order.release()) == [c.seq]
    assert order.cursors == {0: c.seq, 1: b.seq}


def test_of_a_shard_that_has_more_only_what_was_read_is_known():
    order = InOrder(2)
    burst = [change_at(START_MS + n, 0) for n in range(10)]
    other = change_at(START_MS + 7, 1)
    order.read(0, burst[:5], START_MS + 100, more=True)
    order.read(1, [other], START_MS + 100)
    assert seqs(order.release()) == seqs(burst[:4])
    order.read(0, burst[5:], START_MS + 100)
    assert seqs(order.release()) == seqs([*burst[4:8], other, *burst[8:]])


def test_one_shard_does_not_hold_the_others_up_for_ever():
    order = InOrder(2, patience_ms=1000)
    first, late = change_at(START_MS + 5, 0), change_at(START_MS, 1)
    order.read(0, [first], START_MS + 1000)
    assert order.release() == []
    order.read(0, [], START_MS + 1006)
    assert seqs(order.release()) == [first.seq]
    order.read(1, [late], START_MS + 2000)
    assert seqs(order.release()) == [late.seq]  # at once
    assert order.cursors == {0: first.seq, 1: late.seq}


# -- leaders


class Leader:
    """A leader's follower and damper. Hears shards when the dice say so."""

    def __init__(self, rng, changes, position=None):
        self.rng, self.position = rng, -1 if position is None else position
        self.told = {}
        damping = Damping(flap_changes=3, flap_window_ms=20_000, flap_quiet_ms=5_000, gather_long_ms=4_000)
        self.damper = Damper(damping, is_wall=False)
        self.last_seq = self.position
        self.order = InOrder(SHARDS, patience_ms=1 << 50)  # no shard is given up
        self.read_to = dict.fromkeys(range(SHARDS), self.position)
        self.changes = changes
        self.at_ms = START_MS
        for change in changes if position is not None else ():  # the damper's memory
            if change.seq <= position:
                self.offer(change)

    def put(self, notices):
        for notice in notices:
            if notice.last_seq is None or notice.last_seq > self.position:
                assert self.told.get(notice.key, notice) == notice
                self.told[notice.key] = notice

    def offer(self, change):
        at_ms = moment_ms(change.seq)
        entry = of_change(make_change(change.seq, time_ms=at_ms, service=change.service, instance=change.instance_id,
                                      old=change.old.value, new=change.new.value), False)  # fmt: skip
        self.put(self.damper.offer(entry))
        self.last_seq = max(self.last_seq, change.seq)

    def hear(self, now_ms):
        for shard in range(SHARDS):
            if self.rng.random() < 0.5:
                first, end = self.read_to[shard], seq_at(now_ms, 0)
                mine = [one for one in self.changes if one.seq % MOST_SHARDS == shard and first < one.seq < end]
                most = self.rng.choice((1, 3, 100))
                if mine[:most]:
                    self.read_to[shard] = mine[:most][-1].seq
                self.order.read(shard, mine[:most], now_ms, more=len(mine) > most)
        for change in self.order.release():
            self.offer(change)
        if self.rng.random() < 0.5:
            self.put(self.damper.advance(self.order.heard_ms))

    def saved(self):
        """The position that it would store now."""
        first = self.damper.first_open_seq()
        return self.last_seq if first is None else min(self.last_seq, first - 1)


def fleet_changes(rng):
    found, at_ms = [], START_MS
    for n in range(120):
        at_ms += rng.choice((0, 1, 10, 300, 900, 4000))
        down = rng.random() < 0.5
        found.append(
            change_at(at_ms, rng.randrange(SHARDS), n % SEQ_PER_MS, service=rng.choice("ab"), instance=f"i{n % 9}",
                      old="UP" if down else "LOST", new="LOST" if down else "UP")
        )  # fmt: skip
    return sorted(found, key=lambda change: change.seq), at_ms + 60_000


@pytest.mark.parametrize("seed", range(15))
def test_leaders_tell_the_same_whenever_they_hear_and_wherever_they_begin(seed):
    rng = random.Random(seed)
    changes, end_ms = fleet_changes(rng)

    def run(leader, from_ms, to_ms):
        now_ms = from_ms
        while now_ms < to_ms:
            now_ms += rng.choice((20, 100, 700))
            leader.hear(now_ms)
        return now_ms

    def finish(leader, from_ms):
        run(leader, from_ms, end_ms)
        for _ in range(200):
            leader.hear(end_ms)
        leader.put(leader.damper.advance(end_ms))
        return leader.told

    expected = finish(Leader(rng, changes), START_MS)
    assert "mass" in {notice.kind for notice in expected.values()}
    told, position, now_ms = {}, None, START_MS
    for _ in range(3):  # leaders that are killed
        leader = Leader(rng, changes, position)
        saved_at_ms = now_ms + rng.randrange(60_000)
        now_ms = run(leader, now_ms, saved_at_ms)
        position = leader.saved()
        now_ms = run(leader, now_ms, now_ms + rng.randrange(5_000))  # and puts more before it is killed
        for key, notice in leader.told.items():
            assert told.setdefault(key, notice) == notice
    for key, notice in finish(Leader(rng, changes, position), now_ms).items():
        assert told.setdefault(key, notice) == notice
    assert told == expected
