# SPDX-License-Identifier: MIT
"""The list of instances, one per line."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import attrgetter

from rich.segment import Segment
from rich.style import Style

from heartfelt.cli._top.fleet import HELD, Row
from heartfelt.cli._top.lines import Lines
from heartfelt.cli._top.marks import ago, chip_style, fitted, mark_of, rank_of

_by_service = attrgetter("service")


def _worst(row: Row) -> int:
    return rank_of(HELD if row.held else row.state)


# The fleet gives rows in the order of their ids. Sorts are stable, and much faster without tuples.
ORDERS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "worst first": lambda rows: sorted(sorted(rows, key=_by_service), key=_worst),
    "by service": lambda rows: sorted(rows, key=_by_service),
    "longest silent first": lambda rows: sorted(rows, key=attrgetter("last_beat_ms")),
    "newest change first": lambda rows: sorted(rows, key=attrgetter("since_ms"), reverse=True),
}
GAUGE = 8


class Table(Lines[Row]):
    """The table of instances. `now_ms` returns the time of the monitor's clock."""

    def __init__(self, now_ms: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._now_ms = now_ms
        self.empty = ""

    def key_of(self, item: Row) -> Hashable:
        return item.id

    def nothing(self) -> str:
        return self.empty

    def header(self) -> list[Segment]:
        service, instance, address, version, why = self._widths()
        cells = [("STATE", 8), ("SERVICE", service), ("INSTANCE", instance), ("ADDRESS", address)]
        cells += [("VERSION", version), ("  BEAT", 6), ("TIMEOUT", GAUGE), ("REASON", why)]
        return [Segment(" " + " ".join(fitted(text, width) for text, width in cells if width))]

    def item_line(self, item: Row, width: int) -> list[Segment]:
        mark = mark_of(item.shown)
        service, instance, address, version, why = self._widths()
        now_ms = self._now_ms()
        columns = ((item.service, service), (item.instance_id, instance), (item.address, address))
        texts = [fitted(text, width) for text, width in (*columns, (item.version, version)) if width]
        beat = ago(now_ms - item.last_beat_ms).rjust(6)
        return [
            Segment(" "),
            Segment(mark.letter, chip_style(item.shown)),
            Segment(f" {mark.word:6} {' '.join(texts)} {beat} "),
            *self._gauge(item, now_ms),
            Segment(f" {fitted(item.reason, why)}" if why else ""),
        ]

    def _gauge(self, item: Row, now_ms: float) -> list[Segment]:
        if item.state in ("LOST", "LEFT", "PAUSED") or item.lease_ms is None:
            return [Segment(" " * GAUGE)]
        full = round(item.share_left(now_ms) * GAUGE)
        colour = Style(color=mark_of(item.shown).colour)
        return [Segment("#" * full, colour), Segment("." * (GAUGE - full), Style(dim=True))]

    def _widths(self) -> tuple[int, int, int, int, int]:
        """Computes the widths of service, instance, address, version and reason; 0 means that there is no room."""
        room = self.size.width - 8 - 7 - GAUGE - 6
        version = 8 if room >= 70 else 0
        address = 15 if room >= 45 else 0
        room -= (version + 1 if version else 0) + (address + 1 if address else 0)
        service = max(8, min(24, room * 2 // 5))
        instance = max(4, min(36, room - service - 1))
        why = room - service - instance - 2
        return service, instance, address, version, why if why >= 12 else 0
