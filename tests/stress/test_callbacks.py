# SPDX-License-Identifier: MIT
"""Callbacks while several threads beat: each event once, one at a time, in the order of its key."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict

from heartfelt import EventType, HeartHub

QUIET = logging.getLogger("heartfelt.tests.quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def test_callbacks_get_each_event_once_in_order_and_on_one_thread(crowd, eventually):
    got, threads, inside = [], set(), threading.Lock()

    def on_event(event):
        assert inside.acquire(blocking=False), "two callbacks at once"
        threads.add(threading.get_ident())
        got.append(event)
        inside.release()

    types = {EventType.TIME_OUT, EventType.JOIN, EventType.HEART_BEAT, EventType.REMOVE_KEY}
    hub = HeartHub(0.02, parallelism=3, subscribe=types, on_event=on_event, on_full="block")
    counts = defaultdict(int)

    def beat(mine):
        n = 0
        while not crowd.stop.is_set() and n < 300:
            n += 1
            hub.heartbeat_many([f"{mine}/{k}" for k in range(20)])
            if n % 10 == 0:
                hub.remove(f"{mine}/{n % 20}", missing_ok=True)
            if n % 50 == 0:
                crowd.stop.wait(0.03)  # all end
        counts[mine] = n

    for mine in range(3):
        crowd.start(beat, mine)
    crowd.join()
    eventually(lambda: len(hub) == 0, "all end")
    hub.close()
    stats = hub.stats()
    kinds = Counter(event.type for event in got)
    assert stats.callback_errors == stats.waiting_callbacks == stats.dropped == 0
    assert kinds[EventType.HEART_BEAT] == sum(counts.values()) * 20
    assert kinds[EventType.JOIN] == stats.joins
    assert kinds[EventType.REMOVE_KEY] == stats.removals
    assert sum(event.missed for event in got if event.type == EventType.TIME_OUT) == stats.timeouts
    assert len(threads) == 1
    last = {}
    for event in got:
        assert last.get(event.key, 0) <= event.event_time
        last[event.key] = event.event_time


def test_a_callback_that_raises_is_counted_and_stops_nothing(eventually):
    hub = HeartHub(0.01, on_event=lambda event: 1 // event.key, logger=QUIET)
    hub.heartbeat_many([0, 1, 2])
    eventually(lambda: hub.stats().waiting_callbacks == 0 and len(hub) == 0, "all are delivered")
    hub.close()
    assert hub.stats().callback_errors == 1


def test_a_callback_may_beat_remove_and_close_the_hub(eventually):
    seen = []
    hub = HeartHub(0.005)

    @hub.on(EventType.TIME_OUT)
    def again(event):
        seen.append(event.key)
        if len(seen) < 50:
            hub.heartbeat(event.key)
            hub.remove("nobody", missing_ok=True)
        else:
            hub.close()

    hub.heartbeat("key")
    eventually(lambda: hub.closed, "the callback closes the hub")
    hub.close()
    assert seen == ["key"] * 50


def test_close_delivers_what_waits_to_callbacks_first():
    got = []
    hub = HeartHub(60, subscribe={EventType.JOIN}, on_event=got.append)
    hub.heartbeat_many(range(5000))
    hub.close()
    assert [event.key for event in got] == list(range(5000))
