# SPDX-License-Identifier: MIT
"""Every way to watch keys beside `hub.heartbeat(key)`: a beat, the expiry of all keys, the memory of a key."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from _keys import made, shuffled
from _memory import bytes_a_key
from _ours import OURS, ByKey
from _peers import PEERS
from _sides import cpu_or_real_s, ratio_of, rounds_of
from _watcher import Watcher

Say = Callable[[str], None]


@dataclass(frozen=True)
class Standing:
    """The cost of one way for a key (median), and its ratio to ours (median of the rounds)."""

    question: str
    name: str
    n_keys: int
    each: float
    unit: str
    times_ours: float


def measurable(kinds: list[type[Watcher]], n_keys: int, say: Say) -> list[type[Watcher]]:
    """The ways that can be measured here with this many keys; prints why others cannot."""
    found = []
    for kind in kinds:
        why_not = kind.missing() or kind.too_many(n_keys)
        if why_not is None:
            found.append(kind)
        else:
            say(f"{kind.name} is left out: {why_not}")
    return found


def beats(n_keys: int, say: Say) -> Iterator[Standing]:
    """Measures all ways in turn. Each joins all keys in one order, and beats them in another, random order."""
    small = n_keys <= 100_000
    repeat, plan = (3, {"rounds": 9}) if small else (1, {"rounds": 5, "warm_up": 0})
    joined = made(n_keys)
    keys = shuffled(joined)
    with contextlib.ExitStack() as stack:
        sides = {}
        for kind in measurable(OURS + PEERS, n_keys, say):
            watcher = stack.enter_context(kind())
            try:
                watcher.join(joined)
            except RuntimeError as error:  # not every system has so many threads
                say(f"{kind.name} is left out: {error}")
                watcher.close()
            else:
                parts = [keys[start : start + kind.sample] for start in range(0, n_keys, kind.sample)]
                ready = itertools.cycle([(watcher.ready(part), len(part)) for part in parts])
                sides[kind.name] = functools.partial(seconds_a_beat, watcher, ready, repeat)
        gc.collect()
        gc.freeze()  # so that no collection looks at the objects of another side
        try:
            found = rounds_of(sides, **plan)
        finally:
            gc.unfreeze()
    yield from standings("beat", OURS + PEERS, n_keys, found)


def seconds_a_beat(watcher: Watcher, parts: Iterator[tuple[Any, int]], repeat: int) -> float:
    clock = cpu_or_real_s if watcher.in_one_thread else time.perf_counter
    took, n_beats = 0.0, 0
    for part, n_part in itertools.islice(parts, repeat):
        start = clock()
        watcher.beat_each(part)
        took += clock() - start
        n_beats += n_part
        watcher.settle()
    return took / n_beats


def expiry(n_keys: int, say: Say) -> Iterator[Standing]:
    """Measures from the instant at which all keys are due until the user has all of them."""
    keys = shuffled(made(n_keys))
    kinds = [kind for kind in measurable([ByKey, *PEERS], n_keys, say) if not kind.slow_to_join]

    def expire(kind: type[Watcher]) -> float:
        with kind() as watcher:
            at = watcher.arm(keys)
            dead = watcher.drain()
            took = max(time.monotonic() - at, time.get_clock_info("monotonic").resolution)
            if len(dead) != n_keys:
                raise AssertionError(f"{kind.name} told {len(dead)} of {n_keys}")
            return took / n_keys

    sides = {kind.name: functools.partial(expire, kind) for kind in kinds}
    rounds = 5 if n_keys <= 100_000 else 2
    yield from standings("expiry", kinds, n_keys, rounds_of(sides, rounds=rounds, warm_up=0, prepare=gc.collect))


def memory(n_keys: int, say: Say) -> Iterator[Standing]:
    """Measures each way in a process of its own; one that joins slowly with only a thousand keys."""
    kinds = [kind for kind in [ByKey, *PEERS] if kind.missing() is None]
    sizes = [min(n_keys, 1000) if kind.slow_to_join else n_keys for kind in kinds]
    ours = None
    with ThreadPoolExecutor(max_workers=2) as two_at_once:  # this does not measure time
        for kind, size, used in zip(kinds, sizes, two_at_once.map(bytes_a_key, kinds, sizes), strict=True):
            if used is None:
                say("memory is not measured: no /proc/self/statm here")
                return
            ours = ours or used
            yield Standing("memory", kind.name, size, used, "B", used / ours)


def standings(
    question: str,
    kinds: list[type[Watcher]],
    n_keys: int,
    found: dict[str, list[float]],
) -> Iterator[Standing]:
    """found: seconds a key, of each side in each round."""
    ours = found[ByKey.name]
    for kind in kinds:
        if kind.name in found:
            mine = found[kind.name]
            yield Standing(question, kind.name, n_keys, statistics.median(mine) * 1e9, "ns", ratio_of(mine, ours))
