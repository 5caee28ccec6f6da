# SPDX-License-Identifier: MIT
"""The fleet as a grid: one cell per instance, grouped by service. A cell fades as its timeout approaches, so that
instances that fail together can be seen before they are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType

from heartfelt.cli._top.feed import entry_line
from heartfelt.cli._top.fleet import HELD, ListedEvent, Row
from heartfelt.cli._top.lines import Chosen, Moved
from heartfelt.cli._top.marks import DOWN, cell_style, fitted, mark_of, rank_of, step_of
from heartfelt.cli._top.painted import PAGES_AND_ENDS, Painted

WELL = ("UP", "NEW", "LATE")


@dataclass(slots=True)
class Group:
    """One line of a service's cells; only its first line has the `label`."""

    label: str
    rows: list[Row]
    hurt: bool = False


class Grid(Painted, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move_lines(1)", "down", show=False),
        Binding("k,up", "move_lines(-1)", "up", show=False),
        Binding("l,right", "move(1)", "right", show=False),
        Binding("h,left", "move(-1)", "left", show=False),
        *PAGES_AND_ENDS,
    ]

    def __init__(self, now_ms: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._now_ms = now_ms
        self._rows: list[Row] = []
        self._worst_first = False
        self._groups: list[Group] = []
        self._at: tuple[int, int] = (0, 0)
        self._chosen: int | None = None
        self._tail: list[ListedEvent] = []
        self.cell = 1
        self.top = 0
        self._moved = False
        self.empty = ""

    # -- the cells

    def show(self, rows: list[Row], *, worst_first: bool, tail: list[ListedEvent]) -> None:
        """Shows `rows`, in the order of their ids, and `tail`: events for the rest of the screen."""
        self._rows, self._worst_first, self._tail = rows, worst_first, tail
        self._arrange()
        self.repaint()

    def _arrange(self) -> None:
        by_service: dict[str, list[Row]] = {}
        for row in self._rows:
            by_service.setdefault(row.service, []).append(row)
        states = {name: Counter([HELD if row.held else row.state for row in rows]) for name, rows in by_service.items()}
        names = sorted(by_service)
        if self._worst_first:
            names.sort(
                key=lambda name: min((rank_of(state) for state in states[name] if state in DOWN), default=len(DOWN))
            )
        room = max(2, self.size.width - self.label_width - 3)
        lines_of_two = sum(-(-len(rows) // (room // 2)) for rows in by_service.values())
        self.cell = 2 if lines_of_two <= self.size.height else 1
        most = room // self.cell
        self._groups = []
        for name in names:
            rows = by_service[name]
            bad = any(state in DOWN for state in states[name])
            label = f"{sum(states[name][state] for state in WELL)}/{len(rows)}"
            name_width = self.label_width - len(label) - 1
            for begin in range(0, len(rows), most):
                text = f"{fitted(name, name_width)} {label}" if begin == 0 else ""
                self._groups.append(Group(text, rows[begin : begin + most], bad))
        self._settle()

    @property
    def label_width(self) -> int:
        return 14 if self.size.width < 60 else 22

    @property
    def groups(self) -> list[Group]:
        return self._groups

    @property
    def current(self) -> Row | None:
        if not self._groups:
            return None
        line, column = self._at
        return self._groups[line].rows[column]

    def _settle(self) -> None:
        """Puts the cursor where its instance is now, or as near as possible, and scrolls there; if the cursor was not
        moved, it stays at the top."""
        if not self._groups:
            self._at, self._chosen, self.top = (0, 0), None, 0
            return
        line, column = self._at if self._moved else (0, 0)
        if self._moved and self._chosen is not None and not self._holds(line, column, self._chosen):
            for n, group in enumerate(self._groups):
                found = next((m for m, row in enumerate(group.rows) if row.id == self._chosen), None)
                if found is not None:
                    line, column = n, found
                    break
        self._put(line, column)

    def _holds(self, line: int, column: int, id_: int) -> bool:
        return (
            line < len(self._groups)
            and column < len(self._groups[line].rows)
            and (self._groups[line].rows[column].id == id_)
        )

    def _put(self, line: int, column: int) -> None:
        line = max(0, min(line, len(self._groups) - 1))
        column = max(0, min(column, len(self._groups[line].rows) - 1))
        self._at = (line, column)
        self._chosen = self._groups[line].rows[column].id
        height = max(1, self.size.height)
        self.top = min(max(self.top, line - height + 1), line)
        self.top = max(0, min(self.top, len(self._groups) - height))

    def on_resize(self) -> None:
        self._arrange()
        super().on_resize()

    # -- keys and mouse

    def _move_to(self, line: int, column: int) -> None:
        if self._groups:
            self._moved = (line, column) != (0, 0)
            self._put(line, column)
            self.repaint()
            self.post_message(Moved())

    def action_move(self, by: int) -> None:
        line, column = self._at
        column += by
        if self._groups and column < 0 < line:
            line, column = line - 1, len(self._groups[line - 1].rows) - 1
        elif self._groups and column >= len(self._groups[line].rows) and line + 1 < len(self._groups):
            line, column = line + 1, 0
        self._move_to(line, column)

    def action_move_lines(self, by: int) -> None:
        self._move_to(self._at[0] + by, self._at[1])

    def action_move_pages(self, by: int) -> None:
        self.top += by * self.size.height
        self.action_move_lines(by * self.size.height)

    def action_go_top(self) -> None:
        self._move_to(0, 0)

    def action_go_end(self) -> None:
        self._move_to(len(self._groups), 1 << 30)

    def action_choose(self) -> None:
        if self._chosen is not None:
            self.post_message(Chosen(self._chosen))

    def on_click(self, event: events.Click) -> None:
        line = self.top + event.y
        column = (event.x - self.label_width - 2) // self.cell
        if line >= len(self._groups) or not 0 <= column < len(self._groups[line].rows):
            return
        if (line, column) == self._at:
            self.action_choose()
        else:
            self._move_to(line, column)

    def on_mouse_scroll_down(self) -> None:
        self.action_move_lines(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move_lines(-3)

    # -- drawing

    def line(self, y: int) -> list[Segment]:
        n = self.top + y
        if not self._groups:
            return [Segment(" " + self.empty)] if y == 0 else []
        if n >= len(self._groups):
            return self._tail_line(n - len(self._groups))
        group = self._groups[n]
        label = Style(bold=True) if group.hurt else Style()
        segments = [Segment(f" {group.label.ljust(self.label_width + 1)}", label)]
        now_ms = self._now_ms()
        background = self.background_colors[1].hex
        text, style = "", Style()
        for column, row in enumerate(group.rows):
            if (n, column) == self._at:
                its = Style(color=self.background_colors[1].rich_color, bgcolor=self.base.color, bold=True)
                letter = mark_of(row.shown).letter
            else:
                its = cell_style(row.shown, step_of(row.shown, row.share_left(now_ms)), background)
                letter = mark_of(row.shown).letter
            if its is not style and text:
                segments.append(Segment(text, style))
                text = ""
            style = its
            text += letter.ljust(self.cell)
        segments.append(Segment(text, style))
        return segments

    def _tail_line(self, n: int) -> list[Segment]:
        """A line below the cells: an empty one, a title, then events."""
        room = self.size.height - len(self._groups) - 2
        if room < 2 or n == 0 or not self._tail:
            return []
        if n == 1:
            return [Segment(" newest events that matter", Style(bold=True))]
        return entry_line(self._tail[n - 2], self.size.width) if n - 2 < len(self._tail) else []
