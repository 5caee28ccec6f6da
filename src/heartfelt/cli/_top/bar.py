# SPDX-License-Identifier: MIT
"""The lines around a view: above, the monitor, the connection and the counts; below, the selection and the keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.segment import Segment
from rich.style import Style

from heartfelt.cli._top.fleet import FleetState, Row
from heartfelt.cli._top.marks import DOWN, MARKS, ago, chip_style, fitted, mark_of
from heartfelt.cli._top.painted import Painted

LIVE, CONNECTING, LOST = "live", "connecting", "lost"
BOLD = Style(bold=True)
DIM = Style(dim=True)
ALARM = Style(color="#000000", bgcolor="#E69F00", bold=True)
KEYS = (("/", "filter"), ("j k", "move"), ("enter", "detail"), ("p", "pause"), ("s", "order"), ("?", "help"))


def counted(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


@dataclass(slots=True)
class LinkState:
    """The state of the link to the monitor."""

    name: str = CONNECTING
    since: float = field(default_factory=time.monotonic)
    reason: str = ""
    retry_at: float = 0.0
    progress: str = ""


class Top(Painted):
    """Two lines; more while losses are held, the connection is lost, or the fleet of many monitors is not whole."""

    def __init__(self, url: str, fleet: FleetState, link: LinkState, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._url, self._fleet, self._link = url, fleet, link
        self.view = self.terms = self.order = ""
        self.beats_per_s: float | None = None
        self.missing = ""
        """Monitors that did not answer when everything was loaded."""
        self.without_events = False
        """Whether the events could not be loaded with the rest."""
        self._monitors = 0
        self._silent = ""
        self._trouble: str | None = None

    def take_stats(self, stats: dict[str, Any]) -> None:
        """Takes what the monitor says about itself, and about its fleet if it is one of several."""
        parts = stats["parts"]
        self.beats_per_s = parts["registry"]["beats_per_s"]
        self._monitors = len(stats.get("monitors", ()))
        self._silent = ", ".join(parts.get("fleet", {}).get("silent_names", ()))
        self._trouble = parts.get("redis", {}).get("trouble")

    def fleet_words(self) -> list[str]:
        """Says what is wrong with the fleet of monitors."""
        said = []
        if self._trouble:
            said.append(f"degraded, losses that need Redis are held: {self._trouble}")
        if self.without_events:
            said.append("the monitor cannot read its events now: earlier ones may be missing")
        if silent := self.missing or self._silent:
            said.append(f"no answer from {silent}: instances may be missing or out of date")
        return said

    def update(self) -> None:
        self.styles.height = 3 + self._is_held() + (self._link.name == LOST) + len(self.fleet_words())
        self.repaint()

    def _is_held(self) -> bool:
        return bool(self._fleet.hold.get("state", "NONE") != "NONE")

    def line(self, y: int) -> list[Segment]:
        lines = [self._title(), self._counts()]
        if self._link.name == LOST:
            lines.append([Segment(fitted(f" {self.lost_words()}", self.size.width), ALARM)])
        if self._is_held():
            lines.append([Segment(fitted(f" {self.hold_words()}", self.size.width), ALARM)])
        lines += [[Segment(fitted(f" {words}", self.size.width), ALARM)] for words in self.fleet_words()]
        lines.append(self._views())
        return lines[y] if y < len(lines) else []

    def _title(self) -> list[Segment]:
        fleet = self._fleet
        name = {LIVE: "live", CONNECTING: self._link.progress or "connecting", LOST: "CONNECTION LOST"}[self._link.name]
        colour = mark_of("UP" if self._link.name == LIVE else "LATE").colour
        here = " here" if self._monitors else ""
        rate = "" if self.beats_per_s is None else f"{self.beats_per_s:,.0f} beats/s{here}  "
        right = f"{rate}{time.strftime('%H:%M:%S')} "
        left = [Segment(" heartfelt top", BOLD), Segment(f"  {fitted(self._url, min(len(self._url), 40))}  ")]
        left.append(Segment(name, Style(color=colour, bold=True)))
        if self.size.width >= 60 and fleet.counts:
            left.append(Segment(f"  {counted(len(fleet.services), 'service')}", DIM))
        if self.size.width >= 80 and self._monitors:
            left.append(Segment(f"  {counted(self._monitors, 'monitor')}", DIM))
        room = self.size.width - sum(one.cell_length for one in left)
        return [*left, Segment(right.rjust(room), DIM) if room > len(right) else Segment("")]

    def _counts(self) -> list[Segment]:
        counts: dict[str, Any] = self._fleet.counts
        if not counts:
            return []
        states = dict(counts["states"])
        states["HELD"] = counts["held"]
        segments = [Segment(f" {counted(counts['total'], 'instance')}", BOLD)]
        for state, mark in MARKS.items():
            number = states.get(state, 0)
            if number > 0 or state in ("UP", "LOST"):
                before, after = (" (", ")") if state == "HELD" else ("  ", "")  # they are among the lost
                segments += [Segment(before), Segment(mark.letter, chip_style(state))]
                style = BOLD if state in DOWN and number else Style()
                segments.append(Segment(f" {number:,} {mark.word}{after}", style))
        return segments

    def lost_words(self) -> str:
        link = self._link
        wait_s = max(0.0, link.retry_at - time.monotonic())
        away = ago((time.monotonic() - link.since) * 1000)
        return f"connection lost {away} ago, data is stale; next try in {wait_s:.0f} s: {link.reason}"

    def hold_words(self) -> str:
        hold = self._fleet.hold
        verb = "held" if hold["state"] == "HOLDING" else "being released"
        return f"{hold['held']:,} losses are {verb} (R releases them): {hold['reason']}"

    def _views(self) -> list[Segment]:
        segments = [Segment(" ")]
        for key, name in (("1", "grid"), ("2", "table"), ("3", "events")):
            segments.append(Segment(f" {key} {name} ", Style(reverse=True, bold=True) if name == self.view else DIM))
        if self.terms:
            segments += [Segment("  filter: "), Segment(fitted(self.terms, min(len(self.terms), 24)), ALARM)]
        if self.order:
            segments.append(Segment(f"  {self.order}", DIM))
        return segments


class Bottom(Painted):
    """Two lines: the instance under the cursor; the keys, or the last message until the next key."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: Row | None = None
        self.now_ms = 0.0
        self.text = ""
        self.place = ""
        self.said = ""
        self.is_error = False

    def say(self, text: str, *, is_error: bool = False) -> None:
        self.said, self.is_error = text, is_error
        self.repaint()

    def line(self, y: int) -> list[Segment]:
        return self._selected() if y == 0 else self._keys()

    def _selected(self) -> list[Segment]:
        row = self.row
        if row is None:
            room = max(0, self.size.width - len(self.place) - 3)
            return [Segment(f" {fitted(self.text, room)} {self.place} ")]
        mark = mark_of(row.shown)
        room = self.size.width - len(self.place) - 5
        who = f"{row.service}/{row.instance_id}"
        beat = f"beat {ago(self.now_ms - row.last_beat_ms)} ago"
        lease = f", timeout {ago(row.lease_ms)}" if row.lease_ms else ""
        text = f" {mark.word}, {beat}{lease}: {row.reason}"
        width = max(12, min(len(who), room // 3))
        return [
            Segment(" "),
            Segment(mark.letter, chip_style(row.shown)),
            Segment(f" {fitted(who, width)}", BOLD),
            Segment(fitted(text, max(1, room - width)) + f" {self.place} "),
        ]

    def _keys(self) -> list[Segment]:
        if self.said:
            style = ALARM if self.is_error else BOLD
            return [Segment(fitted(f" {self.said}", self.size.width), style)]
        segments = [Segment(" ")]
        for key, name in (*KEYS, ("q", "quit")):
            segments += [Segment(f" {key} ", Style(reverse=True)), Segment(f" {name} ", DIM)]
        return segments
