# SPDX-License-Identifier: MIT
"""`heartfelt pause`: nobody is notified about some instances, for a while or until they are resumed."""

from __future__ import annotations

import argparse

from heartfelt.cli._bulk import act, add_bulk_arguments

NAME = "pause"
HELP = "Pause instances: nobody is notified about them, until they are resumed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bulk_arguments(parser, for_="the pause ends after this: 90s, 2h, 1d12h (default: when they are resumed)")


def run(args: argparse.Namespace) -> int:
    return act(args, NAME, "paused", for_s=args.for_s)
