# SPDX-License-Identifier: MIT
"""The ratios that have goals: each operation of the hub against the least that Python itself could do.

The loops are functions with plain locals, written as a user writes them: `hub.heartbeat(key)`, not a method taken out
of the loop.
"""

from __future__ import annotations

import functools
import gc
import random
import sys
import threading
import time
from collections.abc import Iterator

import numpy
from _keys import Keys, equal_others, made, shuffled
from _memory import bytes_a_key
from _ours import ByHeart, ByIds, ByKey, ByMany
from _sides import Ratio, in_turn
from _watcher import TIMEOUT_S

MOST_BYTES_A_KEY = 112

GOALS = {  # {operation: {keys: the ratio to reach}}
    "heartbeat(key)": {10_000: 0.9, 1_000_000: 1.0},
    "heartbeat(equal key)": {10_000: 0.95, 1_000_000: 0.8},
    "heart.beat()": {10_000: 1.3, 1_000_000: 1.6},
    "heartbeat_many(list)": {10_000: 0.22, 1_000_000: 0.28},
    "heartbeat_ids(ids)": {10_000: 1.2, 1_000_000: 1.3},
    "heartbeat(new key)": {1_000_000: 1.5},
    "all expire, drained": {1_000_000: 3.0},
    "all expire, 2 workers": {1_000_000: 0.5},
    "memory of a key": {1_000_000: 1.0},
}


def goal(name: str, n_keys: int) -> float | None:
    return GOALS[name].get(n_keys)


def call_each(nothing: tuple[()], keys: Keys) -> None:
    """tuple.count of the empty tuple: a C method with one argument that does nothing."""
    for key in keys:
        nothing.count(key)


def store_each(times: dict[str, float], keys: Keys, t: float) -> None:
    for key in keys:
        times[key] = t


def store_new(table: dict[str, list[float]], keys: Keys, t: float, timeout: float) -> None:
    for key in keys:
        table[key] = [t, timeout]


def beats(n_keys: int) -> Iterator[Ratio]:
    """Beats in random order; each operation has a hub of its own, in which every key is watched."""
    small = n_keys <= 100_000
    plan = {"n_keys": n_keys, "repeat": 10 if small else 1, "rounds": 15 if small else 5}
    joined = made(n_keys)
    keys, others = shuffled(joined), shuffled(equal_others(joined), seed=2)
    times = dict.fromkeys(joined, 0.0)
    now, now_ns = time.monotonic(), time.monotonic_ns()
    dense = numpy.zeros(n_keys, dtype=numpy.int64)
    places = numpy.array(shuffled(list(range(n_keys))), dtype=numpy.int64)

    def store_keys() -> None:
        store_each(times, keys, now)

    def store_others() -> None:
        store_each(times, others, now)

    def call_nothing() -> None:
        call_each((), keys)

    def store_dense() -> None:
        dense[places] = now_ns

    for name, kind, beaten, against, theirs in (
        ("heartbeat(key)", ByKey, keys, "d[key] = t", store_keys),
        ("heartbeat(equal key)", ByKey, others, "d[key] = t", store_others),
        ("heart.beat()", ByHeart, keys, "a no-op C method", call_nothing),
        ("heartbeat_many(list)", ByMany, keys, "d[key] = t", store_keys),
        ("heartbeat_ids(ids)", ByIds, keys, "numpy ts[ids] = now", store_dense),
    ):
        with kind() as hub:
            hub.join(joined)
            beat = functools.partial(hub.beat_each, hub.ready(beaten))
            yield in_turn(name, beat, against, theirs, goal=goal(name, n_keys), **plan)


def joins(n_keys: int) -> Iterator[Ratio]:
    """First beats into an empty hub, against lists into an empty dict."""
    keys = shuffled(made(n_keys))
    hub, table = ByKey(), {}

    def empty() -> None:
        nonlocal hub, table
        hub.close()
        hub, table = ByKey(), {}
        gc.collect()

    def store() -> None:
        store_new(table, keys, 0.0, TIMEOUT_S)

    name, against = "heartbeat(new key)", "d[key] = [t, timeout]"
    plan = {"n_keys": n_keys, "repeat": 1, "rounds": 5, "prepare": empty, "goal": goal(name, n_keys)}
    yield in_turn(name, lambda: hub.join(keys), against, store, **plan)
    hub.close()


def expiry(n_keys: int) -> Iterator[Ratio]:
    """All keys are due at one instant (_ours.ByKey.arm), by the hub's own clock and workers.

    Drained: from that instant until get_many has given all events. 2 workers: another thread reads; the time is the
    largest event_time - deadline. Both sides time themselves, without the deletion of the objects that they made.
    """
    keys = shuffled(made(n_keys))
    rng = random.Random(1)
    floats = [rng.random() for _ in keys]

    def drain() -> float:
        with ByKey() as hub:
            at = hub.arm(keys)
            found = hub.drain()
            took = time.monotonic() - at
            check(found, n_keys)
            return took

    def make_tuples() -> float:
        start = time.perf_counter()
        made_here = [(key, 1, 2, 3) for key in keys]
        took = time.perf_counter() - start
        check(made_here, n_keys)
        return took

    def decide() -> float:
        with ByKey(parallelism=2) as hub:
            hub.arm(keys)
            found: list[object] = []
            reader = threading.Thread(target=lambda: found.extend(hub.drain()))
            reader.start()
            reader.join()
            check(found, n_keys)
            return max(event.event_time - event.deadline for event in found)

    def sort() -> float:
        start = time.perf_counter()
        in_order = sorted(floats)
        took = time.perf_counter() - start
        check(in_order, n_keys)
        return took

    for name, ours, against, theirs in (
        ("all expire, drained", drain, "as many 4-tuples", make_tuples),
        ("all expire, 2 workers", decide, "sorted(floats)", sort),
    ):
        plan = {"n_keys": n_keys, "repeat": 1, "rounds": 5, "prepare": gc.collect, "goal": goal(name, n_keys)}
        yield in_turn(name, ours, against, theirs, **plan)


def memory(n_keys: int) -> Iterator[Ratio]:
    """Resident memory of a key, in a process of its own, against its goal."""
    used = bytes_a_key(ByKey, n_keys)
    if used is None:
        print(f"{'':>9}  memory of a key: not measured, {sys.platform} has no /proc/self/statm", flush=True)
        return
    name, most = "memory of a key", MOST_BYTES_A_KEY
    yield Ratio(name, "what it may be", n_keys, used, most, used / most, goal(name, n_keys), unit="B")


def check(found: list[object], n_keys: int) -> None:
    if len(found) != n_keys:
        raise AssertionError(f"{len(found)} of {n_keys}")


def every_goal(n_keys: int) -> Iterator[Ratio]:
    for question in (beats, joins, expiry, memory):
        yield from question(n_keys)
