# SPDX-License-Identifier: MIT
"""Two sides of a comparison, timed in turn in one process, so that what slows the machine slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Medians of both sides, ns an operation, and the median of the ratios round by round."""

    name: str
    against: str
    n_keys: int
    ns: float
    against_ns: float
    ratio: float
    goal: float | None


def in_turn(
    name: str,
    ours: Callable[[], None],
    against: str,
    theirs: Callable[[], None],
    *,
    n_keys: int,
    repeat: int,
    rounds: int,
    goal: float | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Ratio:
    """Runs A B A B ...; each call is `repeat` passes over n_keys operations. `prepare` runs before each, untimed."""
    gc.collect()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds + 1):  # the first round warms up
        for is_ours, side in ((True, ours), (False, theirs)):
            prepare()
            start = time.perf_counter()
            for _ in range(repeat):
                side()
            seconds[is_ours].append(time.perf_counter() - start)
    ours_s, theirs_s = seconds[True][1:], seconds[False][1:]
    per_op = 1e9 / (n_keys * repeat)
    return Ratio(
        name,
        against,
        n_keys,
        statistics.median(ours_s) * per_op,
        statistics.median(theirs_s) * per_op,
        statistics.median(ours / theirs for ours, theirs in zip(ours_s, theirs_s, strict=True)),
        goal,
    )
