# SPDX-License-Identifier: MIT
"""`heartfelt backup`: copies the monitor's database, also while the monitor runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from heartfelt.cli import Failed
from heartfelt.cli._extra import monitor_extra
from heartfelt.cli.serve import add_config_arguments, flags_of
from heartfelt.errors import HeartfeltError

NAME = "backup"
HELP = "Copy the monitor's database to a file, even while the monitor runs, and check the copy."

FLAGS = (("--data", "data", "DIR", "the monitor's data folder (default: ./heartfelt-data)"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="file to write", metavar="FILE")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    add_config_arguments(parser, FLAGS)


def run(args: argparse.Namespace) -> int:
    with monitor_extra():
        from heartfelt.monitor.config import MonitorConfig
        from heartfelt.monitor.config.build import data_file
        from heartfelt.monitor.store.copies import backup
    try:
        config = MonitorConfig.load(args.config, flags=flags_of(args, FLAGS))
        contents = backup(data_file(config), Path(args.file), force=args.force)
    except HeartfeltError as error:
        raise Failed(str(error)) from None
    print(f"{contents.path}: {contents}")
    return 0
