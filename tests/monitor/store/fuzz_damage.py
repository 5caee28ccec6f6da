# SPDX-License-Identifier: MIT
"""Damages a real database in many ways and starts it: `python -m tests.monitor.store.fuzz_damage [COUNT [SEED]]`.

Each trial has a seed of its own, counted up from SEED (0 without one); that of a trial that fails is printed. Two
processes share the work. Without heartfelt[monitor] there is nothing to do.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

COUNT = 500
PROCESSES = 2


def some(first: int, last: int) -> Counter[str]:
    """Runs some trials; how they ended, counted."""
    from tests.monitor.store import damage

    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        bases = damage.make(Path(place))
        whole = damage.whole(bases, place)
        for seed in range(first, last):
            try:
                _, result = damage.trial(seed, bases, whole, place)
            except BaseException:
                print(f"seed {seed} fails: python -m tests.monitor.store.fuzz_damage 1 {seed}", file=sys.stderr)
                raise
            ends[result.kind] += 1
    return ends


def main() -> int:
    if importlib.util.find_spec("msgspec") is None:
        print("no heartfelt[monitor] for this Python: its database is not damaged")
        return 0
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    begun_s = time.monotonic()
    bounds = [first + count * n // (4 * PROCESSES) for n in range(4 * PROCESSES + 1)]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        ends = sum(pool.map(some, bounds[:-1], bounds[1:]), Counter())
    shown = ", ".join(f"{n} {kind}" for kind, n in sorted(ends.items()))
    print(f"{count} damaged databases from seed {first} on, {time.monotonic() - begun_s:.0f} s: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
