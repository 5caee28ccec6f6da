# SPDX-License-Identifier: MIT
"""`heartfelt run`: runs a command, and reports to a monitor when it starts, that it is alive, and how it ends."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from heartfelt.cli import UsageError
from heartfelt.cli._monitor import EnvironmentRefused, add_monitor_arguments, checked_keys, client_of
from heartfelt.cli._values import duration
from heartfelt.errors import ConfigError

if TYPE_CHECKING:
    from heartfelt.agent.jobs import JobRun

NAME = "run"
HELP = "Run a command and report it to the monitor. The exit status is the command's, whatever the monitor does."
INTERVAL_S = 30.0
TIMEOUT_INTERVALS = 3  # of --timeout and --interval, one follows from the other if it is not given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", metavar="KEY", help="name for the monitor (default: the name of the program)")
    parser.add_argument(
        "--interval",
        type=duration,
        metavar="DURATION",
        help=f"time between two beats: 90, 500ms, 5m (default: {INTERVAL_S:g} s, or a third of --timeout)",
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        metavar="DURATION",
        help="report the run as failed if nothing is heard of it for this long (default: three times the interval)",
    )
    parser.add_argument(
        "--every", type=duration, metavar="DURATION", help="how often this command is started, as by cron: 1h, 1d"
    )
    parser.add_argument(
        "--grace",
        type=duration,
        metavar="DURATION",
        help="report KEY as lost if a run comes later than --every by more than this",
    )
    parser.add_argument(
        "--max-duration", type=duration, metavar="DURATION", help="report the run as failed if it takes longer"
    )
    parser.add_argument(
        "--min-duration", type=duration, metavar="DURATION", help="report the run as failed if it is shorter"
    )
    add_monitor_arguments(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND ...", help="the command to run")


def run(args: argparse.Namespace) -> int:
    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not command:
        raise UsageError(
            "there is no command to run; give it at the end, for example: heartfelt run -- /usr/local/bin/backup --full"
        )
    report = report_of(args, command)  # reports invalid options before anything starts
    from heartfelt.cli._child import Child, NotStarted

    try:
        child = Child(command)
    except NotStarted as error:
        print(f"heartfelt run: {error}", file=sys.stderr)
        report.start()
        report.end(error.status, str(error))
        flush()
        return error.status
    try:
        report.start()
        status = child.wait()
        report.end(status or "ok", child.tail())
        flush()
    finally:
        child.close()
    return status


def report_of(args: argparse.Namespace, command: list[str]) -> JobRun:
    key = args.key or PurePath(command[0]).name
    checked_keys([key])
    interval_s, timeout_s = args.interval, args.timeout
    if interval_s is None:
        interval_s = INTERVAL_S if timeout_s is None else timeout_s / TIMEOUT_INTERVALS
    if timeout_s is None:
        timeout_s = interval_s * TIMEOUT_INTERVALS
    if interval_s >= timeout_s:
        raise UsageError(
            f"argument --interval: {interval_s:g} s is not shorter than --timeout {timeout_s:g} s, so that a "
            f"healthy command would be reported as failed; give a shorter --interval or a longer --timeout"
        )
    logging.basicConfig(format="heartfelt run: %(message)s", level=logging.INFO)
    from heartfelt.agent.jobs import Job, JobRun
    from heartfelt.agent.jobs.outbox import PingOutbox

    try:
        job = Job(
            key,
            interval=interval_s,
            timeout=timeout_s,
            every=args.every,
            grace=args.grace,
            max_duration=args.max_duration,
            min_duration=args.min_duration,
        )
    except ConfigError as error:
        raise UsageError(str(error)) from None
    try:
        outbox = PingOutbox(client_of(args, raise_errors=False))
    except EnvironmentRefused as error:  # the command must run even so: nobody watches a cron job start
        print(f"heartfelt run: nothing is reported to the monitor: {error}", file=sys.stderr)
        outbox = None
    return JobRun(job, outbox)


def flush() -> None:
    """Sends what is still waiting; logs what cannot be sent in time, so that the command's status is not held up."""
    from heartfelt.agent.jobs.outbox import flush_all

    flush_all()
