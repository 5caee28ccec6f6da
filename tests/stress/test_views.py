# SPDX-License-Identifier: MIT
"""Every reading of a hub that takes more than one step, while keys join, time out, are removed and join again."""

from __future__ import annotations

import sys
import time

import pytest

from heartfelt import HeartHub, WatchState
from heartfelt.testing import ManualClock

STAY = 3000  # keys that are watched all the while: several pieces of a pass
GO = range(STAY, 2 * STAY)
PASSES = 20  # or fewer on a build that is slow; see `passes`


@pytest.fixture(autouse=True)
def many_turns():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def passes(patience_s):
    """Counts up to PASSES, but begins no third one once a quarter of the test's patience is over: the crowd never
    rests, and under tsan a pass beside it may take 10 s."""

    def count():
        enough = time.monotonic() + patience_s / 4
        for n in range(PASSES):
            if n >= 2 and time.monotonic() > enough:
                return
            yield n

    return count


@pytest.fixture
def hub(crowd):
    """One in which the keys of `GO` time out, are removed and join at any moment."""
    with HeartHub(1000, parallelism=3, subscribe=[]) as hub:
        hub.heartbeat_many(range(STAY), extra={"has": "no hash"})

        def come() -> None:
            while not crowd.stop.is_set():
                for first in (GO.start, GO.start + STAY // 2):
                    hub.heartbeat_many(range(first, first + STAY // 2), timeout=0.001)

        def go() -> None:
            while not crowd.stop.is_set():
                for key in GO:
                    hub.remove(key, missing_ok=True)

        crowd.start(come)
        crowd.start(go)
        yield hub
        crowd.end()


def restored(hub, path):
    hub.save(path)
    with HeartHub.restore(path, clock=ManualClock(), extras=False) as copy:
        return list(copy)


def watches(found):
    assert all(watch.state is WatchState.ALIVE and watch.join_time <= watch.beat_time for watch in found)
    return [watch.key for watch in found]


READINGS = {
    "iteration": lambda hub, _: list(hub),
    "keys": lambda hub, _: list(hub.keys()),
    "values": lambda hub, _: watches(hub.values()),
    "items": lambda hub, _: watches([watch for key, watch in hub.items() if key == watch.key]),
    "a copy": lambda hub, _: watches(dict(hub.items()).values()),
    "a set": lambda hub, _: sorted(hub.keys() | set()),
    "get": lambda hub, _: [key for key in hub if hub.get(key) is not None],
    "snapshot": lambda hub, _: hub.snapshot()["key"].tolist(),
    "save": restored,
}


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_lists_each_key_that_stays_once_and_none_twice(hub, name, passes, tmp_path):
    if name == "snapshot":
        pytest.importorskip("numpy")
    for _ in passes():
        found = READINGS[name](hub, tmp_path / "hub.snapshot")
        assert len(set(found)) == len(found)
        assert set(found) >= set(range(STAY))
        assert set(found) <= set(range(2 * STAY))


def test_whatever_else_reads_a_hub_does_not_raise(hub, passes):
    stay = set(range(STAY))
    for _ in passes():
        assert hub.keys() >= stay
        assert stay <= hub.keys()
        assert hub.keys() != stay - {0}
        assert not hub.keys().isdisjoint(stay)
        assert not hub.items() <= set()
        assert "watching" in repr(hub)
        assert "watching" in repr(hub.items())
        stats = hub.stats()
        assert stats.keys == sum(shard.keys for shard in stats.shards) >= STAY
        assert len(hub) >= STAY
        assert hub == hub
        assert hub != {}
