# SPDX-License-Identifier: MIT
"""Beats and inputs that wait for one monitor, and the form in which they are sent."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from heartfelt.errors import FrameError
from heartfelt.monitor.cluster.channel import feed as feed_module
from heartfelt.monitor.cluster.channel.feed import INPUT_BYTES, MOST_PARTS, WINDOW, PeerFeed
from heartfelt.monitor.cluster.channel.frames import (
    BEATS,
    BEATS_IN_FRAME,
    INPUTS,
    FrameReader,
    Input,
    Transit,
    frame,
    pack_beats,
    unpack_beats,
    unpack_inputs,
)

NOW_MS = 1_000_000


def text(data, heard_ms=NOW_MS):
    return Input("json", data, "http", "10.0.0.1", heard_ms)


def sent(feed, now_ms=NOW_MS):
    """Returns what goes out now: [(number, ids or data)]."""
    feed.release()
    reader, found = FrameReader(1 << 30), []
    while (data := feed.take(now_ms)) is not None:
        reader.feed(data)
        kind, number, body = reader.take()
        if kind == BEATS:
            _, ids, _ = unpack_beats(body)
            found.append((number, list(ids)))
        else:
            assert kind == INPUTS
            found.append((number, [one.data for one in unpack_inputs(body, now_ms)]))
    return found


def test_the_newest_beat_of_an_instance_replaces_older_ones():
    feed = PeerFeed(Counter())
    for id, heard_ms in ((7, NOW_MS - 30), (8, NOW_MS - 20), (7, NOW_MS - 5), (7, NOW_MS - 9)):
        assert feed.put_beat(id, heard_ms)
    assert feed.beats == 2
    reader = FrameReader(1 << 20)
    assert feed.take(NOW_MS) is None, "it waits for others"
    feed.release()
    reader.feed(feed.take(NOW_MS))
    _, number, body = reader.take()
    clock, ids, ages = unpack_beats(body)
    assert (number, clock, list(ids), list(ages)) == (1, NOW_MS, [7, 8], [5, 20])


def test_ages_are_in_bounds():
    data = pack_beats(1, NOW_MS, {1: NOW_MS + 5, 2: -(1 << 40), (1 << 64) - 1: NOW_MS})
    _, ids, ages = unpack_beats(data[13:])
    assert list(ids) == [1, 2, (1 << 64) - 1]
    assert list(ages) == [0, (1 << 32) - 1, 0]


def test_beats_and_inputs_keep_their_order():
    feed = PeerFeed(Counter())
    feed.put_beat(1, NOW_MS)
    feed.put_input(text(b"a"))
    feed.put_input(text(b"b"))
    feed.put_beat(1, NOW_MS)
    feed.put_input(text(b"c"))
    feed.put_beat(2, NOW_MS)
    assert sent(feed) == [(1, [1]), (2, [b"a", b"b"]), (3, [1]), (4, [b"c"]), (5, [2])]


def test_few_batches_are_closed_by_inputs():
    feed = PeerFeed(Counter())
    for n in range(1000):
        feed.put_beat(n, NOW_MS)
        feed.put_input(text(b"%d" % n))
    assert len(feed._parts) <= MOST_PARTS + 1
    found = []
    while some := sent(feed):
        found += [batch for _, batch in some]
        feed.acknowledge(some[-1][0])
    assert [one for batch in found for one in batch if isinstance(one, bytes)] == [b"%d" % n for n in range(1000)]
    assert sorted(one for batch in found for one in batch if isinstance(one, int)) == list(range(1000))


def test_beats_have_a_bound_that_is_the_number_of_instances():
    counts = Counter()
    feed = PeerFeed(counts, most_beats=100)
    assert all(feed.put_beat(id, NOW_MS) for id in range(100))
    assert not feed.put_beat(100, NOW_MS)
    assert feed.put_beat(99, NOW_MS + 1)
    sent(feed)
    assert not feed.put_beat(101, NOW_MS), "what was not acknowledged counts"
    assert counts["beats_refused"] == 2
    feed.acknowledge(1)
    assert feed.put_beat(101, NOW_MS)


def test_inputs_have_a_bound_in_bytes():
    counts = Counter()
    feed = PeerFeed(counts, most_input_bytes=3000)
    assert [feed.put_input(text(b"x" * 800)) for _ in range(4)] == [True, True, True, False]
    assert not PeerFeed(counts).put_input(text(b"x" * INPUT_BYTES))
    assert counts["inputs_refused"] == 2
    assert feed.input_bytes <= 3000
    sent(feed)
    feed.acknowledge(1)
    assert feed.input_bytes == 0 and feed.is_empty


def test_what_comes_after_a_batch_waits_for_the_next_one():
    """An acknowledgement is no reason to send what has come since: batches would be as small as a way there and back
    is short."""
    feed = PeerFeed(Counter())
    feed.put_beat(1, NOW_MS)
    assert sent(feed) == [(1, [1])]
    feed.put_beat(2, NOW_MS)
    feed.put_input(text(b"a"))
    feed.acknowledge(1)
    assert feed.take(NOW_MS) is None
    assert sent(feed) == [(2, [2]), (3, [b"a"])]


def test_large_batches_are_split_and_so_many_are_on_their_way():
    feed = PeerFeed(Counter())
    count = BEATS_IN_FRAME * (WINDOW + 3)
    for id in range(count):
        feed.put_beat(id, NOW_MS)
    found = sent(feed)
    assert [number for number, _ in found] == list(range(1, WINDOW + 1))
    assert all(len(ids) == BEATS_IN_FRAME for _, ids in found)
    assert feed.acknowledge(2)
    assert [number for number, _ in sent(feed)] == [WINDOW + 1, WINDOW + 2]
    assert feed.acknowledge(WINDOW + 2)
    assert [number for number, _ in sent(feed)] == [WINDOW + 3]
    assert not feed.acknowledge(WINDOW + 4), "it was never sent"


def test_a_million_beats_are_not_cut_at_once_and_come_back_whole():
    feed = PeerFeed(Counter())
    for id in range(BEATS_IN_FRAME * 3):
        feed.put_beat(id, NOW_MS)
    feed.release()
    feed.take(NOW_MS)
    feed.take(NOW_MS)
    assert len(feed._parts) == 1
    feed.put_beat(5, NOW_MS + 1)
    feed.put_input(text(b"a"))
    feed.resume(1)
    assert feed.beats == BEATS_IN_FRAME * 2 + 1
    left = feed.end()
    assert left.beats == dict.fromkeys(range(BEATS_IN_FRAME, BEATS_IN_FRAME * 3), NOW_MS) | {5: NOW_MS + 1}
    assert feed.is_empty and feed.beats == 0


def test_a_new_connection_goes_on_where_the_last_one_was_cut():
    feed = PeerFeed(Counter())
    for n in range(4):
        feed.put_input(text(b"%d" % n))
        feed.put_beat(n, NOW_MS)
    before = sent(feed)
    feed.acknowledge(2)
    feed.resume(5)
    assert sent(feed) == before[5:]
    feed.resume(0)
    assert sent(feed) == before[5:], "the other side has forgotten"
    feed.resume(8)
    assert sent(feed) == [] and feed.is_empty


def test_a_feed_that_begins_anew_goes_on_with_the_numbers_of_the_former():
    feed = PeerFeed(Counter())
    feed.put_beat(1, NOW_MS)
    feed.resume(500)
    assert sent(feed) == [(501, [1])]


def test_all_that_was_not_acknowledged_is_returned_at_the_end():
    feed = PeerFeed(Counter())
    feed.put_beat(1, NOW_MS)
    feed.put_beat(2, NOW_MS)
    feed.put_input(text(b"a"))
    sent(feed)
    feed.acknowledge(0)
    feed.put_beat(1, NOW_MS + 9)
    feed.put_input(text(b"b"))
    left = feed.end()
    assert left.beats == {1: NOW_MS + 9, 2: NOW_MS}
    assert [one.data for one in left.inputs] == [b"a", b"b"]
    assert feed.is_empty and feed.beats == 0 and feed.input_bytes == 0


def test_what_cannot_be_encoded_is_dropped_and_counted_and_does_not_stop_the_rest(caplog):
    counts = Counter()
    feed = PeerFeed(counts)
    feed.put_beat(-1, NOW_MS)
    feed.put_input(text(b"a"))
    assert sent(feed) == [(1, [b"a"])]
    assert counts["unsendable"] == 1
    assert "cannot be sent" in caplog.text


def test_random_work_loses_nothing_and_sends_nothing_twice(monkeypatch):
    """Connections are cut at any place; the other side handles what it has not seen, as IncomingWire does."""
    monkeypatch.setattr(feed_module, "WINDOW", 4)
    for seed in range(60):
        rand = random.Random(seed)
        feed, handled, received, put = PeerFeed(Counter()), 0, [], []
        reader = FrameReader(1 << 30)
        for step in range(200):
            what = rand.random()
            if what < 0.4:
                put.append(step)
                feed.put_input(text(b"%d" % step))
            elif what < 0.6:
                feed.put_beat(rand.randrange(5), step)
            elif what < 0.8:
                feed.release()
                for _ in range(rand.randrange(3)):
                    if (data := feed.take(NOW_MS)) is not None:
                        reader.feed(data)
            elif what < 0.95:
                for _ in range(rand.randrange(3)):
                    if (found := reader.take()) is not None:
                        kind, number, body = found
                        assert number <= handled + 1
                        if number == handled + 1:
                            handled = number
                            if kind == INPUTS:
                                received += [int(one.data) for one in unpack_inputs(body, NOW_MS)]
                if rand.random() < 0.5:
                    assert feed.acknowledge(handled)
            else:  # what is on its way is lost
                reader = FrameReader(1 << 30)
                feed.resume(handled)
        feed.resume(handled)
        left = feed.end()
        assert received + [int(one.data) for one in left.inputs] == put, seed


# -- frames


def test_frames_arrive_in_any_pieces():
    frames = [frame(n, n * 7, bytes(n * 50)) for n in range(1, 20)]
    stream = b"".join(frames)
    for seed in range(50):
        rand, reader, found, at = random.Random(seed), FrameReader(5000), [], 0
        while at < len(stream):
            size = rand.choice((1, 3, 100, 5000))
            reader.feed(stream[at : at + size])
            at += size
            while (one := reader.take()) is not None:
                found.append(one)
        assert found == [(n, n * 7, bytes(n * 50)) for n in range(1, 20)]
        assert reader.waiting == 0


@pytest.mark.parametrize("length", [0, 8, 1025, (1 << 32) - 1])
def test_a_length_out_of_bounds_ends_it_at_once(length):
    reader = FrameReader(1024)
    reader.feed(length.to_bytes(4, "little"))
    with pytest.raises(FrameError, match=f"{length} bytes") as caught:
        reader.take()
    assert caught.value.fatal


@pytest.mark.parametrize("size", [0, 7, 9, 19, 21])
def test_beats_of_odd_lengths_are_malformed(size):
    with pytest.raises(FrameError, match=f"beats in {size} bytes|a clock in {size}"):
        unpack_beats(bytes(size))


# -- lateness


def test_what_has_waited_somewhere_is_late():
    late = Transit()
    assert late.of(100, 5_000) == 0
    assert late.of(200, 5_103) == 3
    assert late.of(300, 5_199) == 0, "the fastest yet"
    assert late.of(400, 65_400) == 60_101, "this process was stopped for a minute"
    assert late.of(60_600, 65_500) == 1


def test_clocks_that_drift_apart_do_not_make_beats_old():
    late, worst = Transit(), 0
    for second in range(86_400):
        worst = max(worst, late.of(second * 1000, second * 1000 + second // 10))  # 100 ms in 1000 s
    assert worst <= 2 * 60 // 10 + 1


def test_inputs_are_taken_back_and_not_sent_again():
    feed = PeerFeed(Counter())
    feed.put_input(text(b"a"))
    feed.put_input(text(b"b"))
    assert sent(feed) == [(1, [b"a", b"b"])]
    feed.put_beat(1, NOW_MS)
    feed.put_input(text(b"c"))
    feed.put_input(text(b"d"))
    before = feed.input_bytes
    taken = feed.take_back(lambda one: one.data in (b"b", b"c", b"d"))
    assert [one.data for one in taken] == [b"b", b"c", b"d"]
    assert 0 < feed.input_bytes == before // 4
    assert feed.take_back(lambda one: True) == []  # nothing is new, so it does not look
    feed.put_input(text(b"e"))
    feed.resume(0)
    assert sent(feed) == [(1, [b"a"]), (2, [1]), (3, [b"e"])]
    assert feed.acknowledge(3)
    assert feed.is_empty and feed.input_bytes == feed.beats == 0
    feed.put_input(text(b"f"))
    assert [one.data for one in feed.take_back(lambda one: True)] == [b"f"]
    assert sent(feed) == [] and feed.is_empty and feed.input_bytes == 0


def test_a_batch_that_was_taken_back_as_a_whole_is_still_acknowledged():
    feed = PeerFeed(Counter())
    feed.put_input(text(b"a"))
    assert sent(feed) == [(1, [b"a"])]
    assert len(feed.take_back(lambda one: True)) == 1
    feed.put_input(text(b"b"))
    assert sent(feed) == [(2, [b"b"])]
    assert feed.acknowledge(1) and feed.acknowledge(2)
    assert feed.is_empty and feed.input_bytes == 0
