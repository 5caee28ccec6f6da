# SPDX-License-Identifier: MIT
"""Findings of a benchmark: a figure beside its goal, as a line of text and in JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One figure. goal: its upper bound (at_least: its lower bound), None for a figure that only informs."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        reached = self.value >= self.goal if self.at_least else self.value <= self.goal
        return f"goal {'>=' if self.at_least else '<='} {self.goal:g}: {'reached' if reached else 'MISSED'}"


class Findings:
    """Prints each finding as it comes; `write` writes all of them to a file, if one was requested."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(self, *args: object, **kwargs: object) -> None:
        finding = Finding(*args, **kwargs)  # type: ignore[arg-type]
        self.all.append(finding)
        print(f"{finding.name:<62}{finding.value:>12.3f} {finding.unit:<6}{finding.verdict}", flush=True)

    def write(self, path: Path | None) -> None:
        if path is not None:
            path.write_text(json.dumps([{**asdict(one), "verdict": one.verdict} for one in self.all], indent=1))


def parser(doc: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--json", type=Path)
    return made
