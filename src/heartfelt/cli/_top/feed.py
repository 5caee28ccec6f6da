# SPDX-License-Identifier: MIT
"""The list of events, one per line, newest first."""

from __future__ import annotations

import time
from collections.abc import Hashable

from rich.segment import Segment
from rich.style import Style

from heartfelt.cli._top.fleet import ListedEvent
from heartfelt.cli._top.lines import Lines
from heartfelt.cli._top.marks import LEVELS, chip_style, fitted, mark_of
from heartfelt.cli.events import words_of


def entry_line(entry: ListedEvent, width: int) -> list[Segment]:
    """Makes an event's line: time, level, new state if it changed, instance, text."""
    event = entry.event
    sign, colour = LEVELS.get(event["level"], LEVELS["NORMAL"])
    when = time.strftime("%H:%M:%S", time.localtime(event["time_ms"] / 1000))
    name = str(event["info"].get("name") or "")
    state = name.removeprefix("INSTANCE_") if event["type"] == "STATE" else ""
    segments = [
        Segment(f" {when} "),
        Segment(sign, Style(color=colour, bold=True)),
        Segment(" "),
        Segment(mark_of(state).letter, chip_style(state)) if state else Segment(" "),
    ]
    who = max(14, min(40, (width - 14) // 3))
    words = words_of(event)
    if state:
        words = f"{mark_of(state).word if state != 'REMOVED' else 'removed'}: {words.removeprefix(f'{name}: ')}"
    what = max(1, width - 17 - who)
    instance = event["instance_id"]
    subject = f"{event['service']}/{instance}" if instance else event["service"]
    segments.append(Segment(f" {fitted(subject, who)} {fitted(words, what)}"))
    return segments


class Feed(Lines[ListedEvent]):
    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = ""

    def key_of(self, item: ListedEvent) -> Hashable:
        return item.number

    def nothing(self) -> str:
        return self.empty

    def header(self) -> list[Segment]:
        who = max(14, min(40, (self.size.width - 14) // 3))
        return [Segment(f" {'TIME':8}    S {fitted('SERVICE/INSTANCE', who)} WHAT")]

    def item_line(self, item: ListedEvent, width: int) -> list[Segment]:
        return entry_line(item, width)
