# SPDX-License-Identifier: MIT
"""When TIME_OUT comes, how often, and in which order. Most of it on a clock that moves by hand."""

import random

import pytest

from heartfelt import EventType, HeartHub, WatchState

TIME_OUT, JOIN, RECOVER, REMOVE_KEY = EventType.TIME_OUT, EventType.JOIN, EventType.RECOVER, EventType.REMOVE_KEY


def told(events):
    return [(event.type, event.key, event.event_time, event.missed) for event in events]


def test_not_before_the_deadline_and_at_it(hub, clock, drained):
    hub.heartbeat("a")
    clock.advance(10 - 1e-9)
    assert drained(hub) == []
    clock.advance(1e-9)
    assert told(drained(hub)) == [(TIME_OUT, "a", 10, 1)]


def test_a_beat_at_the_last_moment_prevents_it(hub, clock, drained):
    hub.heartbeat("a")
    for _ in range(100):
        clock.advance(10 - 1e-9)
        hub.heartbeat("a")
    assert drained(hub) == []


def test_on_a_real_clock_none_of_thousands_is_early():
    pick = random.Random(1)
    with HeartHub(parallelism=2) as hub:
        timeouts = {n: pick.uniform(0.001, 0.3) for n in range(4000)}
        for _ in range(3):
            for key, seconds in timeouts.items():
                hub.heartbeat(key, timeout=seconds)
        found = set()
        while len(found) < len(timeouts):
            for event in hub.events.get_many(1000, timeout=30) or pytest.fail("a verdict is lost"):
                found.add(event.key)
                assert event.event_time - event.beat_time >= timeouts[event.key] - 1e-6
                assert event.lateness >= 0


@pytest.mark.parametrize("parallelism", [1, 7])
def test_they_come_in_the_order_of_the_deadlines(make_hub, clock, drained, parallelism):
    hub = make_hub(parallelism=parallelism)
    seconds = [n / 16 for n in range(1, 2001)]
    random.Random(2).shuffle(seconds)
    for n, one in enumerate(seconds):
        hub.heartbeat(n, timeout=one)
    clock.advance(200)
    deadlines = [event.deadline for event in drained(hub)]
    assert deadlines == sorted(deadlines)
    assert deadlines == pytest.approx(sorted(seconds), abs=1e-9)


def test_none_of_those_of_one_moment_is_missing(make_hub, clock, drained):
    hub = make_hub(parallelism=3)
    hub.heartbeat_many(range(5000))
    clock.advance(10)
    assert sorted(event.key for event in drained(hub)) == list(range(5000))


def test_a_disposable_key_is_told_once_and_not_watched_any_more(hub, clock, drained):
    hub.heartbeat("a")
    clock.advance(35)
    assert told(drained(hub)) == [(TIME_OUT, "a", 10, 1)]
    assert "a" not in hub
    clock.advance(100)
    assert drained(hub) == []


def test_a_disposable_key_is_not_watched_even_if_nobody_read_the_verdict(hub, clock):
    hub.heartbeat("a")
    clock.advance(10)
    assert "a" not in hub
    assert (len(hub), list(hub)) == (0, [])


def test_another_key_is_told_each_timeout_from_deadline_to_deadline(make_hub, clock, drained):
    hub = make_hub(0.1, disposable=False)
    hub.heartbeat("a")
    events = []
    for _ in range(1000):
        clock.advance(0.1)
        events += drained(hub)
    assert [event.missed for event in events] == list(range(1, 1001))
    assert [event.deadline for event in events] == pytest.approx([n / 10 for n in range(1, 1001)], abs=1e-9)
    assert {event.beat_time for event in events} == {0}


def test_a_reader_that_comes_late_finds_one_event_with_the_count(make_hub, clock, drained):
    hub = make_hub(1, disposable=False)
    hub.heartbeat("a")
    clock.advance(7.5)
    assert told(drained(hub)) == [(TIME_OUT, "a", 7, 7)]
    clock.advance(1)
    assert told(drained(hub)) == [(TIME_OUT, "a", 8, 8)]


