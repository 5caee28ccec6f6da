# SPDX-License-Identifier: MIT
"""`heartfelt restore`: puts a backup in the place of the monitor's database."""

from __future__ import annotations

import argparse
from pathlib import Path

from heartfelt.cli import Failed
from heartfelt.cli._extra import monitor_extra
from heartfelt.cli.serve import add_config_arguments, flags_of
from heartfelt.errors import HeartfeltError

NAME = "restore"
HELP = "Put a backup in the place of the monitor's database, which is moved aside. The monitor must be stopped."

FLAGS = (("--data", "data", "DIR", "the monitor's data folder (default: ./heartfelt-data)"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="backup, written by `heartfelt backup`", metavar="FILE")
    add_config_arguments(parser, FLAGS)


def run(args: argparse.Namespace) -> int:
    with monitor_extra():
        from heartfelt.monitor.config import MonitorConfig
        from heartfelt.monitor.config.build import data_file
        from heartfelt.monitor.store.copies import restore
    try:
        config = MonitorConfig.load(args.config, flags=flags_of(args, FLAGS))
        contents, moved = restore(Path(args.file), data_file(config))
    except HeartfeltError as error:
        raise Failed(str(error)) from None
    print(f"{contents.path}: {contents}")
    for path in moved:
        print(f"moved aside: {path}")
    return 0
