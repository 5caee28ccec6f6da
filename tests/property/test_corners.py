# SPDX-License-Identifier: MIT
"""Small cases that the state machines do not reach: what runs between two beats of a batch, and what nobody reads."""

from __future__ import annotations

from array import array

from heartfelt import EventType, HeartHub
from heartfelt.testing import ManualClock


def test_a_key_of_a_slow_iterable_beats_when_it_is_yielded():
    clock = ManualClock()
    hub = HeartHub(1, clock=clock)
    hub.heartbeat("late")

    def slow():
        yield "early"
        clock.advance(0.75)
        yield "late"

    hub.heartbeat_many(slow())
    assert hub["late"].beat_time == 0.75


def test_a_batch_never_moves_a_beat_back_in_time():
    clock = ManualClock()
    hub = HeartHub(1, clock=clock)

    def slow():
        yield "other"
        clock.advance(0.75)
        hub.heartbeat("key")  # as another thread would, while the iterable waits
        yield "key"

    hub.heartbeat_many(slow())
    assert hub["key"].beat_time >= hub["key"].join_time == 0.75


def test_a_key_whose_release_takes_time_costs_the_next_of_its_batch_nothing():
    clock = ManualClock()
    hub = HeartHub(1, clock=clock, subscribe={EventType.JOIN})  # so that the dead key's extra goes with its next beat

    class Slow:
        def __del__(self):
            clock.advance(0.75)

    hub.heartbeat("late")
    [held] = hub.ids(["dead"])
    hub.heartbeat("dead", timeout=1e-9, extra=Slow())
    clock.advance(1e-9)
    [late] = hub.ids(["late"])
    hub.heartbeat_ids(array("q", [held, late]))
    assert hub["late"].beat_time >= 0.75


def test_the_missed_of_a_watch_counts_from_the_last_beat():
    clock = ManualClock()
    hub = HeartHub(1, disposable=False, clock=clock)
    hub.heartbeat("key")
    clock.advance(3)
    hub.heartbeat("key")  # the verdict of before is not read
    clock.advance(1)
    assert hub["key"].missed == 1


def test_verdicts_that_nobody_wants_do_not_change_what_recover_counts():
    clock = ManualClock()
    hub = HeartHub(1, disposable=False, subscribe={EventType.RECOVER}, clock=clock)
    hub.heartbeat_many(range(20))
    for _ in range(2):
        clock.advance(1)
        hub.heartbeat(19)
    assert [event.missed for event in hub.events.get_many(10, timeout=0)] == [1, 1]


def test_a_callback_for_time_outs_gets_none_from_before_it_was_there():
    clock = ManualClock()
    hub = HeartHub(1, subscribe={EventType.JOIN}, clock=clock)
    hub.heartbeat_many(range(20))
    clock.advance(2)
    got = []
    hub.on(EventType.TIME_OUT)(got.append)
    clock.advance(1)
    hub.close()
    assert got == []


def test_a_verdict_does_not_overtake_the_join_before_it_when_the_ring_has_overflowed():
    clock = ManualClock()
    wanted = {EventType.TIME_OUT, EventType.JOIN, EventType.OVERFLOW}
    hub = HeartHub(1, subscribe=wanted, event_buffer=2, clock=clock)
    hub.heartbeat("dropped", timeout=9)
    hub.heartbeat("key")
    clock.advance(2)
    hub.heartbeat("new", timeout=9)
    of_key = [event.type for event in hub.events.get_many(10, timeout=0) if event.key == "key"]
    assert of_key == ["JOIN", "TIME_OUT"]
