# SPDX-License-Identifier: MIT
"""Server-sent events: order, going on after a break, slow viewers, bounds."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor.web.stream import COMMENT, TOPICS, Stream, TooManyViewers

ALL = frozenset(TOPICS)


def parsed(data):
    """[(id, topic, value)] of what a viewer was sent."""
    found = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def taken(viewer):
    return parsed(asyncio.run(viewer.take(0.001)))


def welcome(stream, topics=ALL, last_id=None):
    viewer = stream.open(topics, last_id)
    assert [one[1] for one in taken(viewer)] == ["resync"]
    return viewer


def test_a_viewer_gets_what_comes_in_its_order_and_of_its_topics():
    stream = Stream()
    all_, one = welcome(stream), welcome(stream, frozenset({"hold"}))
    for n, topic in enumerate(["change", "hold", "event"]):
        stream.publish(topic, {"n": n})
    assert [(topic, value["n"]) for _, topic, value in taken(all_)] == [("change", 0), ("hold", 1), ("event", 2)]
    assert [(topic, value["n"]) for _, topic, value in taken(one)] == [("hold", 1)]


def test_whoever_comes_back_goes_on_where_it_was():
    stream = Stream()
    viewer = welcome(stream)
    stream.publish("change", 0)
    last_id = taken(viewer)[-1][0]
    stream.discard(viewer)
    stream.publish("change", 1)
    stream.publish("beats", [[1, 2]])  # not kept: newer ones stand for them
    stream.publish("hold", 2)
    assert [one[1:] for one in taken(stream.open(ALL, last_id))] == [("change", 1), ("hold", 2)]
    assert [one[1:] for one in taken(stream.open(frozenset({"hold"}), last_id))] == [("hold", 2)]


def test_whoever_missed_nothing_is_sent_nothing():
    stream = Stream()
    stream.publish("beats", [])
    last_id = stream.last_id
    for _ in range(5):
        stream.publish("beats", [])
    viewer = stream.open(ALL, last_id)
    assert asyncio.run(viewer.take(0.001)) == COMMENT


@pytest.mark.parametrize("last_id", ["0-0", "nonsense", "", "x-1", "-", "{epoch}--1", "{epoch}-99", "{epoch}-1e3"])
def test_a_number_of_another_run_or_none_at_all_means_reading_anew(last_id):
    stream = Stream()
    stream.publish("change", 0)
    found = taken(stream.open(ALL, last_id.format(epoch=stream.epoch)))
    assert [one[1] for one in found] == ["resync"]
    assert found[0][0] == stream.last_id


@pytest.mark.parametrize("bound", [{"ring_messages": 3}, {"ring_bytes": 200}])
def test_whoever_was_away_for_too_long_reads_anew(bound):
    stream = Stream(**bound)
    first = stream.last_id
    for n in range(10):
        stream.publish("change", n)
    assert [one[1] for one in taken(stream.open(ALL, first))] == ["resync"]
    assert stream.stats()["kept"] <= 5


def test_a_slow_viewer_is_told_to_read_anew_and_costs_others_nothing():
    stream = Stream(viewer_bytes=2000)
    slow, quick = welcome(stream), welcome(stream)
    got = []
    for n in range(1000):
        stream.publish("change", n)
        got += [value for _, _, value in taken(quick)]
    assert got == list(range(1000))
    found = taken(slow)
    assert len(b"".join(json.dumps(one).encode() for one in found)) < 3000  # bounded
    resync = max(n for n, one in enumerate(found) if one[1] == "resync")
    after = [value for _, topic, value in found[resync + 1 :] if topic == "change"]
    assert after == list(range(1000 - len(after), 1000))  # nothing is missing after the last resync
    assert stream.stats()["resyncs"] == slow.resyncs > 0
    assert quick.resyncs == 0


def test_a_silent_stream_sends_comments_and_ends_when_it_is_closed():
    async def scenario():
        stream = Stream(comment_s=0.001)
        viewer = stream.open(ALL, stream.last_id)
        reading = stream.read(viewer)
        assert (await reading.__anext__()).startswith(b"retry:")
        assert await reading.__anext__() == COMMENT
        stream.publish("change", 1)
        stream.close()
        rest = [data async for data in reading]
        assert len(parsed(b"".join(rest))) == 1  # what waits is sent before the end
        assert stream.stats()["viewers"] == 0
        with pytest.raises(TooManyViewers):
            stream.open(ALL, None)

    asyncio.run(scenario())


def test_viewers_are_bounded_and_a_place_comes_free():
    stream = Stream(most_viewers=1)
    viewer = stream.open(ALL, None)
    with pytest.raises(TooManyViewers):
        stream.open(ALL, None)
    stream.discard(viewer)
    stream.open(ALL, None)
    assert stream.stats()["refused"] == 1


def test_texts_cannot_break_the_framing():
    stream = Stream()
    viewer = welcome(stream)
    stream.publish("change", {"reason": "a\n\nevent: hold\ndata: {}\r\n"})
    assert [one[1:] for one in taken(viewer)] == [("change", {"reason": "a\n\nevent: hold\ndata: {}\r\n"})]


def test_a_viewer_who_may_not_look_any_more_gets_nothing_more():
    stream = Stream()
    may = True
    viewer = stream.open(ALL, None, lambda: may)
    other = welcome(stream)
    stream.publish("change", 1)
    stream.ask_again()
    assert stream.stats()["viewers"] == 2
    may = False
    stream.ask_again()
    stream.publish("change", 2)
    assert asyncio.run(viewer.take(10)) == b""  # the end: what waited is gone, too
    assert [one[2] for one in taken(other)] == [1, 2]
    assert (stream.stats()["viewers"], stream.stats()["token_revoked"]) == (1, 1)


def test_200_viewers_that_never_read_take_no_more_than_the_bound_of_all(caplog):
    limit = 1 << 20
    stream = Stream(viewers_bytes=limit, viewer_bytes=8 << 20)
    deaf = [welcome(stream) for _ in range(200)]
    reading = welcome(stream)
    peaks = []
    numbers = []
    for n in range(4000):
        stream.publish("change", {"n": n, "text": "x" * 1000})
        numbers += [value.get("n") for _, _, value in taken(reading)] if n % 4 == 0 else []
        peaks.append(stream.stats()["waiting_bytes"])
    numbers += [value.get("n") for _, _, value in taken(reading)]
    assert max(peaks) <= limit + 2000 + 201 * 8
    assert sum(peaks[2000:]) / 2000 <= 1.2 * sum(peaks[:2000]) / 2000  # flat
    assert numbers == list(range(4000))  # a viewer that keeps up never notices
    stats = stream.stats()
    assert stats["emptied"] == stats["resyncs"] > 0
    assert "http.viewers_bytes" in caplog.text
    for viewer in deaf:
        first = taken(viewer)[0]
        assert (first[1], first[2]["reason"]) == ("resync", "all viewers together did not keep up")
        stream.discard(viewer)
    stream.discard(reading)
    assert stream.stats()["waiting_bytes"] == 0


def test_a_message_that_many_wait_for_is_counted_once():
    stream = Stream()
    viewers = [welcome(stream) for _ in range(100)]
    before = stream.stats()["waiting_bytes"]
    stream.publish("change", "x" * 100_000)
    assert 100_000 < stream.stats()["waiting_bytes"] - before < 110_000
    back = [stream.open(ALL, f"{stream.epoch}-0") for _ in range(100)]
    assert stream.stats()["waiting_bytes"] - before < 110_000
    for viewer in viewers + back:
        stream.discard(viewer)
    assert stream.stats()["waiting_bytes"] == 0


def test_what_waits_in_a_connections_buffer_counts_and_keeps_others_out():
    stream = Stream(viewers_bytes=100_000)
    unsent = [0]
    viewer = stream.open(ALL, None, None, lambda: unsent[0])
    taken(viewer)
    unsent[0] = 150_000
    asyncio.run(viewer.take(0.001))
    assert stream.stats()["waiting_bytes"] >= 150_000
    with pytest.raises(TooManyViewers):
        stream.open(ALL, None)
    unsent[0] = 0
    asyncio.run(viewer.take(0.001))
    stream.open(ALL, None)


def test_a_viewer_is_handed_a_little_at_a_time():
    """Each part is a copy, which its connection keeps until it is read."""
    stream = Stream()
    viewer = welcome(stream)
    for n in range(1000):
        stream.publish("change", {"n": n, "text": "x" * 100})
    numbers = []
    while len(numbers) < 1000:
        data = asyncio.run(viewer.take(0.001))
        assert len(data) < 20_000
        numbers += [value["n"] for _, _, value in parsed(data)]
    assert numbers == list(range(1000))
