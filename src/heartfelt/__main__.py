# SPDX-License-Identifier: MIT
"""`heartfelt` and `python -m heartfelt`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from heartfelt._version import __version__
from heartfelt.cli import (
    CliCommand,
    Failed,
    UsageError,
    ack,
    backup,
    beat,
    demo,
    doctor,
    events,
    health,
    ls,
    pause,
    remove,
    restore,
    resume,
    run,
    serve,
    token,
    top,
)

COMMANDS: tuple[CliCommand, ...] = (
    demo, beat, run, serve, health, token, backup, restore, doctor, ls, events, top, pause, resume, ack, remove,
)  # fmt: skip
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
PIPE_CLOSED = 141  # 128 + SIGPIPE


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heartfelt",
        description="Tells at once which of the many things you watch has stopped beating.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"heartfelt {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP, allow_abbrev=False)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command, subparser=subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. Bad arguments raise SystemExit(2), as argparse does."""
    args = build_parser().parse_args(argv)
    command: CliCommand = args.command
    subparser: argparse.ArgumentParser = args.subparser
    try:
        status = command.run(args)
        sys.stdout.flush()  # here, where a closed pipe is handled
        return status
    except UsageError as error:
        subparser.error(str(error))
    except Failed as error:
        print(f"heartfelt {command.NAME}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone, for example `| head`. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


if __name__ == "__main__":
    sys.exit(main())
