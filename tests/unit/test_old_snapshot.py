# SPDX-License-Identifier: MIT
"""A snapshot that an older version wrote by `HeartHub.save` is restored in full."""

from __future__ import annotations

from pathlib import Path

from heartfelt import HeartHub, WatchState
from heartfelt.testing import ManualClock

FILE = Path(__file__).parent / "data" / "hub-1.snapshot"
# key -> timeout, disposable, state, missed, extra; and how long before the save it joined, and beat last.
KEYS = {
    "lost": (2.0, False, WatchState.LOST, 3, None, 6.0, 6.0),
    "svc/1": (10.0, True, WatchState.ALIVE, 0, None, 6.0, 1.0),
    "é\ud800": (30.0, True, WatchState.ALIVE, 0, None, 6.0, 6.0),
    b"\xff\0bytes": (60.0, True, WatchState.ALIVE, 0, None, 6.0, 6.0),
    -(2**63): (3600.0, True, WatchState.ALIVE, 0, None, 6.0, 6.0),
    "extra": (90.0, True, WatchState.ALIVE, 0, {"v": [1, "two"]}, 6.0, 6.0),
}


def test_everything_in_it_comes_back():
    clock = ManualClock()
    clock.advance(1000)
    with HeartHub.restore(FILE, clock=clock, extras=True, grace=0) as hub:
        found = {}
        for key, watch in hub.items():
            ages = (round(clock.time() - watch.join_time, 6), round(clock.time() - watch.beat_time, 6))
            found[key] = (watch.timeout, watch.disposable, watch.state, watch.missed, watch.extra, *ages)
        assert found == KEYS
        assert round(hub["svc/1"].deadline - clock.time(), 6) == 9.0
        clock.advance(8.9)
        assert {event.key for event in hub.events.get_many(100, 0)} == {"lost"}
        clock.advance(0.1)
        assert "svc/1" in {event.key for event in hub.events.get_many(100, 0)}
