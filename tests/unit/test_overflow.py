# SPDX-License-Identifier: MIT
"""The ring of events other than TIME_OUT when it is full: event_buffer, on_full, OVERFLOW."""

import threading

import pytest

from heartfelt import EventType

TIME_OUT, JOIN, OVERFLOW, HEART_BEAT = EventType.TIME_OUT, EventType.JOIN, EventType.OVERFLOW, EventType.HEART_BEAT


def told(events):
    return [(event.type.value, event.key) for event in events]


def test_drop_oldest_keeps_the_newest_and_says_how_many_are_lost(make_hub, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=3)
    hub.heartbeat_many(range(10))
    events = drained(hub)
    assert told(events) == [("OVERFLOW", None), ("JOIN", 7), ("JOIN", 8), ("JOIN", 9)]
    assert events[0].missed == 7
    assert (hub.stats().dropped, hub.stats().overflows) == (7, 1)


def test_drop_newest_keeps_the_oldest_and_says_how_many_are_lost(make_hub, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=3, on_full="drop_newest")
    hub.heartbeat_many(range(10))
    events = drained(hub)
    assert told(events) == [("JOIN", 0), ("JOIN", 1), ("JOIN", 2), ("OVERFLOW", None)]
    assert events[3].missed == 7
    assert (hub.stats().dropped, hub.stats().overflows) == (7, 1)


def test_block_loses_nothing_and_no_beat_waits(make_hub, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=3, on_full="block")
    hub.heartbeat_many(range(1000))
    assert told(drained(hub)) == [("JOIN", n) for n in range(1000)]
    assert (hub.stats().dropped, hub.stats().overflows) == (0, 0)


@pytest.mark.parametrize("on_full", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 200])
def test_the_ring_holds_as_many_as_it_was_told_to(make_hub, drained, on_full, size):
    hub = make_hub(subscribe=[JOIN], event_buffer=size, on_full=on_full)
    hub.heartbeat_many(range(size))
    assert hub.stats().dropped == 0
    hub.heartbeat("one more")
    assert hub.stats().dropped == 1
    assert len(drained(hub)) == size


@pytest.mark.parametrize("on_full", ["drop_oldest", "drop_newest"])
def test_each_run_of_losses_is_told_once(make_hub, drained, on_full):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=2, on_full=on_full)
    for run in range(3):
        hub.heartbeat_many(range(run * 10, run * 10 + 5))
        assert [event.missed for event in drained(hub) if event.type == OVERFLOW] == [3]
    assert (hub.stats().dropped, hub.stats().overflows) == (9, 3)


def test_not_subscribed_overflow_is_counted_all_the_same(make_hub, drained):
    hub = make_hub(subscribe=[JOIN], event_buffer=3)
    hub.heartbeat_many(range(10))
    assert [event.key for event in drained(hub)] == [7, 8, 9]
    assert hub.stats().dropped == 7


def test_qsize_counts_the_overflow_too(make_hub, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=3)
    hub.heartbeat_many(range(10))
    assert hub.events.qsize() == 4 == len(drained(hub))


def test_an_overflow_has_the_time_of_the_loss_and_no_key(make_hub, clock, drained):
    hub = make_hub(subscribe=[HEART_BEAT, OVERFLOW], event_buffer=1)
    hub.heartbeat("a")
    clock.advance(3)
    hub.heartbeat("a")
    overflow = drained(hub)[0]
    assert (overflow.type, overflow.key, overflow.extra, overflow.event_time, overflow.lateness) == (
        OVERFLOW, None, None, 3, 0,
    )  # fmt: skip


def test_time_outs_need_no_room(make_hub, clock, drained):
    hub = make_hub(1, subscribe=[TIME_OUT, JOIN], event_buffer=1)
    hub.heartbeat_many(range(1000))
    clock.advance(1)
    events = drained(hub)
    assert sum(event.type == TIME_OUT for event in events) == 1000
    assert sum(event.type == JOIN for event in events) == 1


def test_after_a_loss_the_rest_is_still_in_the_order_in_which_it_happened(make_hub, clock, drained):
    hub = make_hub(subscribe=[JOIN, TIME_OUT, OVERFLOW], event_buffer=2)
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("b", timeout=1)
    clock.advance(2)
    hub.heartbeat("c")  # the ring drops the JOIN of a
    in_order = [event for event in told(drained(hub)) if event[0] != "OVERFLOW"]
    assert in_order == [("JOIN", "b"), ("TIME_OUT", "b"), ("JOIN", "c")]


def test_an_overflow_goes_to_its_callback_and_not_to_events(make_hub, clock, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=2)
    seen = []
    hub.on(OVERFLOW)(seen.append)
    hub.heartbeat_many(range(5))
    clock.advance(0)
    assert told(drained(hub)) == [("JOIN", 3), ("JOIN", 4)]
    assert [event.missed for event in seen] == [3]


def test_an_overflow_without_a_callback_is_not_lost_among_those_that_have_one(make_hub, clock, drained):
    hub = make_hub(subscribe=[JOIN, OVERFLOW], event_buffer=2)
    entered, gate = threading.Event(), threading.Event()

    @hub.on(JOIN)
    def slow(event):
        entered.set()
        gate.wait(30)

    hub.heartbeat("first")
    entered.wait(30)  # so that it is busy, and the ring fills
    hub.heartbeat_many(range(5))
    gate.set()
    clock.advance(0)
    assert hub.stats().dropped == 3
    assert [(event.type, event.missed) for event in drained(hub)] == [(OVERFLOW, 3)]
