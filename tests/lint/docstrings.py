# SPDX-License-Identifier: MIT
"""python -m tests.lint.docstrings [PATH ...]: refuses docstrings that begin with a word of REFUSED.

A docstring begins with a verb ("Returns the ...") or a noun ("A session of ..."), so that its first words say what the
thing is or does. Comments that stand as strings below a field count, too.

Without arguments it checks the folders in CHECKED.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFUSED = frozenset({"Of", "Who", "Whose", "What", "Which", "Where", "So"})
CHECKED = ("src", "tests", "benchmarks", "examples")
"""Folders that are checked."""


def find(source: str, name: str) -> Iterator[str]:
    """Yields a line for each refused docstring of a module."""
    for node in ast.walk(ast.parse(source, name)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        text = node.value.value
        if not isinstance(text, str) or not (first := re.match(r"\s*(\w+)", text)):
            continue
        if first[1] in REFUSED:
            yield f"{name}:{node.lineno}: begins with {first[1]!r}; begin with a verb or a noun: {shown(text)}"


def shown(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 60 else line[:60] + "..."


def check(paths: Iterable[Path]) -> list[str]:
    """Returns the refused docstrings of these files, and of all Python files in these folders."""
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; correct CHECKED in {Path(__file__).name}, or the argument")
        files = sorted([*path.rglob("*.py"), *path.rglob("*.pyi")]) if path.is_dir() else [path]
        for file in files:
            name = (file.relative_to(ROOT) if file.is_relative_to(ROOT) else file).as_posix()
            found += find(file.read_text("utf-8"), name)
    return sorted(found)


def check_all() -> list[str]:
    return check([ROOT / one for one in CHECKED])


def main(arguments: list[str]) -> int:
    found = check([Path(one).resolve() for one in arguments]) if arguments else check_all()
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
