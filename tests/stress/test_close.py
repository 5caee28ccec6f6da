# SPDX-License-Identifier: MIT
"""Ends: close() under the load of all others, hubs without number, hubs that nobody closes."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from heartfelt import EventType, HeartHub, HubClosed

TIMES = int(os.environ.get("HEARTFELT_ENDS", "0"))  # 0: a few, each test its own number
KEYS = [f"key/{n}" for n in range(50)]


def until_closed(beat):
    while True:
        try:
            beat()
        except HubClosed:
            return


def crowd_around(crowd, hub, entered):
    """Threads that use the hub in every way until it is closed."""
    heart, ids = hub.heart("mine"), hub.ids(KEYS[:10])
    numbers = iter(range(10**9))

    def join_and_remove():
        key = next(numbers)
        hub.heartbeat(key, timeout=0.002)
        hub.remove(key, missing_ok=True)

    def look():
        len(hub), list(hub), hub.stats()
        hub.heartbeat("looked at")

    def read():
        hub.events.get_many(100, timeout=60)

    many, by_id = (lambda: hub.heartbeat_many(KEYS)), (lambda: hub.heartbeat_ids(ids))
    for beat in (many, heart.beat, by_id, join_and_remove, look, read):

        def work(beat=beat):
            entered.release()
            until_closed(beat)

        crowd.start(work)


@pytest.mark.parametrize("types", [{EventType.TIME_OUT}, set(EventType)])
def test_close_under_load_gives_everybody_hub_closed(crowd, types):
    for n in range(TIMES or 12):
        hub = HeartHub(0.005, parallelism=1 + n % 3, subscribe=types, event_buffer=1000)
        entered = threading.Semaphore(0)
        crowd_around(crowd, hub, entered)
        for _ in range(6):
            assert entered.acquire(timeout=60)
        threading.Event().wait(0.003 * (n % 4))
        hub.close()
        crowd.join()
        assert hub.events.empty()  # its reader stops at HubClosed only
        with pytest.raises(HubClosed):
            hub.events.get(timeout=0)


def test_a_hub_is_closed_for_every_caller_whose_close_returned(crowd):
    for _ in range(TIMES or 100):
        hub = HeartHub(1, parallelism=4)
        start = threading.Barrier(3)

        def close(hub=hub, start=start):
            start.wait(60)
            hub.close()
            assert hub.closed

        for _ in range(3):
            crowd.start(close)
        crowd.join()


def test_no_verdict_comes_after_close(crowd):
    for _ in range(50):
        hub = HeartHub(0.001)
        hub.heartbeat_many(range(500))
        hub.events.get(timeout=60)
        hub.close()
        left = hub.events.qsize()
        assert sum(1 for _ in hub.events) == left
        assert hub.stats().timeouts == left + 1


def test_200_hubs_leave_no_thread_and_no_descriptor(eventually, n_threads, n_fds):
    before, fds_before = n_threads(), n_fds()
    for n in range(200):
        hub = HeartHub(
            0.001, parallelism=3, clock="boottime" if n % 2 else "monotonic", on_event=print if n % 3 == 0 else None
        )
        hub.events.fileno()
        hub.close()
    del hub
    eventually(lambda: n_threads() <= before, "the threads of closed hubs end")
    eventually(lambda: n_fds() <= fds_before, "the descriptors of hubs that are gone are closed")


def test_a_dropped_hub_is_collected_and_its_threads_end(eventually, n_threads, n_fds):
    before, fds_before = n_threads(), n_fds()
    for n in range(20):
        hub = HeartHub(60, parallelism=2, on_event=[].append if n % 2 else None, verbose=n % 5 == 0)
        hub.heartbeat_many(KEYS, extra=object())
        hub.events.fileno()
    hub = None
    eventually(lambda: n_threads() <= before, "nobody holds the hubs, and their threads end")
    eventually(lambda: n_fds() <= fds_before, "nor their descriptors")


def test_a_dropped_hub_whose_callback_uses_it_is_collected(eventually):
    for _ in range(TIMES or 3):
        hub = HeartHub(60)

        @hub.on(EventType.TIME_OUT)
        def again(event, hub=hub):
            hub.heartbeat(event.key)

        dropped = weakref.ref(hub)
        del hub, again

        def is_gone(dropped=dropped):  # the thread lets go of the hub between two batches
            gc.collect()
            return dropped() is None

        eventually(is_gone, "nobody holds the hub but its own callbacks")
