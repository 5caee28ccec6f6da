# SPDX-License-Identifier: MIT
"""`heartfelt resume`: ends the pause of instances."""

from __future__ import annotations

import argparse

from heartfelt.cli._bulk import act, add_bulk_arguments

NAME = "resume"
HELP = "End the pause of instances."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bulk_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return act(args, NAME, "resumed")
