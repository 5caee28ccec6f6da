# SPDX-License-Identifier: MIT
"""A yes-or-no question, the help, and the input line of the filter."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from heartfelt.cli._top.marks import MARKS, chip_style

HELP = (
    ("1 2 3, tab", "grid, table, events"),
    ("j k, arrows", "move; in the grid h l, too"),
    ("g G, pgup pgdn", "top, end; pages"),
    ("enter", "details of the instance or the event"),
    ("/", "filter by words and states: payment failed"),
    ("escape", "clear the filter; back"),
    ("s", "change the order"),
    ("a", "acknowledge its loss or failure"),
    ("p", "pause or resume the instance"),
    ("x", "remove the instance"),
    ("R", "release held losses"),
    ("space", "freeze the screen, or continue"),
    ("t", "light or dark"),
    ("q, ctrl+c", "quit"),
)


class Confirm(ModalScreen[bool]):
    """Returns True for y; False for n, escape, enter and q."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,enter,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(Text.assemble(self._question, "\n\n", ("y", "reverse"), " yes   ", ("n", "reverse"), " no"))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark", "leave", "close")]

    def compose(self) -> ComposeResult:
        text = Text()
        for keys, what in HELP:
            text.append(f"{keys:16}", "bold").append(f"{what}\n")
        for n, (state, mark) in enumerate(MARKS.items()):
            text.append("\n" if n % 4 == 0 else "  ")
            text.append(mark.letter, chip_style(state)).append(f" {mark.word:8}")
        text.append("\n\nA cell fades while its lease runs out.")
        yield Static(text)

    def action_leave(self) -> None:
        self.dismiss(None)


class FilterInput(Input):
    """Reports each change of the text, and its end."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "no filter", show=False)]

    class Done(Message):
        """`kept`: ended by enter; otherwise the filter is cleared."""

        def __init__(self, kept: bool) -> None:
            super().__init__()
            self.kept = kept

    def action_leave(self) -> None:
        self.post_message(self.Done(False))

    def on_input_submitted(self) -> None:
        self.post_message(self.Done(True))
