# SPDX-License-Identifier: MIT
"""`heartfelt ls`: lists a monitor's instances."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from heartfelt.cli._client_options import add_client_arguments

if TYPE_CHECKING:
    from heartfelt.cli._client import ApiClient

NAME = "ls"
HELP = "List the instances that a monitor watches."
STATES = ("FAILED", "LOST", "STUCK", "LATE", "NEW", "UP", "PAUSED", "LEFT")
"""Worst first."""
HELD = "HELD"
"""The word for a loss that is held. It is listed next to LOST, and `--state` knows it, too."""
NOTED = ("FAILED", "LOST", HELD, "STUCK")
"""States whose reason is noted."""
PAGE = 1000
COLUMNS = ("STATE", "SERVICE", "INSTANCE", "ADDRESS", "VERSION", "LAST BEAT", "NOTE")
"""The last one is left out if there is no note."""
LONGEST_NOTE = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_arguments(parser)
    for flag, help_ in (
        ("service", "of this service"),
        ("text", "that contain this text"),
        ("ip", "with this address"),
    ):
        parser.add_argument(f"--{flag}", help=f"only instances {help_}", metavar=flag.upper())
    add_state_argument(parser)
    parser.add_argument(
        "--sort",
        default="state",
        help="field to sort by, as in the REST interface; -FIELD sorts in descending order; state: the worst first "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one instance per line")


def add_state_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        action="append",
        type=str.upper,
        choices=(*STATES, HELD),
        help="only instances in this state (HELD: their loss is held); may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    from heartfelt.cli._client import ApiClient

    with ApiClient(args.url, token_file=args.token_file, token_env=args.token_env, ca=args.ca) as client:
        rows = _instances(client, args)
        if args.json:
            for row in rows:
                print(json.dumps(row, ensure_ascii=False))
        else:
            _print_table([_columns(row) for row in rows])
        if client.missing:
            print(f"heartfelt: no answer from {client.missing}: instances may be missing above", file=sys.stderr)
    return 0


def _instances(client: ApiClient, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    query = {"service": args.service, "text": args.text, "ip": args.ip, "sort": args.sort}
    query |= state_query(args.state or [])
    cursor = None
    while True:
        page = client.json("GET", "/api/v1/instances", {**query, "limit": PAGE, "cursor": cursor})
        yield from page["instances"]
        cursor = page["cursor"]
        if cursor is None:
            return


def state_query(states: list[str]) -> dict[str, Any]:
    """Makes the filter for these states; HELD may be among them."""
    others = [state for state in states if state != HELD]
    return {"state": others, "held": ("also" if others else "true") if HELD in states else None}


def _columns(row: dict[str, Any]) -> tuple[str, ...]:
    address = (row["ips"] or [row["peer"]])[0]
    state = HELD if row["held"] else row["state"]
    beat = age(row["last_beat_ms"])
    return state, row["service"], row["instance_id"], address, row["version"] or "", beat, _note(row, state)


def _note(row: dict[str, Any], state: str) -> str:
    reason: str = row["reason"] if state in NOTED else ""
    ack = row.get("ack")
    words = "; ".join(filter(None, (reason, ack and acknowledged(ack))))
    return words if len(words) <= LONGEST_NOTE else words[: LONGEST_NOTE - 3] + "..."


def acknowledged(ack: dict[str, Any]) -> str:
    """Says who knows of a loss or a failure, and why nobody is notified again."""
    return f"acknowledged by {ack['by']}" + (f": {ack['why']}" if ack["why"] else "")


def age(then_ms: int) -> str:
    """Formats how long ago a time is, by this machine's clock."""
    seconds = max(0.0, time.time() - then_ms / 1000)
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= factor:
            return f"{seconds / factor:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def printable(text: str) -> str:
    """Replaces control characters, which could steer the terminal: the texts come from other programs."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _print_table(rows: list[tuple[str, ...]]) -> None:
    table = [COLUMNS, *(tuple(printable(cell) for cell in row) for row in rows)]
    if not any(row[-1] for row in table[1:]):
        table = [row[:-1] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
