# SPDX-License-Identifier: MIT
"""Lifetime of keys and extras, and bounds on memory."""

import gc
import os
import sys
import tracemalloc
import weakref
from pathlib import Path

import pytest

from heartfelt import EventType, HeartHub

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is not there")
pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")


class Extra:
    pass


def fresh_keys(n):
    return [f"a key of this test {i}" for i in range(n)] + [i.to_bytes(40, "big") for i in range(n)]


def fresh_ints(n):
    return [10**15 + i for i in range(n)]


def beats(hub, clock, keys, extras):
    for _ in range(3):
        for key, extra in zip(keys, extras, strict=True):
            hub.heartbeat(key, extra=extra)
            hub.heartbeat(key)


def timeouts_read(hub, clock, keys, extras):
    for _ in range(3):
        beats(hub, clock, keys, extras)
        clock.advance(10)
        hub.events.get_many(10**6, timeout=0)


def timeouts_merged(hub, clock, keys, extras):
    for _ in range(3):
        beats(hub, clock, keys, extras)
        clock.advance(10)


def lost_and_recovered(hub, clock, keys, extras):
    for key, extra in zip(keys, extras, strict=True):
        hub.heartbeat(key, extra=extra, disposable=False)
    clock.advance(25)
    hub.events.get_many(len(keys) // 2, timeout=0)
    beats(hub, clock, keys, extras)
    clock.advance(25)


def removed(hub, clock, keys, extras):
    beats(hub, clock, keys, extras)
    for key in keys:
        hub.remove(key)


def removed_unread(hub, clock, keys, extras):
    timeouts_merged(hub, clock, keys, extras)
    beats(hub, clock, keys, extras)
    for key in keys:
        hub.remove(key)


def hearts(hub, clock, keys, extras):
    made = [hub.heart(key, extra=extra) for key, extra in zip(keys, extras, strict=True)]
    clock.advance(10)
    for heart in made:
        heart()


def asked(hub, clock, keys, extras):
    beats(hub, clock, keys, extras)
    list(hub)
    list(hub.values())
    assert all(key in hub for key in keys)


def ids_rejoined(hub, clock, keys, extras):
    numpy = pytest.importorskip("numpy")
    beats(hub, clock, keys, extras)
    ids = hub.ids(keys)
    for read in (True, False):
        clock.advance(10)
        if read:
            hub.events.get_many(10**6, timeout=0)
        hub.heartbeat_ids(ids)
    hub.snapshot()
    assert len(numpy.unique(ids)) == len(keys)


def errors(hub, clock, keys, extras):
    for key, extra in zip(keys, extras, strict=True):
        with pytest.raises(ValueError):
            hub.heartbeat(key, extra=extra, timeout=-1)
        with pytest.raises(KeyError):
            hub.remove(key)
    with pytest.raises(TypeError):
        hub.heartbeat_many([*keys, None])


LIVES = [beats, timeouts_read, timeouts_merged, lost_and_recovered, removed, removed_unread, hearts, asked]
LIVES += [ids_rejoined, errors]
ENDS = ["close and collect", "collect", "read and collect"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subscribe": list(EventType)},
        {"subscribe": list(EventType), "event_buffer": 7},
        {"subscribe": []},
        {"subscribe": [EventType.HEART_BEAT], "event_buffer": 7, "on_full": "drop_newest"},
    ],
    ids=["verdicts", "all", "drop oldest", "none", "drop newest"],
)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_references_return_to_where_they_were(clock, life, options, end):
    keys = fresh_keys(50) + fresh_ints(50)
    extras = [Extra() for _ in keys]
    objects = keys + extras
    before = [sys.getrefcount(one) for one in objects]
    hub = HeartHub(10, clock=clock, parallelism=2, **options)
    life(hub, clock, keys, extras)
    assert hub._check() is None
    if end == "read and collect":
        hub.events.get_many(10**6, timeout=0)
    elif end == "close and collect":
        hub.close()
    del hub
    gc.collect()
    assert [sys.getrefcount(one) for one in objects] == before


def test_an_extra_is_let_go_of_when_another_takes_its_place(hub):
    extra = Extra()
    gone = weakref.ref(extra)
    hub.heartbeat("a", extra=extra)
    del extra
    gc.collect()
    assert gone() is not None
    hub.heartbeat("a", extra=None)
    assert gone() is None


def test_a_key_that_was_read_out_is_let_go_of(hub, clock):
    extra = Extra()
    gone = weakref.ref(extra)
    hub.heartbeat("a", extra=extra)
    del extra
    clock.advance(10)
    assert hub.events.get_nowait().extra is gone()
    assert gone() is None


def test_an_extra_whose_end_uses_the_hub(hub, clock):
    """It is let go of when no lock is held."""

    class Beats:
        def __del__(self):
            hub.heartbeat("from the end")
            hub.remove("none", missing_ok=True)

    for _ in range(3):
        hub.heartbeat("a", extra=Beats())
    hub.remove("a")
    assert set(hub) == {"from the end"}


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux
@pytest.mark.parametrize("extra", [False, True], ids=["plain", "with extra"])
def test_a_million_beats_leave_memory_as_it_was(hub, extra):
    def beat(rounds):
        for n in range(rounds):
            if extra:
                hub.heartbeat("a", extra=(n, "x"))
            else:
                hub.heartbeat("a")

    beat(10_000)
    gc.collect()
    before = resident()
    beat(1_000_000)
    gc.collect()
    assert resident() - before < 4 << 20  # a leak of even one word a beat is 8 MB


def test_beats_leave_no_python_object_behind(hub):
    heart = hub.heart("a")
    keys = ["a", "b"]

    def beat():
        for n in range(3000):
            hub.heartbeat("a")
            hub.heartbeat("a", extra=(n, n), timeout=3.5)
            heart.beat()
            hub.heartbeat_many(keys)

    beat()
    tracemalloc.start()
    try:
        beat()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        beat()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


@linux
def test_keys_that_come_and_go_leave_memory_as_it_was(hub, clock):
    def waves(rounds):
        for n in range(rounds):
            hub.heartbeat_many(range(n * 2000, n * 2000 + 2000), extra=n)
            clock.advance(10)
            hub.events.get_many(10_000, timeout=0)

    waves(10)
    gc.collect()
    before = resident()
    waves(200)
    gc.collect()
    assert resident() - before < 8 << 20  # a slot of each of 400 000 keys were 33 MB


@linux
@pytest.mark.parametrize("wanted", [[EventType.TIME_OUT], []], ids=["unread", "not subscribed"])
def test_timeouts_that_nobody_reads_are_bounded_by_the_keys(make_hub, clock, wanted):
    hub = make_hub(subscribe=wanted)

    def waves(rounds):
        for n in range(rounds):
            hub.heartbeat_many(range(1000), extra=n)
            clock.advance(10)

    waves(10)
    gc.collect()
    before = resident()
    waves(300)
    gc.collect()
    assert resident() - before < 8 << 20


def test_a_million_keys_that_time_out_before_anyone_reads_are_a_million_events(make_hub, clock):
    n = 1_000_000
    hub = make_hub(parallelism=2)
    hub.heartbeat_many(range(n))
    clock.advance(10)
    assert hub.events.qsize() == n
    seen = bytearray(n)
    while events := hub.events.get_many(50_000, timeout=0):
        for event in events:
            seen[event.key] += 1
    assert seen.count(1) == n
