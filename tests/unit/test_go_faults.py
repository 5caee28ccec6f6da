# SPDX-License-Identifier: MIT
"""The nine faults of the Go library `heartfelt` that this one descends from: each test would fail on it."""

import random
import threading

import pytest

from heartfelt import ConfigError, EventType, HeartHub, HubClosed, KeyNotWatched

LONG_S = 40


def test_1_a_short_timeout_is_not_held_up_by_a_longer_one_that_is_slept_for():
    """Go: the checker sleeps for the 5 s key, and reports the 0.5 s key that joins meanwhile 4.4 s late."""
    with HeartHub(600) as hub:
        hub.heartbeat("long")
        hub.heartbeat("short", timeout=0.05)
        event = hub.events.get(timeout=LONG_S)
    assert event.key == "short"


@pytest.mark.parametrize("seed", range(20))
def test_2_removing_keys_never_disturbs_the_order_of_the_others(make_hub, clock, drained, seed):
    """Go: `remove` on the heap only sifts down, so 359 of 2000 random trials popped in a wrong order."""
    pick = random.Random(seed)
    hub = make_hub()
    timeouts = {n: pick.randrange(1, 1000) for n in range(300)}
    for n, seconds in timeouts.items():
        hub.heartbeat(n, timeout=seconds)
    for n in pick.sample(range(300), 150):
        hub.remove(n)
        del timeouts[n]
    clock.advance(1000)
    events = drained(hub)
    assert [event.event_time for event in events] == sorted(timeouts.values())
    assert {event.key: event.event_time for event in events} == timeouts


def test_3_removing_an_unknown_key_is_an_error_and_no_more(loud, drained):
    """Go: with REMOVE_KEY subscribed it ends the process."""
    with pytest.raises(KeyNotWatched):
        loud.remove("unknown")
    loud.remove("unknown", missing_ok=True)
    assert drained(loud) == []
    loud.heartbeat("a")
    assert len(drained(loud)) == 2


def test_4_no_time_out_is_lost_before_anyone_reads(make_hub, clock, drained):
    """Go: of 5000 keys that time out before anyone reads, 100 events are kept."""
    hub = make_hub(event_buffer=100)
    hub.heartbeat_many(range(5000))
    clock.advance(10)
    assert {event.key for event in drained(hub)} == set(range(5000))
    assert hub.stats().dropped == 0


def test_5_beats_removes_and_reads_from_many_threads_leave_it_whole():
    """Go: a data race, seen by `go test -race`. (A thread sanitizer build runs the same on the core.)"""
    with HeartHub(0.002, parallelism=2, subscribe=list(EventType)) as hub:
        done, failures = threading.Event(), []

        def work(seed):
            pick = random.Random(seed)
            try:
                for _ in range(3000):
                    key = pick.randrange(50)
                    if pick.random() < 0.8:
                        hub.heartbeat(key, disposable=pick.random() < 0.5)
                    else:
                        hub.remove(key, missing_ok=True)
            except Exception as error:
                failures.append(error)

        def read():
            while not done.is_set():
                hub.events.get_many(100, timeout=0.001)

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join(LONG_S)
        done.set()
        reader.join(LONG_S)
        assert failures == []
        assert hub._check() is None
        stats = hub.stats()
        assert stats.joins >= len(hub) + stats.removals


def test_6_its_errors_differ_in_type_and_text(make_hub):
    """Go: its three errors have one text."""
    hub = make_hub(None)
    errors = []
    for call in (lambda: hub.heartbeat("a"), lambda: hub.remove("a"), lambda: HeartHub(-1)):
        with pytest.raises((ConfigError, KeyNotWatched)) as caught:
            call()
        errors.append(caught.value)
    hub.close()
    with pytest.raises(HubClosed) as caught:
        hub.heartbeat("a")
    errors.append(caught.value)
    assert len({str(error) for error in errors}) == 4
    assert [type(error) for error in errors] == [ConfigError, KeyNotWatched, ConfigError, HubClosed]


def test_7_closing_ends_whoever_reads_the_events():
    """Go: `Close` never closes the event channel, so whoever ranges over it hangs."""
    hub = HeartHub(10)
    reader = threading.Thread(target=lambda: list(hub.events), daemon=True)
    reader.start()
    hub.close()
    reader.join(LONG_S)
    assert not reader.is_alive()


def test_8_verdicts_of_one_shard_are_not_limited_to_a_number_a_millisecond(hub, clock, drained):
    """Go: at most 100 verdicts a millisecond and shard, so the last of 100 000 would come a second late."""
    hub.heartbeat_many(range(100_000))
    clock.advance(10)
    events = drained(hub)
    assert len(events) == 100_000
    assert {event.lateness for event in events} == {0}
    assert hub.stats().max_lateness == 0


def test_9_a_key_that_is_watched_on_counts_from_deadline_to_deadline():
    """Go: the next period counts from when the verdict was taken, so each one's lateness adds up."""
    with HeartHub(0.003, disposable=False, stall_guard=False) as hub:  # a stall of a busy machine moves deadlines
        hub.heartbeat("a")
        events = []
        while not events or events[-1].missed < 50:
            events.append(hub.events.get(timeout=LONG_S))
    for event in events:
        assert event.deadline - event.beat_time == pytest.approx(event.missed * 0.003, abs=2e-6)
