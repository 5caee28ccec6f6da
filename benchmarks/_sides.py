# SPDX-License-Identifier: MIT
"""Sides of a comparison, timed in turn in one process, so that a slow machine slows all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Side = Callable[[], float | None]
"""Does all its operations once. It may time itself, and return the seconds; otherwise the call is timed."""

# The processor time of this thread, where it has a fine resolution. By the clock on the wall, a side that takes longer
# than a slice of the scheduler would look slower beside other processes, and a shorter one would not.
cpu_or_real_s = time.thread_time if time.get_clock_info("thread_time").resolution <= 1e-6 else time.perf_counter


@dataclass(frozen=True)
class Ratio:
    """The medians of both sides, for one operation, in `unit`; and the median of the ratios of each round."""

    name: str
    against: str
    n_keys: int
    ours: float
    theirs: float
    ratio: float
    goal: float | None = None
    unit: str = "ns"


def seconds_of(side: Side, repeat: int = 1) -> float:
    """The seconds of `repeat` calls together."""
    start = cpu_or_real_s()
    told = [side() for _ in range(repeat)]
    took = cpu_or_real_s() - start
    own = [seconds for seconds in told if seconds is not None]
    return sum(own) if own else took


def rounds_of(
    sides: Mapping[str, Side],
    *,
    rounds: int,
    repeat: int = 1,
    warm_up: int = 1,
    prepare: Callable[[], None] = lambda: None,
    collector: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each side in each round: A B C, A B C ... `prepare` runs before each side, untimed.

    collector: whether Python's garbage collector may run during a round.
    """
    gc.collect()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    was_enabled = gc.isenabled()
    if not collector:
        gc.disable()
    try:
        for _ in range(warm_up + rounds):
            for name, side in sides.items():
                prepare()
                seconds[name].append(seconds_of(side, repeat))
    finally:
        if was_enabled:
            gc.enable()
    return {name: of_side[warm_up:] for name, of_side in seconds.items()}


def ratio_of(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of each round."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def in_turn(
    name: str,
    ours: Side,
    against: str,
    theirs: Side,
    *,
    n_keys: int,
    repeat: int,
    rounds: int,
    goal: float | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Ratio:
    """Two sides, A B A B ...; each is called `repeat` times a round, n_keys operations a call. One round warms up.

    The collector is off, as with `timeit`: it would slow the side that makes many containers, and ours makes none.
    """
    sides = {"ours": ours, "theirs": theirs}
    found = rounds_of(sides, rounds=rounds, repeat=repeat, prepare=prepare, collector=False)
    per_op = 1e9 / (n_keys * repeat)
    return Ratio(
        name,
        against,
        n_keys,
        statistics.median(found["ours"]) * per_op,
        statistics.median(found["theirs"]) * per_op,
        ratio_of(found["ours"], found["theirs"]),
        goal,
    )
