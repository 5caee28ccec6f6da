# SPDX-License-Identifier: MIT
"""Checks life_word.pml, the design of the word that decides, with spin: all its states, and that planted bugs show."""

import os
import re
from collections.abc import Callable
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "life_word.pml"
BUILDS = {"free-threaded": (), "GIL, seq_cst": ("-DGIL",), "GIL, heavy barrier": ("-DLIGHT",)}
PLANTS = [
    ("free-threaded", "-DPLANT_NO_EXCHANGE", "a beat stores its time, and does not exchange it"),
    ("free-threaded", "-DPLANT_BLIND_VERDICT", "the verdict is stored, not exchanged"),
    ("free-threaded", "-DPLANT_NO_SECOND_LOOK", "the worker does not look again"),
    ("GIL, seq_cst", "-DPLANT_RELAXED", "a beat's look may come before its store"),
    ("GIL, seq_cst", "-DPLANT_LOOK_FIRST", "a beat looks before it stores"),
    ("GIL, seq_cst", "-DPLANT_BLIND_UNDOOM", "a beat takes a verdict back by a store"),
    ("GIL, heavy barrier", "-DPLANT_BLIND_VERDICT", "the verdict is stored, not exchanged"),
    ("GIL, heavy barrier", "-DPLANT_NO_BARRIER", "no heavy barrier"),
]
Run = Callable[[list[str]], tuple[int, str]]


def explore(out: Path, run: Run, options: tuple[str, ...]) -> tuple[bool | None, str, str]:
    """Whether nothing was found (None: the search did not come to its end), in how many states, what was said."""
    out.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    make_it = f"spin {' '.join(options)} -a '{MODEL}' && {compiler} -O1 -w -DSAFETY -o pan pan.c"
    script = f"cd '{out}' && rm -f pan* && {make_it} && ./pan -m100000"
    status, output = run(["sh", "-c", script])
    errors, states = re.search(r"errors: (\d+)", output), re.search(r"(\d+) states, stored", output)
    if status != 0 or not errors or not states:
        return None, "?", output
    complete = "Search not completed" not in output and "max search depth too small" not in output
    if errors[1] == "0" and not complete:
        return None, states[1], output
    return errors[1] == "0", f"{int(states[1]):,}", output


def check(out: Path, run: Run) -> list[tuple[bool, str, str, str, str]]:
    rows = []
    for build, options in BUILDS.items():
        sound, states, output = explore(out, run, options)
        rows.append((sound is True, "word, spin", build, f"{states} states, all", "" if sound else output))
    for build, plant, name in PLANTS:
        sound, states, output = explore(out, run, (*BUILDS[build], plant))
        found = sound is False and "assertion violated" in output
        says = f"found after {states} states" if found else "NOT FOUND"
        rows.append((found, f"word, spin: {name}", build, says, "" if found else output))
    return rows
