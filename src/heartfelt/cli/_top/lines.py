# SPDX-License-Identifier: MIT
"""A list of any length with a cursor; only the lines on the screen are rendered.

While the list changes, the cursor stays with its item, and the item in its line of the screen, so that readers do not
lose their place. Only a cursor that has not been moved stays at the top.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from heartfelt.cli._top.painted import PAGES_AND_ENDS, Painted

Item = TypeVar("Item")


class Chosen(Message):
    """Enter was pressed, or the item under the cursor was clicked."""

    def __init__(self, key: Hashable) -> None:
        super().__init__()
        self.key = key


class Moved(Message):
    """The cursor was moved."""


class Lines(Painted, Generic[Item], can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        *PAGES_AND_ENDS,
    ]
    HEADER = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.items: Sequence[Item] = ()
        self.cursor = 0
        self.top = 0
        self.moved = False
        self._key: Hashable = None

    # -- for subclasses

    def key_of(self, item: Item) -> Hashable:
        raise NotImplementedError

    def header(self) -> list[Segment]:
        raise NotImplementedError

    def item_line(self, item: Item, width: int) -> list[Segment]:
        raise NotImplementedError

    def nothing(self) -> str:
        """The text that is shown if there are no items."""
        raise NotImplementedError

    # -- the list

    def show(self, items: Sequence[Item]) -> None:
        screen_line = self.cursor - self.top
        self.items = items
        if self.moved and self._key is not None:
            found = next((n for n, item in enumerate(items) if self.key_of(item) == self._key), None)
            if found is not None:
                self.cursor = found
                self.top = found - screen_line
        else:
            self.cursor = self.top = 0
        self._settle()
        self.repaint()

    @property
    def current(self) -> Item | None:
        return self.items[self.cursor] if self.items else None

    def _settle(self) -> None:
        count, page = len(self.items), self.page_lines
        self.cursor = max(0, min(self.cursor, count - 1))
        self.top = min(max(self.top, self.cursor - page + 1), self.cursor)
        self.top = max(0, min(self.top, count - page))
        self._key = self.key_of(self.items[self.cursor]) if count else None

    @property
    def page_lines(self) -> int:
        return max(1, self.size.height - self.HEADER)

    def on_resize(self) -> None:
        self._settle()
        super().on_resize()

    # -- keys and mouse

    def action_move(self, by: int) -> None:
        self.moved = True
        self.cursor += by
        self._after_move()

    def action_move_pages(self, by: int) -> None:
        self.top += by * self.page_lines
        self.action_move(by * self.page_lines)

    def action_go_top(self) -> None:
        self.moved = False
        self.cursor = self.top = 0
        self._after_move()

    def action_go_end(self) -> None:
        self.moved = True
        self.cursor = len(self.items) - 1
        self._after_move()

    def action_choose(self) -> None:
        if self.items:
            self.post_message(Chosen(self._key))

    def _after_move(self) -> None:
        self._settle()
        self.repaint()
        self.post_message(Moved())

    def on_click(self, event: events.Click) -> None:
        line = self.top + event.y - self.HEADER
        if event.y < self.HEADER or line >= len(self.items):
            return
        if line == self.cursor and self.moved:
            self.action_choose()
        else:
            self.action_move(line - self.cursor)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-3)

    # -- drawing

    def line(self, y: int) -> list[Segment]:
        if y < self.HEADER:
            return [Segment(text, (style or Style()) + Style(bold=True)) for text, style, *_ in self.header()]
        n = self.top + y - self.HEADER
        if not self.items:
            return [Segment(" " + self.nothing())] if y == self.HEADER else []
        if n >= len(self.items):
            return []
        segments = self.item_line(self.items[n], self.size.width)
        if n != self.cursor:
            return segments
        width = sum(segment.cell_length for segment in segments)
        segments.append(Segment(" " * max(0, self.size.width - width)))
        return [
            Segment(text, style if style and style.bgcolor else Style(reverse=True)) for text, style, *_ in segments
        ]
