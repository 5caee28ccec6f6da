# SPDX-License-Identifier: MIT
"""Objects shared by threads: a list of keys that changes while it beats, one handle, a clock, a hub that all close.
Without a GIL these run at the same time; with one they take turns, as often as the interpreter can be made to."""

from __future__ import annotations

import random
import sys

import pytest

from heartfelt import EventType, HeartHub, KeyNotWatched
from heartfelt.testing import ManualClock

N = 2000


@pytest.fixture(autouse=True)
def many_turns():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def turns(crowd, n):
    """Numbers up to n, which end early if the test does."""
    for turn in range(n):
        if crowd.stop.is_set():
            return
        yield turn


def test_a_list_may_change_while_it_beats(crowd):
    """The keys in it are gone as soon as they are taken out: nobody else has them."""
    hub, keys, wrong = HeartHub(1000), [], []

    def new_keys(n):
        return ["".join(["key/", str(random.randrange(N))]) for _ in range(n)]

    def change():
        for _ in turns(crowd, N):
            how = random.randrange(5)
            if how == 0:
                keys.clear()
            elif how == 1:
                keys[:] = new_keys(200)
            elif how == 2:
                del keys[: len(keys) // 2]
            else:
                keys.extend(new_keys(20))
        crowd.stop.set()

    def beat():
        while not crowd.stop.is_set():
            hub.heartbeat_many(keys)

    def read():
        while not crowd.stop.is_set():
            wrong.extend(key for key in hub if not key.startswith("key/"))

    for work in (change, beat, beat, read):
        crowd.start(work)
    crowd.join()
    assert wrong == []
    assert len(hub) <= N
    assert hub._check() is None
    hub.close()


def replace_again_and_again(crowd, hub, clock, remove, beaten_by_others):
    """Slots go from key to key; a key that nobody beats after it joined must look so."""
    for n in turns(crowd, N):
        remove()
        hub.heartbeat(f"other/{n}")  # takes the slot that was given back last
        joined = clock.time()
        clock.advance(0.001)
        beaten_by_others += [n] * (hub[f"other/{n}"].beat_time != joined)
        hub.remove(f"other/{n}")
    crowd.stop.set()


def test_one_handle_beats_its_own_key_alone_whoever_removes_it(crowd):
    """A handle is set anew by one thread's beat while others beat by it."""
    clock, wrong = ManualClock(), []
    hub = HeartHub(1000, clock=clock)
    heart = hub.heart("mine")

    def beat():
        while not crowd.stop.is_set():
            heart.beat()

    for _ in range(3):
        crowd.start(beat)
    crowd.start(replace_again_and_again, crowd, hub, clock, lambda: hub.remove("mine", missing_ok=True), wrong)
    crowd.join()
    assert wrong == []
    heart.beat()
    assert list(hub) == ["mine"]
    assert hub["mine"].beat_time == clock.time()
    assert hub._check() is None


def test_equal_keys_of_many_threads_are_one_key(crowd):
    hub, end = HeartHub(1000, subscribe={EventType.JOIN, EventType.REMOVE_KEY}), 200

    def work(n):
        rng = random.Random(n)
        for _ in turns(crowd, N):
            key = "".join(["key/", str(rng.randrange(end))])
            how = rng.randrange(3)
            if how == 0:
                hub.remove(key, missing_ok=True)
            else:
                hub.heartbeat(key)
            if how == 2:
                assert hub.heart(key).key == key

    for n in range(4):
        crowd.start(work, n)
    crowd.join()
    watched = dict.fromkeys(hub)
    assert len(watched) == len(hub)
    for event in hub.events.get_many(1 << 30, timeout=0):  # in their true order
        if event.type is EventType.JOIN:
            assert watched.setdefault(event.key) != "in"
            watched[event.key] = "in"
        else:
            assert watched[event.key] == "in"
            watched[event.key] = "out"
    assert {key for key, where in watched.items() if where != "out"} == set(hub)
    assert hub._check() is None
    hub.close()


def test_hubs_come_and_go_while_their_clock_moves(crowd):
    clock = ManualClock()

    def make():
        for n in turns(crowd, N // 10):
            hub = HeartHub(1, clock=clock)
            hub.heartbeat(n)
            if n % 3 == 0:
                hub.close()

    def advance():
        while not crowd.stop.is_set():
            clock.advance(0.01)

    makers = [make, make]
    for work in (*makers, advance, advance):
        crowd.start(work)
    for thread in crowd.threads[: len(makers)]:
        thread.join(60)
    crowd.end()


def test_all_close_one_hub(crowd):
    for _ in range(30):
        hub = HeartHub(1, verbose=True, on_event=print)
        hub.heartbeat("a")
        for _ in range(4):
            crowd.start(hub.close)
        crowd.join()
        assert hub.closed
        assert hub._reporter is None


def test_ids_of_removed_keys_are_stale_for_every_thread(crowd):
    """An id beats its own key or none, while its slot goes to another."""
    clock, wrong = ManualClock(), []
    hub = HeartHub(1000, clock=clock)
    stale = hub.ids([f"first/{n}" for n in range(50)])
    for n in range(50):
        hub.remove(f"first/{n}")

    def beat():
        while not crowd.stop.is_set():
            with pytest.raises(KeyNotWatched, match="one of 50"):
                hub.heartbeat_ids(stale)

    for _ in range(2):
        crowd.start(beat)
    crowd.start(replace_again_and_again, crowd, hub, clock, lambda: None, wrong)
    crowd.join()
    assert wrong == []
    assert len(hub) == 0
    assert hub._check() is None
