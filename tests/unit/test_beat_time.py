# SPDX-License-Identifier: MIT
"""When a beat was made, by a clock that may be coarse: never before it, and not much after it."""

from __future__ import annotations

import time

import pytest

from heartfelt import HeartHub

CLOCKS_AGREE_S = 0.0005  # two readings of the wall clock and one of the hub's are not made in one instant


@pytest.mark.parametrize("timeout", [0.5, 2.9, 3.0, 30.0, 1e6])
@pytest.mark.parametrize("how", ["key", "heart", "many", "ids"])
def test_a_beat_is_not_dated_before_it_was_made(timeout: float, how: str) -> None:
    with HeartHub(timeout) as hub:
        ids = hub.ids(["key"])
        beat = {
            "key": lambda: hub.heartbeat("key"),
            "heart": hub.heart("key").beat,
            "many": lambda: hub.heartbeat_many(["key"]),
            "ids": lambda: hub.heartbeat_ids(ids),
        }[how]
        for _ in range(3000):  # over several ticks of any kernel
            before = time.time()
            beat()
            assert hub["key"].beat_time >= before - CLOCKS_AGREE_S


@pytest.mark.parametrize("timeout", [0.5, 3.0, 30.0])
def test_a_beat_is_dated_at_most_by_a_share_of_the_timeout_too_late(timeout: float) -> None:
    with HeartHub(timeout) as hub:
        for _ in range(3000):
            hub.heartbeat("key")
            after = time.time()
            assert hub["key"].beat_time <= after + 0.004 * timeout + CLOCKS_AGREE_S


def test_a_key_with_a_short_timeout_makes_the_beats_of_all_exact() -> None:
    with HeartHub(30) as hub:
        hub.heartbeat("long")
        hub.heartbeat("short", timeout=0.5)
        for _ in range(3000):
            hub.heartbeat("long")
            assert hub["long"].beat_time <= time.time() + CLOCKS_AGREE_S


@pytest.mark.parametrize("same", [True, False])
def test_a_timeout_that_is_short_from_now_on_starts_now(same: bool) -> None:
    for _ in range(100):  # the coarse clock may be right by chance
        with HeartHub(30) as hub:
            hub.heartbeat("first")
            hub.heartbeat("first")  # dated later than it was made, which is little for 30 s
            if not same:
                hub.remove("first")
            key = "first" if same else "takes its place"
            hub.heartbeat(key, timeout=0.5)
            after = time.time()
            assert hub[key].beat_time <= after + CLOCKS_AGREE_S
