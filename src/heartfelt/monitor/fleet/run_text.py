# SPDX-License-Identifier: MIT
"""The line of a run's text that says what went wrong: its last one, or the exception that ended the program.

The last line of a stack trace, or of an exception with a long message, often says nothing.
"""

from __future__ import annotations

import re

__all__ = ["line_of"]

MOST_LINE = 200
"""Characters of a run's text in a reason."""
_CUT = " ... "
_EXCEPTION = re.compile(r"(?:(?:\w+\.)+[A-Z]\w*|[A-Z]\w+(?:Error|Exception|Expired|Exit|Interrupt)): \S")
"""The beginning of an exception, as `@job` and Python's interpreter write it: "ValueError: no room"."""
_TRACEBACK = "Traceback (most recent call last):"
_SAYS_NOTHING = re.compile(r"\W*$|\s+(?:at |\.\.\. \d+ more)|Node\.js v\d")
"""Rulers, lines of Java's and Node's stack traces, and what Node.js writes last of all."""


def line_of(text: str) -> str | None:
    """Returns one line, at most MOST_LINE characters long; None: the text says nothing. The lines of an exception are
    joined; if they are too long together, their beginning and the last one are kept."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    first = _exception(lines)
    if first is None:
        telling = (line for line in reversed(lines) if not _SAYS_NOTHING.match(line))
        return _cut(next(telling, lines[-1]).strip(), "")
    return _cut(" ".join(" ".join(lines[first:]).split()), lines[-1].strip() if first < len(lines) - 1 else "")


def _cut(line: str, end: str) -> str:
    if len(line) <= MOST_LINE:
        return line
    end = end[: MOST_LINE // 2]
    return line[: MOST_LINE - len(_CUT) - len(end)] + _CUT + end if end else line[: MOST_LINE - 3] + "..."


def _exception(lines: list[str]) -> int | None:
    """Returns the number of the line at which an exception begins: the first line, or the one after a traceback."""
    if _EXCEPTION.match(lines[0]):
        return 0
    traces = [n for n, line in enumerate(lines) if line == _TRACEBACK]
    if not traces:
        return None
    after = range(traces[-1] + 1, len(lines))
    first = next((n for n in after if not lines[n][0].isspace()), None)
    return first if first is not None and _EXCEPTION.match(lines[first]) else None
