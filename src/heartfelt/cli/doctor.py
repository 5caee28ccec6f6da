# SPDX-License-Identifier: MIT
"""`heartfelt doctor`: looks at the monitor's data folder, and repairs its database."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from heartfelt.cli import Failed
from heartfelt.cli._extra import monitor_extra
from heartfelt.cli.serve import add_config_arguments, flags_of
from heartfelt.errors import HeartfeltError

NAME = "doctor"
HELP = "Check the monitor's data folder and say what is wrong and what to do. Exit status 1: there are problems."

FLAGS = (("--data", "data", "DIR", "the monitor's data folder (default: ./heartfelt-data)"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repair",
        action="store_true",
        help="build a new database from all rows that can be read; the old one is moved aside. The monitor must be "
        "stopped",
    )
    add_config_arguments(parser, FLAGS)


def run(args: argparse.Namespace) -> int:
    with monitor_extra():
        from heartfelt.monitor.config import MonitorConfig
        from heartfelt.monitor.config.build import data_file
        from heartfelt.monitor.store.doctor import Severity, examine
    try:
        config = MonitorConfig.load(args.config, flags=flags_of(args, FLAGS))
        path = data_file(config)
        if args.repair:
            _repair(path)
        problems = 0
        for finding in examine(path):
            problems += finding.level is Severity.PROBLEM
            print(finding)
    except HeartfeltError as error:
        raise Failed(str(error)) from None
    return 1 if problems else 0


def _repair(path: Path) -> None:
    from heartfelt.monitor.store.repair import repair

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    done = repair(path, logging.getLogger("heartfelt.monitor.store"))
    print(f"repaired: {done.contents}")
    for table, count in done.dropped.items():
        if count:
            print(f"dropped:  {count} rows of table {table}, which cannot be read; they are kept in the table damaged")
    for table in done.unreadable:
        print(f"dropped:  an unknown number of rows of table {table}, which SQLite cannot read")
    for moved in done.moved:
        print(f"moved aside: {moved}")
