# SPDX-License-Identifier: MIT
"""Ctrl-C in the midst of reading: the reader gets KeyboardInterrupt, and no event is lost, given twice or misplaced."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import threading

import pytest

from heartfelt import EventType, HeartHub, HubClosed

INTERRUPTS = 1000

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal can be sent to a thread here"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 itself may drop what a call returned"),
]


@pytest.fixture(autouse=True)
def no_garbage_collection():
    """Disables the garbage collector: other libraries' callbacks in it are Python code, and would be interrupted
    instead."""
    gc.disable()
    yield
    gc.enable()


class Interrupter:
    """A thread that makes events, and interrupts the main thread after some of them, when the last was caught."""

    def __init__(self, hub, n):
        self.hub, self.n, self.n_made = hub, n, 0
        self.ready, self.caught = threading.Event(), threading.Semaphore(0)
        self.chance = random.Random(1)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        for _ in range(self.n):
            self.ready.wait()
            self.ready.clear()
            for _ in range(self.chance.randrange(1, 20)):
                self.hub.heartbeat(self.n_made)
                self.n_made += 1
            for _ in range(self.chance.randrange(300)):
                pass
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while not self.caught.acquire(timeout=1):  # asyncio's own ends may swallow one
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.hub.close()


def read_by_get(events, seen, begin):
    begin()
    while True:
        seen.append(events.get())


def read_by_get_with_timeout(events, seen, begin):
    begin()
    while True:
        seen.append(events.get(timeout=60))


def read_by_get_many(events, seen, begin):
    begin()
    while True:
        seen.extend(events.get_many(3))


def read_by_iteration(events, seen, begin):
    begin()
    for event in events:
        seen.append(event)
    raise HubClosed


def read_by_aget(events, seen, begin):
    async def read():
        begin()
        while True:
            seen.append(await events.aget())

    asyncio.run(read())


@pytest.fixture
def many_switches():
    kept, handler = sys.getswitchinterval(), signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(kept)
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(
    "read", [read_by_get, read_by_get_with_timeout, read_by_get_many, read_by_iteration, read_by_aget]
)
def test_ctrl_c_loses_no_event(many_switches, read):
    hub = HeartHub(1000, subscribe={EventType.JOIN}, on_full="block")
    interrupter = Interrupter(hub, INTERRUPTS)
    seen, n_caught = [], 0
    interrupter.thread.start()
    while True:
        try:
            read(hub.events, seen, interrupter.ready.set)
        except KeyboardInterrupt:
            n_caught += 1
            interrupter.caught.release()
        except HubClosed:
            break
    interrupter.thread.join(60)
    assert n_caught >= INTERRUPTS
    assert [event.key for event in seen] == list(range(interrupter.n_made))


def test_what_was_given_back_waits_before_all_others(make_hub):
    hub = make_hub(subscribe={EventType.JOIN})
    events = hub.events
    hub.heartbeat_many(["a", "b", "c", "d"])
    first = events.get_many(2)
    hub._give_back(first)
    assert (events.qsize(), hub.stats().waiting) == (4, 4)
    assert events.get() is first[0]
    hub.close()
    assert [event.key for event in events.get_many(2)] == ["b", "c"]
    assert [event.key for event in events] == ["d"]


def test_what_was_given_back_wakes_a_reader(make_hub, crowd):
    hub = make_hub(subscribe={EventType.JOIN})
    hub.heartbeat("a")
    taken = hub.events.get_many(1)
    got = []
    crowd.start(lambda: got.append(hub.events.get(timeout=60)))
    hub._give_back(taken)
    crowd.join()
    assert got == taken