def test_a_lost_key_is_watched_still(make_hub, clock):
    hub = make_hub(1, disposable=False)
    hub.heartbeat("a")
    clock.advance(2.5)
    watch = hub["a"]
    assert (watch.state, watch.missed, watch.deadline) == (WatchState.LOST, 2, 3)
    hub.heartbeat("a")
    watch = hub["a"]
    assert (watch.state, watch.missed, watch.deadline) == (WatchState.ALIVE, 0, 3.5)


def test_a_lost_key_recovers_once_with_the_count(make_hub, clock, drained):
    hub = make_hub(1, disposable=False, subscribe=[TIME_OUT, RECOVER])
    hub.heartbeat("a")
    clock.advance(2)
    hub.heartbeat("a")
    hub.heartbeat("a")
    assert told(drained(hub)) == [(TIME_OUT, "a", 2, 2), (RECOVER, "a", 2, 2)]
    clock.advance(1)
    assert told(drained(hub)) == [(TIME_OUT, "a", 3, 1)]


def test_a_lost_key_that_beats_with_another_timeout(make_hub, clock, drained):
    hub = make_hub(1, disposable=False)
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("a", timeout=5)
    clock.advance(4.5)
    assert [event.timeout for event in drained(hub)] == [1]
    clock.advance(0.5)
    assert told(drained(hub)) == [(TIME_OUT, "a", 6, 1)]


def test_one_that_is_made_disposable_while_it_is_lost_ends_at_its_next_timeout(make_hub, clock, drained):
    hub = make_hub(1, disposable=False)
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("a", disposable=True)
    clock.advance(5)
    assert told(drained(hub)) == [(TIME_OUT, "a", 2, 2)]
    assert "a" not in hub


# Unread verdicts of one key: at most one waits, whatever happens in between.
def test_a_rejoined_key_that_times_out_again_unread_is_one_event(hub, clock, drained):
    for _ in range(5):
        hub.heartbeat("a")
        clock.advance(10)
    assert hub.events.qsize() == 1
    assert told(drained(hub)) == [(TIME_OUT, "a", 50, 5)]
    hub.heartbeat("a")
    clock.advance(10)
    assert told(drained(hub)) == [(TIME_OUT, "a", 60, 1)]


def test_read_between_two_timeouts_they_are_two(hub, clock, drained):
    hub.heartbeat("a")
    clock.advance(10)
    hub.heartbeat("a")
    assert told(drained(hub)) == [(TIME_OUT, "a", 10, 1)]
    clock.advance(10)
    assert told(drained(hub)) == [(TIME_OUT, "a", 20, 1)]


def test_an_unread_verdict_keeps_its_own_life(hub, clock, drained):
    hub.heartbeat("a", timeout=3, extra="old", disposable=True)
    clock.advance(3)
    hub.heartbeat("a", timeout=5, extra="new", disposable=False)
    (event,) = drained(hub)
    assert (event.timeout, event.extra, event.disposable, event.join_time, event.deadline) == (3, "old", True, 0, 3)
    assert (hub["a"].timeout, hub["a"].extra, hub["a"].disposable, hub["a"].join_time) == (5, "new", False, 3)


def test_merged_verdicts_tell_the_last_life(hub, clock, drained):
    hub.heartbeat("a", timeout=3, extra="old")
    clock.advance(3)
    hub.heartbeat("a", timeout=5, extra="new")
    clock.advance(5)
    (event,) = drained(hub)
    assert (event.timeout, event.extra, event.join_time, event.deadline, event.missed) == (5, "new", 3, 8, 2)


def test_a_removed_key_leaves_its_unread_verdict(loud, clock, drained):
    loud.heartbeat("a", timeout=1, disposable=False)
    clock.advance(2)
    loud.remove("a")
    clock.advance(5)
    events = [one for one in told(drained(loud)) if one[0] != EventType.HEART_BEAT]
    assert events == [(JOIN, "a", 0, 0), (TIME_OUT, "a", 2, 2), (REMOVE_KEY, "a", 2, 2)]


