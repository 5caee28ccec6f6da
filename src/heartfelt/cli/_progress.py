# SPDX-License-Identifier: MIT
"""A line on the terminal that is written over again and again; nothing where stderr is no terminal."""

from __future__ import annotations

import shutil
import sys


class Progress:
    """`show` replaces the line, `clear` takes it away: call that before anything else is printed."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        if not self.live:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
