# SPDX-License-Identifier: MIT
"""python count_allocations.py N ...: allocations by each hot call for N keys, as JSON: {call: [one number an N]}.

Runs with PYTHONMALLOC=malloc and count_allocations.c preloaded. What the calls of the counter itself allocate is in
each of the numbers, the same in all; so are the loops around the hot calls. No number tells anything but by comparison.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable

import numpy  # noqa: F401  (hot_beats takes it from here)

from tests.speed.hot_beats import beats, each

ALLOCATIONS = ctypes.c_long.in_dll(ctypes.CDLL(None), "n_allocations")


def allocations(call: Callable[[], None]) -> int:
    for _ in range(3):
        call()  # what is made once: caches of the interpreter
    gc.collect()  # empties Python's free lists, so that an object from one of them counts as well
    before = ALLOCATIONS.value
    call()
    return ALLOCATIONS.value - before


def known(n: int) -> dict[str, Callable[[], None]]:
    """Functions known to allocate for each item; they show that the counter counts."""
    negatives, sizes = [-0.5] * n, [100] * n
    return {
        "abs(float)": lambda: each(abs, negatives),  # one at a time, from a free list
        "bytearray(int)": lambda: each(bytearray, sizes),  # an object and its block
    }


def main() -> None:
    gc.disable()
    found: dict[str, list[int]] = {}
    for n in map(int, sys.argv[1:]):
        for name, call in {**beats(n), **known(n)}.items():
            found.setdefault(name, []).append(allocations(call))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
