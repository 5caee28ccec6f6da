# SPDX-License-Identifier: MIT
"""Beats at the very edge of the deadline, again and again: a beat that returned before the verdict prevents it, a
later one begins a new life, and nothing lies between (promise 4)."""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections import defaultdict

import pytest

from heartfelt import EventType, HeartHub

T = 0.004
N = 192
ROUNDS = 250
CLOCKS_AGREE_S = 300e-6  # a wall clock that is being slewed, and two readings of it


def beats_of(hub, way, keys):
    if way == "key":
        return [lambda key=key: hub.heartbeat(key) for key in keys]
    if way == "handle":
        return [hub.heart(key).beat for key in keys]
    return [lambda one=one: hub.heartbeat_ids(one) for one in map(hub.ids, ([key] for key in keys))]


def race(hub, way, seed):
    """Lets all keys join at about one time and beats each near its deadline; when each beat began and returned."""
    rng = random.Random(seed)
    keys = list(range(N))
    log = defaultdict(list)
    beats = beats_of(hub, way, keys)
    for key in keys:  # ids and handles have let them join: a beat that is known
        before = time.monotonic()
        beats[key]()
        log[key].append((before, time.monotonic()))
    for _ in range(ROUNDS):
        edge = log[keys[N // 2]][-1][0] + T + rng.uniform(-1, 1) * 200e-6
        rng.shuffle(keys)  # so that some beat much nearer to their deadlines than others
        while time.monotonic() < edge:
            pass
        for key in keys:
            before = time.monotonic()
            beats[key]()
            log[key].append((before, time.monotonic()))
    return log


@pytest.mark.parametrize("way", ["key", "handle", "ids"])
@pytest.mark.parametrize("disposable", [True, False])
def test_a_beat_prevents_the_verdict_or_begins_anew(crowd, eventually, wall_minus_monotonic, way, disposable):
    types = {EventType.TIME_OUT, EventType.JOIN, EventType.RECOVER}
    hub = HeartHub(T, disposable=disposable, subscribe=types)
    events = []

    def read():
        while True:
            offset = wall_minus_monotonic()
            got = hub.events.get_many(1000, timeout=60)
            events.extend((event, (offset + wall_minus_monotonic()) / 2) for event in got)
            if got[-1].key == "last":
                return

    crowd.start(read)
    log = race(hub, way, seed=1)
    if disposable:
        eventually(lambda: len(hub) == 0, "all end at last")
    else:
        eventually(lambda: hub.stats().lost == N, "all are lost at last")
        for key in range(N):
            hub.remove(key)
    hub.heartbeat("last")
    eventually(lambda: not crowd.threads[0].is_alive(), "the reader sees the end")
    crowd.join()
    hub.close()
    assert hub._check() is None
    stats = hub.stats()
    assert sum(event.type == EventType.JOIN for event, _ in events) == stats.joins
    assert sum(event.type == EventType.RECOVER for event, _ in events) == stats.recoveries
    by_key = defaultdict(list)
    for event, offset in events:
        by_key[event.key].append((event, offset))
    for key, beats in log.items():
        check_verdicts(by_key[key], beats)
        (check_lives if disposable else check_losses)([event for event, _ in by_key[key]])
        check_last_beat(by_key[key], beats)


def check_verdicts(events, beats):
    """No verdict overlooks a beat that had returned, or comes early."""
    returns = [after for _, after in beats]
    for event, offset in events:
        if event.type != EventType.TIME_OUT:
            continue
        assert event.event_time >= event.deadline - 1e-6 >= event.beat_time + T - 2e-6
        verdict, based_on = event.event_time - offset, event.beat_time - offset
        n = bisect_left(returns, verdict - CLOCKS_AGREE_S)
        if n:
            began = beats[n - 1][0]
            assert based_on >= began - CLOCKS_AGREE_S, f"{event}: a beat {verdict - began} s before it is lost"


def check_lives(events):
    """JOIN, TIME_OUT, JOIN ...; a TIME_OUT that waited unread stands for the lives that it took in."""
    lives = 0
    for event in events:
        if event.type == EventType.JOIN:
            lives += 1
        else:
            assert event.type == EventType.TIME_OUT
            assert event.missed == lives > 0, f"{event} after {lives} new lives"
            lives = 0
    assert lives == 0


def check_losses(events):
    """JOIN first, and each RECOVER from a loss, which was told, or was told later by one that took it in."""
    assert [event.type for event in events].count(EventType.JOIN) == 1
    assert events[0].type == EventType.JOIN
    recoveries = 0
    for event in events[1:]:
        assert event.type in (EventType.RECOVER, EventType.TIME_OUT)
        if event.type == EventType.RECOVER:
            assert event.missed >= 1
            recoveries += 1
        else:
            assert event.missed > recoveries, f"{event}: of the losses since the last, {recoveries} ended unread"
            recoveries = -1  # the loss that this one tells may end without another
    assert recoveries <= 0, "a recovery from nothing"
    times = [event.event_time for event in events]
    assert times == sorted(times)


def check_last_beat(events, beats):
    """The last beat was not lost, either: the last verdict counts from it."""
    event, offset = [(event, offset) for event, offset in events if event.type == EventType.TIME_OUT][-1]
    assert event.beat_time - offset >= beats[-1][0] - CLOCKS_AGREE_S
