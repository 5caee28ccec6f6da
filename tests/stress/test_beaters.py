# SPDX-License-Identifier: MIT
"""Threads that beat in every way, while keys join, end and are removed around them."""

from __future__ import annotations

from collections import Counter

import pytest

from heartfelt import HeartHub

pytest.importorskip("numpy", reason="beats by id need it")  # here: among threads that run hot it takes long to load

TIMEOUT = 1.5
N = 80  # keys a beater
N_STOPPED = 20  # of these, not beaten any more after a while


def by_key(hub, keys):
    return lambda n: [hub.heartbeat(key) for key in keys[:n]]


def by_equal_key(hub, keys):
    return lambda n: [hub.heartbeat("".join([key[:1], key[1:]])) for key in keys[:n]]


def by_handle(hub, keys):
    hearts = [hub.heart(key) for key in keys]
    return lambda n: [heart.beat() for heart in hearts[:n]]


def by_ids(hub, keys):
    ids = hub.ids(keys)
    return lambda n: hub.heartbeat_ids(ids[:n])


WAYS = [by_key, by_equal_key, by_handle, by_ids]


def check_never_early(events):
    for event in events:
        assert event.event_time >= event.deadline - 1e-6, event
        assert event.deadline >= event.beat_time + event.timeout - 1e-6, event  # later by the stalls since


@pytest.mark.parametrize("shards", [1, 3])
def test_beaten_keys_stay_and_every_other_is_reported_once(crowd, watched, eventually, shards):
    hub = HeartHub(TIMEOUT, parallelism=shards)
    groups = {way: [f"{way.__name__}/{n}" for n in range(N)] for way in WAYS}
    watches, events, brief = {way: watched() for way in WAYS}, [], []

    def beat(way):
        beat_first, watch = way(hub, groups[way]), watches[way]
        while not crowd.stop.is_set():
            watch.begin()
            beat_first(N if watch.passes < 3 else N - N_STOPPED)
            watch.end()

    def join():
        while not crowd.stop.wait(0.001):
            brief.append(f"brief/{len(brief)}")
            hub.heartbeat(brief[-1], timeout=0.05)

    def remove():
        n = 0
        while not crowd.stop.is_set():
            n += 1
            hub.heartbeat(f"removed/{n}", timeout=TIMEOUT + n % 3)
            hub.remove(f"removed/{n}")

    def read():
        events.extend(hub.events)

    for way in WAYS:
        crowd.start(beat, way)
    for work in (join, remove, read):
        crowd.start(work)
    stopped = {key for keys in groups.values() for key in keys[N - N_STOPPED :]}
    eventually(lambda: stopped <= {event.key for event in events.copy()}, "stopped keys are reported")
    beaten = {key: watches[way] for way in WAYS for key in groups[way][: N - N_STOPPED]}
    seen = events.copy()
    false = {event.key for event in seen if event.key in beaten and beaten[event.key].longest_gap_s < TIMEOUT}
    assert false == set()
    crowd.stop.set()
    eventually(lambda: len(hub) == 0, "all end after the last beat")
    hub.close()
    crowd.join()
    counts = Counter(event.key for event in events)
    check_never_early(events)
    for key in brief:
        assert counts.pop(key) == 1
    for key in stopped:
        # More than once only if its beater was starved for a whole timeout while it still beat it.
        assert counts.pop(key) == 1 or max(watch.longest_gap_s for watch in watches.values()) >= TIMEOUT
    for key, watch in beaten.items():
        assert counts.pop(key) == 1 or watch.longest_gap_s >= TIMEOUT
    assert counts == {}, "a removed key, or one that never was"
    assert hub._check() is None


def test_100_000_keys_end_at_once_while_others_beat(crowd, watched, eventually):
    hub = HeartHub(TIMEOUT, parallelism=2)
    alive = [f"alive/{n}" for n in range(200)]
    watch = watched()

    def beat():
        while not crowd.stop.is_set():
            watch.begin()
            hub.heartbeat_many(alive)
            watch.end()

    crowd.start(beat)
    hub.heartbeat_many(range(100_000), timeout=1.0)
    eventually(lambda: hub.events.qsize() >= 100_000, "all have ended")  # nobody reads meanwhile
    seen = []
    while len(seen) < 100_000:
        seen += hub.events.get_many(5000, timeout=60)
    crowd.end()
    hub.close()
    seen += hub.events
    ended = Counter(event.key for event in seen)
    assert all(ended.pop(n) == 1 for n in range(100_000))
    assert ended == {} or watch.longest_gap_s >= TIMEOUT
    check_never_early(seen)
    assert watch.passes > 1
