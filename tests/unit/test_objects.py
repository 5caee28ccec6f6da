# SPDX-License-Identifier: MIT
"""A key is what it equals, whichever object says it: the same one, another that lasts, or one that is gone after the
call and whose place in memory another key takes."""

import random
import sys
import sysconfig

import pytest

from heartfelt import HeartHub
from heartfelt.testing import ManualClock


def copy_of(key: str) -> str:
    """Equal, but another object."""
    return key.encode().decode()


@pytest.mark.parametrize("parallelism", [1, 3])
def test_each_beat_reaches_its_key_whatever_object_says_it(parallelism):
    rng = random.Random(parallelism)
    clock = ManualClock()
    hub = HeartHub(1000, clock=clock, parallelism=parallelism)
    names = [f"key {n}" for n in range(500)]
    lasting = [names, [copy_of(name) for name in names], [copy_of(name) for name in names]]
    beat_at = {}
    for now in range(1, 3001):
        clock.advance(0.25)
        n = rng.randrange(len(names))
        how = rng.randrange(6)
        if how == 5:
            chosen = rng.sample(range(len(names)), 40)
            source = rng.choice([*lasting, None])
            hub.heartbeat_many([source[m] if source else copy_of(names[m]) for m in chosen])
            beat_at.update((names[m], now / 4) for m in chosen)
            continue
        if how == 4 and names[n] in beat_at:
            hub.remove(copy_of(names[n]))
            del beat_at[names[n]]
            continue
        hub.heartbeat(lasting[how][n] if how < 3 else copy_of(names[n]))
        beat_at[names[n]] = now / 4
    assert {key: hub[key].beat_time for key in hub} == pytest.approx(beat_at)
    assert hub._check() is None


@pytest.mark.skipif(sysconfig.get_config_var("Py_GIL_DISABLED"), reason="look-ups without a GIL change nothing")
def test_an_object_that_beats_again_and_again_stands_for_the_key_and_the_other_is_let_go():
    hub = HeartHub(1000, clock=ManualClock())
    first, other = "".join(["host ", "a"]), "".join(["host ", "a"])
    free_first, free_other = sys.getrefcount(first), sys.getrefcount(other)
    hub.heartbeat(first)
    assert (sys.getrefcount(first), sys.getrefcount(other)) == (free_first + 1, free_other)
    kept = [other]  # it lasts
    for _ in range(3):
        for key in kept:
            hub.heartbeat(key)
    del key
    assert (sys.getrefcount(first), sys.getrefcount(other)) == (free_first, free_other + 2)
    for _ in range(3):
        hub.heartbeat_many([first])
    assert (sys.getrefcount(first), sys.getrefcount(other)) == (free_first + 1, free_other + 1)
    assert len(hub) == 1
    assert hub["host a"].missed == 0
    hub.remove("host a")
    hub.close()
    assert (sys.getrefcount(first), sys.getrefcount(other)) == (free_first, free_other + 1)


def test_an_event_tells_an_equal_key():
    clock = ManualClock()
    hub = HeartHub(1, clock=clock)
    first, kept = "".join(["host ", "b"]), ["".join(["host ", "b"])]
    hub.heartbeat(first)
    for _ in range(3):
        for key in kept:
            hub.heartbeat(key)
    clock.advance(1)
    assert [event.key for event in hub.events.get_many(9)] == [first]
    hub.heartbeat(first)  # joins anew, while hints of its first life are there still
    clock.advance(1)
    assert [event.key for event in hub.events.get_many(9)] == [first]


def test_a_key_that_lives_again_beats_though_its_unread_verdict_has_the_same_object():
    clock = ManualClock()
    hub = HeartHub(10, clock=clock)
    key = "host c"
    hub.heartbeat(key)
    clock.advance(10)  # lost, unread
    for _ in range(5):
        hub.heartbeat(key)
        clock.advance(9)
    assert key in hub
    assert hub.stats().waiting == 1
    assert hub._check() is None


def test_types_do_not_mix_whatever_was_there_before():
    hub = HeartHub(1000, clock=ManualClock())
    for key in ("1", b"1", 1, "1", b"1", 1):
        hub.heartbeat(key)
    assert sorted(map(repr, hub)) == ["'1'", "1", "b'1'"]


def test_a_subclass_has_hot_methods_of_its_own_unless_it_overrides_them():
    class Plain(HeartHub):
        pass

    class Counting(HeartHub):
        beats = 0

        def heartbeat(self, key, **options):
            self.beats += 1
            super().heartbeat(key, **options)

    class More(Counting):
        pass

    assert HeartHub.__dict__["heartbeat"].__objclass__ is HeartHub
    assert Plain.__dict__["heartbeat"].__objclass__ is Plain
    assert "heartbeat" not in More.__dict__
    hub = More(1000, clock=ManualClock())
    hub.heartbeat("a")
    assert hub.beats == 1
    assert "a" in hub
