# SPDX-License-Identifier: MIT
"""Counts by callgrind of what runs inside heartfelt's own compiled modules, call by call.

Run as a program it is the process that is counted: it beats with each hot call in turn. Between two calls it calls
os.getppid, where callgrind writes down what it has counted and starts again from nothing. What other objects do (the
interpreter, libc, the clock, which under valgrind is a system call) is left out; that they were called is not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

N_KEYS = 1000
OURS = re.compile(r"/heartfelt/_\w+\.[\w.-]+$")
_NAME = re.compile(r"\((\d+)\)(?: (.*))?")


@dataclass(frozen=True)
class Cost:
    """The cost of one beat of one call."""

    instructions: float
    calls_out: dict[str, float]  # calls of functions that are not ours, by name


def count(valgrind: str, folder: Path) -> dict[str, Cost]:
    """The cost of a beat by each hot call. `folder` takes callgrind's files."""
    command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--separate-threads=yes"]
    command += ["--dump-before=getppid", sys.executable, "-m", "tests.speed.callgrind"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_PRELOAD"))}
    # One seed of the hashes: each run finds its keys in the same places.
    env = {**plain, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    calls = json.loads(done.stdout)
    # A file a mark and thread; what came before the first mark is in the first.
    dumps = [folder / f"out.{mark + 1}-01" for mark in range(1, 2 * len(calls), 2)]
    return {call: cost_in(dump.read_text()) for call, dump in zip(calls, dumps, strict=True)}


def cost_in(dump: str) -> Cost:
    """A beat's share of a dump in callgrind's format (https://valgrind.org/docs/manual/cl-format.html)."""
    names: dict[tuple[str, str], str] = {}
    instructions, calls_out = 0, Counter[str]()
    here = callee_object = callee = ""
    after_calls = False

    def name(kind: str, text: str) -> str:
        """Names are given once, and are numbers from then on."""
        found = _NAME.fullmatch(text)
        if not found:
            return text
        if found[2] is not None:
            names[kind, found[1]] = found[2]
        return names[kind, found[1]]

    for line in dump.splitlines():
        key, _, value = line.partition("=")
        if key == "ob":
            here = callee_object = name("ob", value)
        elif key == "fn":
            name("fn", value)
        elif key == "cob":
            callee_object = name("ob", value)
        elif key == "cfn":
            callee = name("fn", value)
        elif key == "calls":
            if OURS.search(here) and not OURS.search(callee_object):
                calls_out[callee] += int(value.split()[0])
            callee_object, after_calls = here, True
        elif line and line[0] in "0123456789+-*":
            if after_calls:  # the callee's cost, which the callee has told itself
                after_calls = False
            elif OURS.search(here):
                instructions += int(line.split()[1])
    return Cost(instructions / N_KEYS, {function: n / N_KEYS for function, n in calls_out.items()})


def main() -> None:
    from tests.speed.hot_beats import beats

    calls = beats(N_KEYS)
    for call in calls.values():
        call()  # what is done once
        os.getppid()
        call()
        os.getppid()
    print(json.dumps(list(calls)))


if __name__ == "__main__":
    main()
