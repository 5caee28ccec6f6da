# SPDX-License-Identifier: MIT
"""The appearance of states and levels: a letter, a word and a colour each. The colours are those of Okabe and Ito,
which people with any kind of colour vision can distinguish, and a crimson; the letter says the same without colour."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.cells import set_cell_size
from rich.style import Style
from textual.color import Color

from heartfelt.cli.ls import printable

LONGEST_TEXT = 1000


class Mark(NamedTuple):
    letter: str
    word: str
    colour: str


MARKS = {
    "FAILED": Mark("F", "failed", "#C2003C"),
    "LOST": Mark("X", "lost", "#D55E00"),
    "HELD": Mark("H", "held", "#F0E442"),
    "STUCK": Mark("S", "stuck", "#CC79A7"),
    "LATE": Mark("L", "late", "#E69F00"),
    "NEW": Mark("N", "new", "#56B4E9"),
    "UP": Mark(".", "up", "#009E73"),
    "PAUSED": Mark("P", "paused", "#3A7CB8"),
    "LEFT": Mark("-", "left", "#8A8A8A"),
}
"""Worst first, as in `ls.STATES`; a held loss is next to a loss."""
UNKNOWN = Mark("?", "unknown", "#8A8A8A")
DOWN = frozenset({"FAILED", "LOST", "HELD", "STUCK"})
"""States that need attention."""
LEVELS = {"EMERGENCY": ("!!", "#D55E00"), "IMPORTANT": ("! ", "#E69F00"), "NORMAL": ("  ", "#8A8A8A")}
FADING = frozenset({"UP", "LATE", "NEW", "STUCK"})
"""States whose cells fade as the timeout approaches; in the others none is running."""
STEPS = 6
"""Steps of brightness. Few, so that few cells must be redrawn."""
_RANKS = {state: rank for rank, state in enumerate(MARKS)}


def mark_of(state: str) -> Mark:
    return MARKS.get(state, UNKNOWN)


def rank_of(state: str) -> int:
    """Returns the place of a state in the order "worst first"."""
    return _RANKS.get(state, len(_RANKS))


def step_of(state: str, share_left: float) -> int:
    """Returns the step of a cell's brightness, 0 to STEPS."""
    return round(share_left * STEPS) if state in FADING else STEPS


@lru_cache(maxsize=1024)
def cell_style(state: str, step: int, background: str) -> Style:
    """Returns the style of a cell in the grid; its letter is readable at each step."""
    full = Color.parse(mark_of(state).colour)
    fill = Color.parse(background).blend(full, 0.25 + 0.75 * step / STEPS)
    ink = _ink_on(fill)
    if state == "UP":
        ink = fill.blend(ink, 0.55)  # healthy instances, the majority, are subdued
    return Style(color=ink.rich_color, bgcolor=fill.rich_color, bold=state in DOWN)


@lru_cache(maxsize=64)
def chip_style(state: str) -> Style:
    """Returns the style of a state's letter outside the grid."""
    fill = Color.parse(mark_of(state).colour)
    return Style(color=_ink_on(fill).rich_color, bgcolor=fill.rich_color, bold=True)


def _ink_on(fill: Color) -> Color:
    """Returns black or white, whichever has more contrast: at least 4.5 to 1 (WCAG 2.2) on any colour."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill.normalized]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return Color(0, 0, 0) if luminance > 0.179 else Color(255, 255, 255)


def fitted(text: str, width: int) -> str:
    """Cuts or pads the text to a width, and replaces control characters, as the text comes from other programs."""
    clean = printable(text[:LONGEST_TEXT])
    fit = set_cell_size(clean, width)
    if width > 1 and len(fit) < len(clean) and not clean.startswith(fit.rstrip() + " " * (len(clean) - len(fit))):
        return set_cell_size(clean, width - 1) + "\N{HORIZONTAL ELLIPSIS}"
    return fit


def ago(ms: float) -> str:
    """Formats a time that has passed, in at most five columns."""
    seconds = max(0.0, ms / 1000)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds:.0f} s"
