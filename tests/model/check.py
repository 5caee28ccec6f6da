# SPDX-License-Identifier: MIT
"""Model-checks the core's protocols, and that the checkers find the bugs of plants.py. See README.md beside the core.

Every scenario runs with the core's own files, twice for each build: through every schedule with a few forced switches,
and through many random ones. A scenario in which something is found, or a planted bug that is not found, is a failure.
`check.py SCENARIO` takes that one alone, and shows how a failure came about.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import life_word
import ownership
from plants import FREE, GIL, LIGHT, PLANTS, Plant

HERE = Path(__file__).resolve().parent
CORE = HERE.parents[1] / "heartfelt_core"
OUT = HERE.parents[1] / "build" / "model"
BUILDS = {FREE: ("-DHF_PARALLEL=1",), GIL: ("-DHF_PARALLEL=0",), LIGHT: ("-DHF_PARALLEL=0", "-DHF_MODEL_LIGHT=1")}
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-g1"]
DRIVER_FLAGS = ["-std=gnu++17", "-O2", "-w", "-fno-access-control", "-D_XOPEN_SOURCE=600"]
LIMIT_S = 120  # of one program; on a free machine each takes a few
PLANT_ITERATIONS = 100_000  # most are found in the first hundred, one of them at about 30,000


class Scenario(NamedTuple):
    builds: tuple[str, ...]
    switches: int | None  # forced ones of the exhaustive search; None: it would not end (map), or while a thread
    # waits until a time (verdicts: relacy's search takes the other threads' end for the end of all)
    iterations: int  # of the random one


SCENARIOS = {
    "word": Scenario((FREE, GIL, LIGHT), 1, 100_000),
    "reuse": Scenario((FREE, GIL, LIGHT), 1, 60_000),
    "map": Scenario((FREE,), None, 100_000),
    "bell": Scenario((GIL,), 2, 200_000),
    "verdicts": Scenario((FREE, GIL, LIGHT), None, 30_000),
    "close": Scenario((FREE, GIL, LIGHT), 1, 30_000),
}


class Row(NamedTuple):
    good: bool
    what: str
    build: str
    explored: str
    trail: str


def run(command: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False, text=True, cwd=HERE
        )
    except subprocess.TimeoutExpired:
        return 3, f"{' '.join(command)} did not end in {LIMIT_S} s"
    return done.returncode, done.stdout


def must(command: list[str]) -> None:
    status, output = run(command)
    if status != 0:
        sys.exit(f"{' '.join(command)}\n{output}")


def compile_program(where: Path, core: Path, scenario: str, build: str, level: str) -> Path:
    """The core, a scenario and the driver, in one program."""
    where.mkdir(parents=True, exist_ok=True)
    sources = [*sorted(core.glob("hf_*.c")), HERE / f"scenario_{scenario}.c"]
    objects = []
    for source in sources:
        objects.append(str(where / f"{source.stem}.o"))
        must([os.environ.get("CC", "cc"), *FLAGS, level, *BUILDS[build], "-include", str(HERE / "shim.h"), f"-I{HERE}",
              f"-I{core}", "-c", str(source), "-o", objects[-1]])  # fmt: skip
    program = where / scenario
    must([os.environ.get("CXX", "c++"), *objects, str(OUT / "driver.o"), "-o", str(program)])
    return program


def explored(output: str) -> str:
    """Returns the count in the driver's last line."""
    match = re.search(r"^(explored|found in iteration) (\d+)$", output, re.MULTILINE)
    return f"{int(match[2]):,}" if match else "?"


def searches(name: str, iterations: int) -> list[list[str]]:
    switches = SCENARIOS[name].switches
    return ([["bound", str(switches)]] if switches is not None else []) + [["random", str(iterations)]]


def check_scenario(name: str, build: str) -> list[Row]:
    scenario = SCENARIOS[name]
    program = compile_program(OUT / f"{name}-{list(BUILDS).index(build)}", CORE, name, build, "-O1")
    rows = []
    for search in searches(name, scenario.iterations):
        status, output = run([str(program), *search])
        kind = f"all with {search[1]} forced switch{'es' * (search[1] != '1')}" if search[0] == "bound" else "random"
        rows.append(
            Row(status == 0, name, build, f"{explored(output)} schedules, {kind}", output[-5000:] if status else "")
        )
    return rows


def check_plant(number: int, plant: Plant, build: str) -> list[Row]:
    where = OUT / f"plant-{number}-{list(BUILDS).index(build)}"
    core = where / "core"
    shutil.rmtree(where, ignore_errors=True)
    core.mkdir(parents=True)
    for file in [*CORE.glob("hf_*.c"), *CORE.glob("hf_*.h")]:
        text = file.read_text()
        if file.name == plant.file:
            if text.count(plant.old) != 1:
                sys.exit(
                    f"plants.py: {plant.name!r}: {plant.file} has its text {text.count(plant.old)} times, not once"
                )
            text = text.replace(plant.old, plant.new)
        (core / file.name).write_text(text)
    program = compile_program(where, core, plant.scenario, build, "-O0")
    for search in reversed(searches(plant.scenario, PLANT_ITERATIONS)):
        status, output = run([str(program), *search])
        found = status == 1 and "found in iteration" in output
        if found:
            break
    says = f"found in schedule {explored(output)}, {search[0]}" if found else "NOT FOUND"
    return [Row(found, f"{plant.scenario}: {plant.name}", build, says, "" if found else output[-2000:])]


def check_spin() -> list[Row]:
    return [Row(*row) for row in life_word.check(OUT / "spin", run)]


def check_ownership() -> list[Row]:
    return [Row(*row) for row in ownership.check(OUT / "ownership", run)]


def main() -> int:
    only = sys.argv[1] if len(sys.argv) > 1 else None
    if subprocess.run([str(HERE / "get_checkers.sh")], check=False).returncode != 0:
        return 1 if os.environ.get("CI") else 0
    began = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    must([os.environ.get("CXX", "c++"), *DRIVER_FLAGS, "-c", str(HERE / "driver.cpp"), "-o", str(OUT / "driver.o")])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [pool.submit(check_scenario, n, b) for n, s in SCENARIOS.items() for b in s.builds if only in (None, n)]
        jobs += [pool.submit(check_plant, number, plant, build) for number, plant in enumerate(PLANTS)
                 for build in plant.builds if only in (None, plant.scenario)]  # fmt: skip
        if only in (None, "spin"):
            jobs.append(pool.submit(check_spin))
        if only in (None, "ownership"):
            jobs.append(pool.submit(check_ownership))
        rows = []
        for job in jobs:
            for row in job.result():
                print(f"{'ok  ' if row.good else 'FAIL'} {row.what:<62} {row.build:<18} {row.explored}", flush=True)
                rows.append(row)
    for row in rows:
        if not row.good:
            print(f"\n== {row.what}, {row.build}\n{row.trail}")
    n_bad = sum(not row.good for row in rows)
    print(f"{len(rows)} checks, {n_bad} failed, in {time.monotonic() - began:.0f} s")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
