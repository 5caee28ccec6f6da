# SPDX-License-Identifier: MIT
"""Instructions a beat, counted by callgrind, beside those that are stored in instructions.json.

python tests/speed/instructions.py [--record | --is-stored]

A number holds for one Python, machine, compiler and set of its flags. 3 % more than is stored is too many.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.speed.callgrind import Cost, count

STORE = Path(__file__).with_name("instructions.json")
ROOM = 0.03
HOW_TO_STORE = "`make bench-instructions` stores them"


def compiled_by(module: Path) -> str:
    """Returns the compiler's name and version from a module, such as 'GCC: (Debian 12.2.0-14) 12.2.0', 'clang version
    16.0.6'."""
    found = re.findall(rb"[ -~]*(?:GCC: \(|clang version )[ -~]+", module.read_bytes())
    clang = [text for text in found if b"clang" in text]  # beside the C library's own start files, which GCC compiled
    return (clang or found or [b"an unknown compiler"])[0].decode()


def hot_module() -> Path:
    spec = importlib.util.find_spec("heartfelt._hot")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)


def setting() -> dict[str, str]:
    """Returns the platform that a number of instructions is valid for."""
    text = compiled_by(hot_module())
    family = "clang" if "clang" in text else "gcc"
    vendor = re.search(r"Debian|Ubuntu|Alpine|Red Hat|SUSE|Apple", text)
    versions = re.findall(r"(\d+)\.\d+\.\d+", text)
    flags = (sysconfig.get_config_var("CFLAGS") or "").split()
    return {
        "python": "{}.{}".format(*sys.version_info) + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
        "machine": platform.machine(),
        "compiler": " ".join(filter(None, [family, versions[-1] if versions else "", vendor and vendor[0]])),
        "flags": " ".join(flag for flag in flags if flag.startswith(("-f", "-m", "-O", "-D", "-U"))),
    }


def entries() -> list[dict]:
    return json.loads(STORE.read_text()) if STORE.exists() else []


def stored() -> dict[str, float] | None:
    """Instructions a beat by call, as they are stored for this setting."""
    here = setting()
    return next((entry["instructions"] for entry in entries() if here.items() <= entry.items()), None)


def none_stored() -> str:
    return f"no instructions are stored for {', '.join(setting().values())}: {HOW_TO_STORE}"


def counted(valgrind: str) -> dict[str, Cost]:
    with tempfile.TemporaryDirectory() as folder:
        return count(valgrind, Path(folder))


def record(costs: dict[str, Cost], valgrind: str) -> None:
    """In the place of what was stored for this setting; what is stored for others is left as it is."""
    here = setting()
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        cython = importlib.metadata.version("Cython")
    except importlib.metadata.PackageNotFoundError:
        cython = "unknown"
    entry = {
        **here,
        "counted_with": {"compiler": compiled_by(hot_module()), "cython": cython, "valgrind": version},
        "instructions": {call: round(cost.instructions, 1) for call, cost in costs.items()},
    }
    others = [other for other in entries() if not here.items() <= other.items()]
    in_order = sorted([*others, entry], key=lambda one: [one[key] for key in here])
    STORE.write_text(json.dumps(in_order, indent=2) + "\n")


def changes(costs: dict[str, Cost], known: dict[str, float]) -> dict[str, float]:
    """How many times what is stored each call takes now; infinite where nothing is stored for the call."""
    return {call: cost.instructions / known[call] if call in known else float("inf") for call, cost in costs.items()}


def too_many(ratios: dict[str, float]) -> list[str]:
    return [call for call, ratio in ratios.items() if ratio > 1 + ROOM]


def fewer(ratios: dict[str, float]) -> list[str]:
    return [call for call, ratio in ratios.items() if ratio < 1 - ROOM]


def table(costs: dict[str, Cost], known: dict[str, float]) -> str:
    lines = [f"{'instructions a beat':<24}{'stored':>8}{'now':>8}{'ratio':>8}"]
    for call, ratio in changes(costs, known).items():
        then = f"{known[call]:8.1f}" if call in known else f"{'-':>8}"
        shown = f"{ratio:8.3f}" if call in known else f"{'-':>8}"
        lines.append(f"{call:<24}{then}{costs[call].instructions:8.1f}{shown}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help="store what is counted")
    what.add_argument("--is-stored", action="store_true", help="exit status 0 if there is a number for this setting")
    options = parser.parse_args()
    known = stored()
    if options.is_stored:
        return 0 if known is not None else 1
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("valgrind is not here: tests/get_tool.sh installs it")
        return 2
    costs = counted(valgrind)
    print(f"{', '.join(setting().values())}\n{table(costs, known or {})}")
    if options.record:
        record(costs, valgrind)
        print(f"stored in {STORE.name}; other settings in it, which stay as they are: {len(entries()) - 1}")
        return 0
    if known is None:
        print(none_stored())
        return 2
    return 1 if too_many(changes(costs, known)) else 0


if __name__ == "__main__":
    sys.exit(main())
