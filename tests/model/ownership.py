# SPDX-License-Identifier: MIT
"""Checks ownership.pml, the design of many monitors on one Redis, with spin: all states, and that planted bugs show."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MODEL = Path(__file__).resolve().parent / "ownership.pml"
MEMORY_MB = 2000  # of one search
WORLDS = {
    "steady, stop": ("-DSTEADY", "-DSTOPS"),
    "steady, cut": ("-DSTEADY", "-DCUTS"),
    "steady, 2 stops": ("-DSTEADY", "-DSTOPS", "-DFAULTS=2"),
    "pauses, stop": ("-DSTOPS",),
    "pauses, cut": ("-DCUTS",),
    "pauses, 2 stops": ("-DSTOPS", "-DFAULTS=2"),
    "ends, stop": ("-DSOON=18", "-DSTOPS"),
    "ends, cut": ("-DSOON=18", "-DCUTS"),
    "ends, 2 stops": ("-DSOON=40", "-DSTOPS", "-DFAULTS=2"),
    "steady, parted": ("-DSTEADY", "-DPARTS"),
    "pauses, parted": ("-DPARTS",),
    "ends, parted": ("-DSOON=18", "-DPARTS"),
    "joins, stop": ("-DSTEADY", "-DRESERVES=4", "-DSTOPS"),
    "joins, cut": ("-DSTEADY", "-DRESERVES=4", "-DCUTS"),
}


class Plant(NamedTuple):
    world: str
    option: str
    name: str
    shows: str
    """The beginning of the violated assertion."""


ONCE, STEADY, SAFE, KNOWN, SOON = "!(lost)", "0", "((took>=4)", "((((calm<", "(lost||(silence<="
FAIR, JOINS = "(((lease[(1-m)]==0)", "(unjoined<="
PLANTS = [
    Plant("ends, stop", "BLIND_FLUSH", "a page's key has no fence: who was stopped writes another's page", SOON),
    Plant("pauses, stop", "NO_ENTRY", "CHANGE does not check the entry's generation", SAFE),
    Plant("pauses, stop", "NO_COMPARE", "a loss is not compared with the deadline that was set last", SAFE),
    Plant("ends, cut", "TOLD_TWICE", "a loss whose answer did not come is asked again, blindly", ONCE),
    Plant("ends, cut", "SURE", "who misses an answer does not read again what it owns", SOON),
    Plant("pauses, 2 stops", "NO_LEASE", "CHANGE does not check the lease", SAFE),
    Plant("ends, 2 stops", "TWO_CALLS", "MOVE clears the old entry, and sets the new one in another call", SOON),
    Plant("steady, stop", "NO_SETTLE", "no settle", STEADY),
    Plant("steady, stop", "SHORT_SETTLE=2", "settle is shorter than the renewals of a lease", STEADY),
    Plant("pauses, stop", "NO_HANDOVER", "what a deposed monitor heard is dropped", SAFE),
    Plant("steady, stop", "DEAF_TO_MOVED", "`moved` is not read", STEADY),
    Plant("pauses, stop", "NO_HANDOVER_MOVED", "what the former owner heard is dropped", KNOWN),
    Plant("pauses, stop", "HANDS_OVER_UNWRITTEN", "the former owner hands over only what it has not flushed", KNOWN),
    Plant("pauses, cut", "NO_CHANNEL", "the former owner is not told over the channel", SAFE),
    Plant("steady, stop", "GOES_ON", "who lost its lease does not read again what it owns", STEADY),
    Plant("steady, cut", "TRUSTS_ITSELF", "who cannot renew its lease goes on as the owner", STEADY),
    Plant("steady, cut", "NO_RELAY", "who cannot renew its lease keeps its beats to itself", STEADY),
    Plant("pauses, stop", "FORGETS_SHADOW", "who adopts forgets what it has forwarded", KNOWN),
    Plant("pauses, stop", "BLIND_ADOPT", "ADOPT trusts an earlier look at the lease", KNOWN),
    Plant("pauses, stop", "CLOCK_LAST", "the verdict's clock is read after the sockets", SAFE),
    Plant("pauses, stop", "CONSENT_LOST", "consent to move while a recovery waits", KNOWN),
    Plant("ends, cut", "NO_AGE", "a forwarded beat counts as of its arrival", SOON),
    Plant("steady, parted", "NOT_AWAY", "nothing is taken from an owner that cannot be asked", STEADY),
    Plant("pauses, parted", "HELD_LOST", "what was not acknowledged is not sent over the next connection", SAFE),
    Plant("joins, stop", "RECLAIMS_AT_ONCE", "RECLAIM does not wait a second", FAIR),
    Plant("joins, cut", "FORGETS_RESERVED", "who missed the answer of RESERVE does not join by what it finds", JOINS),
]
Run = Callable[[list[str]], tuple[int, str]]


def explore(out: Path, run: Run, options: tuple[str, ...], level: str) -> tuple[bool | None, str, str, str]:
    """Compiles at a level (-O0 where the compiler takes longer than the search), and searches.

    Returns whether nothing was found (None: the search did not come to its end), in how many states, the assertion that
    does not hold, and what was said.
    """
    out.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    make_it = (
        f"spin {' '.join(options)} -a '{MODEL}' && {compiler} {level} -w -DSAFETY -DMEMLIM={MEMORY_MB} -o pan pan.c"
    )
    status, output = run(["sh", "-c", f"cd '{out}' && rm -f pan* && {make_it} && exec ./pan -E -m200000 -w22"])
    errors, states = re.search(r"errors: (\d+)", output), re.search(r"(\d+) states, stored", output)
    if status != 0 or not errors or not states:
        return None, "?", "", output
    complete = "Search not completed" not in output and "max search depth too small" not in output
    if errors[1] == "0" and not complete:
        return None, states[1], "", output
    violated = re.search(r"assertion violated\s+(.*) \(at depth", output)
    return errors[1] == "0", f"{int(states[1]):,}", violated[1] if violated else "", output


def check(out: Path, run: Run) -> list[tuple[bool, str, str, str, str]]:
    rows = []
    for world, options in WORLDS.items():
        sound, states, _, output = explore(out, run, options, "-O1")
        rows.append((sound is True, "ownership, spin", world, f"{states} states, all", "" if sound else output))
    for plant in PLANTS:
        sound, states, violated, output = explore(out, run, (*WORLDS[plant.world], f"-DPLANT_{plant.option}"), "-O0")
        found = sound is False and violated.startswith(plant.shows)
        says = f"found after {states} states" if found else "NOT FOUND"
        rows.append((found, f"ownership, spin: {plant.name}", plant.world, says, "" if found else output))
    return rows
