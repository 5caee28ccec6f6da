# SPDX-License-Identifier: MIT
"""A widget that renders its own lines. `repaint` draws only those that differ from the screen, so that only changes go
over a slow connection."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

PAGES_AND_ENDS: tuple[BindingType, ...] = (
    Binding("pagedown,ctrl+f", "move_pages(1)", "page down", show=False),
    Binding("pageup,ctrl+b", "move_pages(-1)", "page up", show=False),
    Binding("g,home", "go_top", "top", show=False),
    Binding("G,end", "go_end", "end", show=False),
    Binding("enter", "choose", "detail", show=False),
)
"""Keys of all widgets with a cursor. Each has its own keys for single steps."""


class Painted(Widget):
    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []

    def line(self, y: int) -> list[Segment]:
        """Renders a line of the screen, which may be shorter or longer than the widget is wide."""
        raise NotImplementedError

    @property
    def base(self) -> Style:
        return self.rich_style

    def repaint(self) -> None:
        """Renders all lines, and draws those that differ."""
        width, height = self.size
        strips = [self._strip(y, width) for y in range(height)]
        old, self._strips = self._strips, strips
        if len(old) != height:
            self.refresh()
            return
        for y, (was, now) in enumerate(zip(old, strips, strict=True)):
            if was != now:
                self.refresh(Region(0, y, width, 1))

    def render_line(self, y: int) -> Strip:
        if len(self._strips) != self.size.height:
            self._strips = [self._strip(n, self.size.width) for n in range(self.size.height)]
        return self._strips[y] if 0 <= y < len(self._strips) else Strip.blank(self.size.width, self.base)

    def _strip(self, y: int, width: int) -> Strip:
        base = self.base
        segments = [Segment(text, base + style if style else base) for text, style, *_ in self.line(y)]
        return Strip(segments).adjust_cell_length(width, base)

    def on_resize(self) -> None:
        self._strips = []
        self.repaint()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = []
