# SPDX-License-Identifier: MIT
"""The text of a failed run in its reason: one line that says what went wrong."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback

import pytest

from heartfelt.monitor.fleet.run_text import MOST_LINE
from heartfelt.monitor.reasons import english


class Cause(Exception):
    pass


def said(world, text):
    """The part of the reason that comes from a text."""
    world.fail("job/a", text=text)
    _, _, line = english(world.of("job/a").reason).partition("its run failed")
    return line.removeprefix(": ")


def raised(error):
    """The text that `@job` reports of an exception."""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("reading\nno space left\n", "no space left"),
        ("reading\n  no space left  \n\n", "no space left"),
        ("  \n no space left\n", "no space left"),
        (" a\n b\n", "b"),
        ("reading\n--------\n", "reading"),
        ("***", "***"),
        (" \n\t\n", ""),
        ("ValueError: bad\ncolumn", "ValueError: bad column"),
        ("Error: rsync\nno space left", "no space left"),
        ("throw new Error('bad')\n^\n\nError: bad\n    at f (x.js:1:7)\n\nNode.js v20.11.1", "Error: bad"),
        ('Exception in thread "main" a.B: x\n\tat c.D\nCaused by: a.C: y\n\tat c.E\n\t... 3 more', "Caused by: a.C: y"),
    ],
)
def test_the_last_line_that_says_something(world, text, line):
    assert said(world, text) == line


def test_an_exceptions_first_line_is_kept_however_long_its_message_is(world):
    error = Cause("no such table: users\n[SQL: " + "SELECT 1, " * 100 + "]\n(Background: https://example.org/e)")
    line = said(world, raised(error))
    assert line.startswith(f"{__name__}.Cause: no such table: users [SQL: SELECT")
    assert line.endswith("... (Background: https://example.org/e)") and len(line) == MOST_LINE


def test_an_exception_of_one_long_line_is_cut_at_its_end(world):
    line = said(world, raised(ValueError("x" * 1000)))
    assert line.startswith("ValueError: xxx") and line.endswith("x...") and len(line) == MOST_LINE


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("raise ValueError('bad\\n column')", "ValueError: bad column"),
        ("try:\n    1 / 0\nexcept ArithmeticError:\n    raise OSError('no\\nroom')", "OSError: no room"),
        ("import sys\nprint('disk full', file=sys.stderr)", "disk full"),
        ("a b", "SyntaxError: invalid syntax"),
    ],
)
def test_the_end_of_a_python_program(world, program, line):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert said(world, "starting\n" + done.stderr) == line


def test_what_a_script_writes_after_a_traceback_is_kept(world):
    text = f"Traceback (most recent call last):\n  File x\nValueError: {'bad ' * 60}\ncleaned up\nbackup aborted"
    line = said(world, text)
    assert line.startswith("ValueError: bad bad") and line.endswith(" ... backup aborted")
