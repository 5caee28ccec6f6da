# SPDX-License-Identifier: MIT
"""Saving and restoring a hub against pickle, which writes and reads a dict of the same: ratios, both sides in turn.

python benchmarks/snapshot.py [--keys N] [--rounds N] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import random
import tempfile
from pathlib import Path

from _sides import Ratio, in_turn

from heartfelt import HeartHub

TIMEOUT_S = 3600.0


def measure(n_keys: int, rounds: int, folder: Path) -> list[Ratio]:
    rng = random.Random(1)
    keys = [f"service/{n}" for n in range(n_keys)]
    hub = HeartHub(TIMEOUT_S)
    hub.heartbeat_many(keys)
    table = {key: (TIMEOUT_S, rng.uniform(0, TIMEOUT_S), True, 0) for key in keys}
    snapshot, pickled = folder / "hub.snapshot", folder / "table.pickle"
    made: list[object] = []  # the restored objects of a side, deleted before the next turn

    def dump(synced: bool) -> None:
        with pickled.open("wb") as file:
            pickle.dump(table, file)
            if synced:
                file.flush()
                os.fsync(file.fileno())

    def load() -> None:
        with pickled.open("rb") as file:
            made.append(pickle.load(file))

    def restore() -> None:
        made.append(HeartHub.restore(snapshot))

    def forget() -> None:
        for one in made:
            if isinstance(one, HeartHub):
                one.close()
        made.clear()

    plan = {"n_keys": n_keys, "repeat": 1, "rounds": rounds, "prepare": forget}
    found = [
        in_turn("save", lambda: hub.save(snapshot), "pickle.dump", lambda: dump(False), goal=2.0, **plan),
        in_turn("save", lambda: hub.save(snapshot), "pickle.dump, fsync", lambda: dump(True), **plan),
        in_turn("restore", restore, "pickle.load", load, goal=3.0, **plan),
    ]
    forget()
    hub.close()
    print(f"{snapshot.stat().st_size / n_keys:.1f} bytes a key; pickle {pickled.stat().st_size / n_keys:.1f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on which disk; default: that of temporary files")
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, {platform.machine()}; medians of runs in turn; {options.keys:,} keys")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for ratio in measure(options.keys, options.rounds, Path(folder)):
            goal = "" if ratio.goal is None else f"(goal {ratio.goal:.0f})"
            print(
                f"{ratio.name:<9}{ratio.ns:>8.1f} ns a key   {ratio.against:<20}{ratio.against_ns:>8.1f} ns"
                f"{ratio.ratio:>7.2f}  {goal}"
            )


if __name__ == "__main__":
    main()
