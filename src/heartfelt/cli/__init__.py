# SPDX-License-Identifier: MIT
"""The command line: one module a command. heartfelt/__main__.py lists them.

A command is a module with the four names of `Command`. To add one, write the module and put it into that list. What it
needs beyond the standard library is imported in its `run`, so that the other commands work without it.
"""

from __future__ import annotations

import argparse
from typing import Protocol

__all__ = ["Command", "Failed", "UsageError"]


class Command(Protocol):
    """What a command's module has. `run` returns the exit status; 0 is success."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


class UsageError(Exception):
    """Options that are fine one by one, but not together. Ends as argparse's own errors do: usage, text, status 2."""


class Failed(Exception):
    """A command cannot do what it was asked to: its text, without usage, on standard error, and status 1.

    `status`: of the monitor's answer, if that is the reason.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status
