# SPDX-License-Identifier: MIT
"""The command line: one module a command. heartfelt/__main__.py lists them.

A command is a module with the four names of `CliCommand`. To add one, write the module and add it to that list. Import
whatever it needs beyond the standard library in its `run`, so that the other commands work without it.

A module whose name begins with an underscore is not a command.
"""

from __future__ import annotations

import argparse
from typing import Protocol

__all__ = ["CliCommand", "Failed", "UsageError"]


class CliCommand(Protocol):
    """The names in a command's module. `run` returns the exit status; 0 is success."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


class UsageError(Exception):
    """Options that are invalid, or do not go together. Reported as argparse does it: usage, text, status 2."""


class Failed(Exception):
    """A command that cannot do its work. The text goes to standard error, without usage; the exit status is 1.

    `status`: the HTTP status of the monitor's answer, if that is the reason.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status
