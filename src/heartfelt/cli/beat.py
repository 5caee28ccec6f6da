# SPDX-License-Identifier: MIT
"""`heartfelt beat`: reports to a monitor that something is alive, or how it ended, once or repeatedly."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from heartfelt.cli import UsageError
from heartfelt.cli._monitor import add_monitor_arguments, checked_keys, client_of, token_of
from heartfelt.cli._values import duration, whole

NAME = "beat"
HELP = "Report to the monitor that KEY is alive. The exit status is 0 only if the monitor accepted it."
TIMEOUT_INTERVALS = 3  # with --every, the default of --timeout in intervals
MOST_STATUS = 2**32 - 1
MOST_NAP_S = 86_400.0  # some systems cannot sleep longer than a few weeks at a time
TERMINATED = 128 + 15  # as a shell reports it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("keys", nargs="+", metavar="KEY", help="name of what is alive, for example nightly-backup")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--event", choices=("start", "ok", "fail"), help="report this event of a job instead of a heartbeat"
    )
    what.add_argument(
        "--status", type=whole(0, MOST_STATUS), metavar="N", help="report that a job ended with this exit status"
    )
    parser.add_argument(
        "--message", metavar="TEXT", help="text to send along, at most 10,000 bytes; - reads it from stdin"
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        metavar="DURATION",
        help="report KEY as lost if nothing is heard of it for this long: 90, 500ms, 5m, 25h, 1d (default: as the "
        "monitor is configured)",
    )
    parser.add_argument(
        "--every",
        type=duration,
        metavar="DURATION",
        help=f"repeat at this interval until killed; --timeout is then {TIMEOUT_INTERVALS} times this by default",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="do not repeat: --every says how often cron, or another program, runs this command",
    )
    parser.add_argument(
        "--grace",
        type=duration,
        metavar="DURATION",
        help="with --every, instead of --timeout: report KEY as lost if a beat is later than --every by more than this",
    )
    parser.add_argument(
        "--udp",
        metavar="HOST:PORT",
        help="send by UDP instead; there is no answer, so that exit status 0 means only that it was sent",
    )
    add_monitor_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check(args)
    send = by_udp(args) if args.udp else by_http(args)
    if args.every is None or args.once:
        return 1 if report(send()) else 0
    with suppress(ValueError):  # not in the main thread: the program that runs this has handlers of its own
        signal.signal(
            signal.SIGTERM, lambda *_: sys.exit(TERMINATED)
        )  # the first process of a container has no default handler
    beat_every(send, args.every)
    return 0


def check(args: argparse.Namespace) -> None:
    checked_keys(args.keys)
    repeats = args.every is not None and not args.once
    if repeats and not (args.event is None and args.status is None and args.message is None):
        raise UsageError(
            "argument --every: repeats heartbeats only; leave out --event, --status and --message, or add --once"
        )
    for name, given in (("--once", args.once), ("--grace", args.grace is not None)):
        if given and args.every is None:
            raise UsageError(f"argument {name}: belongs to --every; add it, for example --every 1d")
    if args.grace is not None and args.timeout is not None:
        raise UsageError("argument --grace: cannot be combined with --timeout; leave one out")
    if args.every is not None and args.timeout is not None and args.every >= args.timeout:
        raise UsageError(
            f"argument --every: {args.every:g} s is not shorter than --timeout {args.timeout:g} s, so that a healthy "
            f"KEY would be reported as lost; give a shorter --every or a longer --timeout"
        )
    if args.udp:
        options = {"--event": args.event, "--status": args.status, "--message": args.message}
        options |= {"--timeout": args.timeout, "--grace": args.grace, "--once": args.once or None}
        options |= {"--url": args.url, "--ca": args.ca}
        if given := [name for name, value in options.items() if value is not None]:
            raise UsageError(f"argument --udp: cannot be combined with {', '.join(given)}; leave one out")


def by_http(args: argparse.Namespace) -> Callable[[], list[str]]:
    """Makes a function that sends once and returns what went wrong."""
    timeout_s = args.timeout
    more: dict[str, object] = {}
    if args.grace is not None or args.once:
        given = {"every_ms": args.every, "grace_ms": args.grace}
        more = {name: _ms(value) for name, value in given.items() if value is not None}
    elif timeout_s is None and args.every is not None:
        timeout_s = args.every * TIMEOUT_INTERVALS
    if args.status is not None:
        more["event"] = "exit"  # or the monitor may take the status for a part of a key
    client = client_of(args, raise_errors=True)
    ping = partial(
        client.ping,
        event=args.event if args.status is None else args.status,
        text=message_of(args.message),
        timeout_ms=None if timeout_s is None else _ms(timeout_s),
        more=more,
    )

    def send() -> list[str]:
        from heartfelt.agent.jobs.client import MonitorError

        problems = []
        for at, key in enumerate(args.keys, 1):
            try:
                ping(key)
            except MonitorError as error:
                problems.append(f"{key}: {error}")
                if not error.reached and at < len(args.keys):
                    problems.append(f"did not try: {', '.join(args.keys[at:])}")
                    break
        return problems

    return send


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def by_udp(args: argparse.Namespace) -> Callable[[], list[str]]:
    from heartfelt._net.token import checked_token
    from heartfelt.cli import _datagrams
    from heartfelt.errors import ConfigError

    token = token_of(args)
    address = _datagrams.address_of(args.udp)
    try:
        packets = list(_datagrams.datagrams(args.keys, token and checked_token(token)))
    except ConfigError as error:
        raise UsageError(str(error)) from None

    def send() -> list[str]:
        problem = _datagrams.send(address, packets)
        return [problem] if problem else []

    return send


def message_of(message: str | None) -> str | None:
    if message != "-":
        return message
    from heartfelt.agent.jobs.client import MOST_TEXT

    raw = sys.stdin.buffer.read(MOST_TEXT + 1)
    while sys.stdin.buffer.read(1 << 16):  # so that the program that writes to it does not fail
        pass
    return raw.decode("utf-8", "replace")


def report(problems: list[str]) -> bool:
    """Prints what went wrong; returns whether anything did."""
    for problem in problems:
        print(f"heartfelt beat: {problem}", file=sys.stderr)
    return bool(problems)


def beat_every(
    send: Callable[[], list[str]],
    interval_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Sends at a fixed rate, for ever; prints what went wrong when it changes."""
    due = clock()
    before: list[str] = []
    while True:
        problems = send()
        if problems != before:
            report(problems or ["the monitor accepts it again"])
        before = problems
        now = clock()
        due += interval_s * max(1, -(-(now - due) // interval_s))  # missed beats are not made up for
        while due - now > MOST_NAP_S:
            sleep(MOST_NAP_S)
            now = clock()
        sleep(max(0.0, due - now))
