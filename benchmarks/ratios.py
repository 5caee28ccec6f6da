# SPDX-License-Identifier: MIT
"""One table: each operation of the hub against what a Python user would do instead, 10 thousand and 1 million keys.

python benchmarks/ratios.py [--keys N ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy
from _sides import Ratio, in_turn

from heartfelt import HeartHub
from heartfelt.testing import ManualClock

TIMEOUT_S = 60.0


def beats(n_keys: int) -> Iterator[Ratio]:
    """The beats of a hub in which every key is watched, in random order."""
    small = n_keys <= 100_000
    plan = {"n_keys": n_keys, "repeat": 10 if small else 1, "rounds": 15 if small else 5}
    keys = [f"service/{n}" for n in range(n_keys)]
    hub = HeartHub(TIMEOUT_S)
    hub.heartbeat_many(keys)  # both sides have them in this order, and beat them in another
    times = dict.fromkeys(keys, 0.0)
    random.Random(1).shuffle(keys)
    others = [key.encode().decode() for key in keys]
    now = time.monotonic()
    ids = hub.ids(keys)
    hearts = [hub.heart(key) for key in sorted(keys)]
    random.Random(2).shuffle(hearts)
    dense = numpy.zeros(n_keys, dtype=numpy.int64)
    places = numpy.random.default_rng(1).permutation(n_keys)
    nothing = deque(maxlen=0).append
    beat = hub.heartbeat

    def beat_keys() -> None:
        for key in keys:
            beat(key)

    def store_keys() -> None:
        for key in keys:
            times[key] = now

    def beat_others() -> None:
        for key in others:
            beat(key)

    def store_others() -> None:
        for key in others:
            times[key] = now

    def beat_hearts() -> None:
        for heart in hearts:
            heart.beat()

    def call_nothing() -> None:
        for key in keys:
            nothing(key)

    def store_dense() -> None:
        dense[places] = 1

    store = "d[key] = t"
    yield in_turn("heartbeat(key)", beat_keys, store, store_keys, goal=0.9 if small else 1.0, **plan)
    yield in_turn("heartbeat(equal key)", beat_others, store, store_others, goal=0.95 if small else 0.8, **plan)
    yield in_turn("heart.beat()", beat_hearts, "no-op C method", call_nothing, goal=1.3 if small else 1.6, **plan)
    many = lambda: hub.heartbeat_many(keys)  # noqa: E731
    yield in_turn("heartbeat_many(list)", many, store, store_keys, goal=0.22 if small else 0.28, **plan)
    by_id = lambda: hub.heartbeat_ids(ids)  # noqa: E731
    yield in_turn("heartbeat_ids(ids)", by_id, "numpy ts[ids] = t", store_dense, goal=1.2 if small else 1.3, **plan)
    hub.close()


def joins(n_keys: int) -> Iterator[Ratio]:
    keys = [f"service/{n}" for n in range(n_keys)]
    random.Random(1).shuffle(keys)
    hub, table = HeartHub(TIMEOUT_S), {}

    def empty() -> None:
        nonlocal hub, table
        hub.close()
        hub, table = HeartHub(TIMEOUT_S), {}

    def join() -> None:
        beat = hub.heartbeat
        for key in keys:
            beat(key)

    def store() -> None:
        for key in keys:
            table[key] = [0.0, TIMEOUT_S]

    plan = {"n_keys": n_keys, "repeat": 1, "rounds": 5, "prepare": empty}
    yield in_turn("join by heartbeat", join, "d[key] = [t, timeout]", store, goal=1.5, **plan)
    hub.close()


def expiry(n_keys: int) -> Iterator[Ratio]:
    keys = [f"service/{n}" for n in range(n_keys)]
    rng = random.Random(1)
    floats = [rng.random() for _ in keys]
    clock = ManualClock()
    hub = HeartHub(1, clock=clock)

    def join() -> None:
        hub.events.get_many(n_keys, timeout=0)
        hub.heartbeat_many(keys)

    def expire_and_drain() -> None:
        clock.advance(1)
        assert len(hub.events.get_many(n_keys)) == n_keys

    def tuples() -> None:
        made = [(key, 1, 2, 3) for key in keys]
        assert len(made) == n_keys

    def expire() -> None:
        clock.advance(1)

    plan = {"n_keys": n_keys, "repeat": 1, "rounds": 5, "prepare": join}
    yield in_turn("all expire, drained", expire_and_drain, "as many 4-tuples", tuples, goal=3.0, **plan)
    yield in_turn("all expire, verdicts", expire, "sorted(floats)", lambda: sorted(floats) and None, goal=0.5, **plan)


def line(ratio: Ratio) -> str:
    goal = "" if ratio.goal is None else f"{ratio.goal:5.2f}  {'reached' if ratio.ratio <= ratio.goal else 'MISSED'}"
    return (
        f"{ratio.n_keys:>9,}  {ratio.name:<22}{ratio.ns:>8.1f} ns  "
        f"{ratio.against:<22}{ratio.against_ns:>8.1f} ns  {ratio.ratio:>6.2f}  {goal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, {platform.machine()}; medians of runs in turn; goals of the project")
    print(f"{'keys':>9}  {'operation':<22}{'':>11}  {'against':<22}{'':>11}  {'ratio':>6}   goal")
    found = []
    for n_keys in options.keys:
        for question in (beats, joins, expiry):
            if question is not beats and n_keys < 100_000:
                continue
            for ratio in question(n_keys):
                found.append(ratio)
                print(line(ratio), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(ratio) for ratio in found], indent=1))


if __name__ == "__main__":
    main()
