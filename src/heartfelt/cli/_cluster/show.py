# SPDX-License-Identifier: MIT
"""The lines of the demo: a row with what each monitor owns, each second, and a line for each event."""

from __future__ import annotations

import json
from collections.abc import Mapping

from heartfelt.cli._cluster.watching import Standing

EVERY_S = 1.0
WIDTH = 16


class Screen:
    """Prints lines; as JSON, an object a line."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._monitors = 0
        self._next_s = 0.0
        self._before: object = None

    def say(self, at_s: float, text: str) -> None:
        if self._as_json:
            print(json.dumps({"at": round(at_s, 2), "event": text}), flush=True)
        else:
            print(f"{at_s:6.1f} s  {text}", flush=True)

    def head(self, monitors: int) -> None:
        """Prints the heads of the columns."""
        self._monitors = monitors
        if not self._as_json:
            names = [f"monitor {n} owns" for n in range(1, monitors + 1)]
            print("\n" + " " * 10 + "".join(name.rjust(WIDTH) for name in [*names, "LOST"]), flush=True)

    def row(self, at_s: float, standings: Mapping[int, Standing], lost: int | None) -> None:
        """Prints a row, at most one a second, and only if it differs from the last one or that was long ago."""
        now = {n: (one.owned, one.leads) for n, one in standings.items()}, lost
        if at_s < self._next_s or (now == self._before and at_s < self._next_s + 4 * EVERY_S):
            return
        self._next_s, self._before = at_s + EVERY_S, now
        if self._as_json:
            owned = {n: one.owned for n, one in standings.items()}
            leads = [n for n, one in standings.items() if one.leads]
            print(json.dumps({"at": round(at_s, 2), "owned": owned, "leads": leads, "lost": lost}), flush=True)
            return
        cells = [_cell(standings.get(n)) for n in range(1, self._monitors + 1)]
        cells.append("?" if lost is None else f"{lost:,}")
        print(f"{at_s:6.1f} s  " + "".join(cell.rjust(WIDTH) for cell in cells), flush=True)


def _cell(one: Standing | None) -> str:
    if one is None:
        return "-"
    return f"leads  {one.owned:,}" if one.leads else f"{one.owned:,}"
