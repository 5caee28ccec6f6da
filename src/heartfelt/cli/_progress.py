# SPDX-License-Identifier: MIT
"""A progress line on the terminal, rewritten in place; nothing if stderr is not a terminal."""

from __future__ import annotations

import shutil
import sys


class Progress:
    """`show` replaces the line, `clear` removes it: call `clear` before printing anything else."""

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
