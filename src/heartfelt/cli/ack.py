# SPDX-License-Identifier: MIT
"""`heartfelt ack`: says that somebody knows of losses and failures, so that nobody is notified again."""

from __future__ import annotations

import argparse

from heartfelt.cli._bulk import act, add_bulk_arguments

NAME = "ack"
HELP = "Acknowledge losses and failures: nobody is notified again, until they recover."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bulk_arguments(parser, for_="notify again after this, if still down: 90s, 2h, 1d12h (default: never)")


def run(args: argparse.Namespace) -> int:
    return act(args, NAME, "acknowledged", for_s=args.for_s)