@pytest.mark.parametrize("disposable", [True, False])
def test_removed_and_joined_again_it_is_still_one_waiting_event(make_hub, clock, drained, disposable):
    hub = make_hub(1, disposable=disposable)
    for _ in range(3):
        hub.heartbeat("a")
        clock.advance(1)
        hub.heartbeat("a")
        hub.remove("a")
    assert told(drained(hub)) == [(TIME_OUT, "a", 3, 3)]
    assert "a" not in hub


def test_joined_anew_and_removed_alive_the_old_verdict_is_still_there(hub, clock, drained):
    hub.heartbeat("a", extra="old")
    clock.advance(10)
    hub.heartbeat("a", extra="new")
    hub.remove("a")
    (event,) = drained(hub)
    assert (event.extra, event.missed) == ("old", 1)
    hub.heartbeat("a")
    assert hub["a"].join_time == 10


def test_a_recovered_key_counts_anew_whatever_was_not_read(make_hub, clock, drained):
    """Watch.missed and RECOVER are timeouts since the last beat; the merged TIME_OUT speaks for the earlier ones."""
    hub = make_hub(1, disposable=False, subscribe=[TIME_OUT, RECOVER])
    hub.heartbeat("a")
    clock.advance(2)
    hub.heartbeat("a")  # its two timeouts are not read
    clock.advance(1)
    assert hub["a"].missed == 1
    hub.heartbeat("a")
    assert [event.missed for event in drained(hub) if event.type == RECOVER] == [2, 1]


def test_what_a_merged_event_told_is_not_told_again(make_hub, clock, drained):
    hub = make_hub(1, disposable=False)
    hub.heartbeat("a")
    clock.advance(2)
    hub.heartbeat("a")
    clock.advance(1)
    assert told(drained(hub)) == [(TIME_OUT, "a", 3, 3)]
    clock.advance(1)
    assert told(drained(hub)) == [(TIME_OUT, "a", 4, 2)]  # two since its last beat


@pytest.mark.parametrize("seed", range(5))
def test_at_most_one_waits_for_a_key_and_no_timeout_is_lost(make_hub, clock, drained, seed):
    hub = make_hub(1, parallelism=2)
    pick = random.Random(seed)
    counted = 0
    for _ in range(2000):
        act = pick.randrange(6)
        if act < 3:
            hub.heartbeat(pick.randrange(8))
        elif act == 3:
            hub.remove(pick.randrange(8), missing_ok=True)
        elif act == 4:
            clock.advance(pick.choice([0.25, 0.5, 1]))
        else:
            waiting = drained(hub)
            assert len({event.key for event in waiting}) == len(waiting)
            counted += sum(event.missed for event in waiting)
        assert hub.events.qsize() <= 8
    assert counted + sum(event.missed for event in drained(hub)) == hub.stats().timeouts > 50


def test_a_removed_key_does_not_time_out(hub, clock, drained):
    hub.heartbeat("a")
    hub.remove("a")
    clock.advance(100)
    assert drained(hub) == []


def test_with_time_out_not_subscribed_nothing_waits(make_hub, clock, drained):
    hub = make_hub(1, subscribe=[JOIN])
    for wave in range(20):
        hub.heartbeat_many(range(wave * 1000, wave * 1000 + 1000))
        clock.advance(1)
        assert [event.type for event in drained(hub)] == [JOIN] * 1000
    assert (hub.events.qsize(), hub.stats().waiting, len(hub)) == (0, 0, 0)
    assert hub.stats().timeouts == 20_000


def test_with_time_out_not_subscribed_what_timed_out_does_not_pile_up(make_hub, clock):
    hub = make_hub(1, subscribe=[])
    for wave in range(20):
        hub.heartbeat_many(range(wave * 1000, wave * 1000 + 1000))
        clock.advance(1)
    assert sum(shard.waiting for shard in hub.stats().shards) <= 1000
