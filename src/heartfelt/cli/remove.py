# SPDX-License-Identifier: MIT
"""`heartfelt remove`: makes a monitor forget instances."""

from __future__ import annotations

import argparse

from heartfelt.cli._bulk import act, add_bulk_arguments

NAME = "remove"
HELP = "Remove instances from a monitor; the next beat of one makes it known again."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bulk_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return act(args, NAME, "removed")
