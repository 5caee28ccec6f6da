# SPDX-License-Identifier: MIT
"""Finds out whether the working tree is slower than a revision: builds both, runs them in turn, compares the minima.

python benchmarks/compare.py BASE [--keys N ...]; `make bench-compare BASE=rev` is the same.

Exit status 1 if an operation takes more than 1.2 times the base's time, and again when it is measured once more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _compare_builds import BuildFailed, build, commit_of, of_revision, of_working_tree

WORKER = Path(__file__).with_name("_compare_worker.py")
ROOM = 1.2
PAIRS = 5  # of processes: the layout of its memory makes a process faster or slower for as long as it lives
MANY_KEYS, PAIRS_OF_MANY = 100_000, 3
ROUND_NS = 2_000_000  # short: some rounds of many meet no other process
PAIR_NS = 80_000_000  # for one operation of one side
FEWEST_ROUNDS, MOST_ROUNDS = 3, 40


@dataclass
class Side:
    """A process that has one build, and runs operations on request. Both sides get the same seed for their hashes."""

    installed: Path
    n_keys: int
    seed: int
    missing: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)

    def __enter__(self) -> Side:
        env = {**os.environ, "PYTHONPATH": str(self.installed), "PYTHONHASHSEED": str(self.seed)}
        command = [sys.executable, str(WORKER), str(self.n_keys)]
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # it ends at the end of its input

    def start(self) -> None:
        has = json.loads(self._answer())
        if not Path(has["heartfelt"]).is_relative_to(self.installed):
            raise RuntimeError(f"{has['heartfelt']} was imported, not what is in {self.installed}")
        self.known, self.missing = has["known"], has["missing"]

    def ns(self, operation: str, passes: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{operation}\t{passes}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that has {self.installed} ended with status {self.process.wait()}")
        return line


@dataclass
class Found:
    """The minima, ns an operation; only of the head if the base does not have the operation."""

    head: float = float("inf")
    base: float = float("inf")
    missing: str | None = None  # why the base does not have it

    @property
    def ratio(self) -> float:
        return self.head / self.base

    @property
    def slower(self) -> bool:
        return self.missing is None and self.ratio > ROOM


def in_turn(base: Side, head: Side, operation: str, found: Found) -> None:
    sides = [head] if found.missing else [base, head]
    ns = max(side.ns(operation, 1) for side in sides)  # warms up, too
    a_pass = max(ns * head.n_keys, 1)  # 0 where the clock is too coarse
    passes = max(1, round(ROUND_NS / a_pass))
    rounds = min(MOST_ROUNDS, max(FEWEST_ROUNDS, round(PAIR_NS / (passes * a_pass))))
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            ns = side.ns(operation, passes)
            if side is head:
                found.head = min(found.head, ns)
            else:
                found.base = min(found.base, ns)


def measure(base: Path, head: Path, n_keys: int, only: str | None = None) -> dict[str, Found]:
    """Measures every operation, or only one."""
    found: dict[str, Found] = {}
    for pair in range(PAIRS if n_keys < MANY_KEYS else PAIRS_OF_MANY):
        with ExitStack() as stack:
            sides = [stack.enter_context(Side(installed, n_keys, pair)) for installed in (base, head)]
            for side in sides:
                side.start()
            if sides[1].missing:
                raise RuntimeError(f"{WORKER.name} is not up to date with the working tree: {sides[1].missing}")
            for operation in sides[1].known:
                if only in (None, operation):
                    one = found.setdefault(operation, Found(missing=sides[0].missing.get(operation)))
                    in_turn(*sides, operation, one)
    return found


def line(n_keys: int, operation: str, found: Found, verdict: str) -> str:
    base = f"{'new':>11}" if found.missing else f"{found.base:8.1f} ns"
    ratio = f"{'':>7}" if found.missing else f"{found.ratio:7.2f}"
    return f"{n_keys:>9,}  {operation:<22}{base}{found.head:>10.1f} ns{ratio}  {verdict}".rstrip()


def judged(n_keys: int, measure: Callable[[str | None], dict[str, Found]]) -> Iterator[tuple[str, bool]]:
    """A line for each operation, and whether it is slower. One that seems slower is measured again, which decides."""
    for operation, found in measure(None).items():
        verdict = f"not in the base ({found.missing})" if found.missing else ""
        slower = found.slower
        if slower:
            again = measure(operation)[operation]
            slower = again.slower
            verdict = f"measured again: {again.ratio:.2f}{', SLOWER' if slower else ''}"
        yield line(n_keys, operation, found, verdict), slower


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a revision of this repository")
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000])
    options = parser.parse_args()
    try:
        commit = commit_of(options.base)
    except BuildFailed:
        print(f"no such revision: {options.base}", file=sys.stderr)
        return 2
    print(f"building {commit[:12]} and the working tree", flush=True)
    try:
        base, head = build(of_revision(commit)), build(of_working_tree())
    except BuildFailed as error:
        print(f"the build failed: {error}", file=sys.stderr)
        return 2
    python = f"CPython {platform.python_version()}, {platform.machine()}"
    print(f"{python}; minima of rounds in turn, in several pairs of processes")
    print(f"{'keys':>9}  {'operation':<22}{'base':>11}{'head':>13}{'ratio':>7}", flush=True)
    n_slower = 0
    for n_keys in options.keys:
        for text, slower in judged(n_keys, lambda only, n=n_keys: measure(base, head, n, only)):
            n_slower += slower
            print(text, flush=True)
    if n_slower:
        print(f"{n_slower} slower: more than {ROOM} times the base's time, twice")
    return 1 if n_slower else 0


if __name__ == "__main__":
    sys.exit(main())
