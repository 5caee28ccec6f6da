# SPDX-License-Identifier: MIT
"""`heartfelt events`: what happened, and, with --follow, what happens."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from heartfelt.cli import Failed
from heartfelt.cli._client_options import add_client_arguments
from heartfelt.cli._values import whole
from heartfelt.cli.ls import printable

if TYPE_CHECKING:
    from heartfelt.cli._client import Client

NAME = "events"
HELP = "List the newest events that a monitor knows: changes of state, and what agents and jobs report."
LEVELS = ("EMERGENCY", "IMPORTANT", "NORMAL")
SILENCE_S = 60.0  # the monitor sends a comment four times in this


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_arguments(parser)
    parser.add_argument("--service", help="only those of this service", metavar="SERVICE")
    parser.add_argument("--level", action="append", type=str.upper, choices=LEVELS, help="only those of this level")
    parser.add_argument("--limit", type=whole(1, 1000), default=20, help="how many (%(default)s)", metavar="N")
    parser.add_argument("--follow", action="store_true", help="go on with what happens, until interrupted")
    parser.add_argument("--json", action="store_true", help="print JSON, one event a line")


def run(args: argparse.Namespace) -> int:
    from heartfelt.cli._client import Client

    timeout_s = SILENCE_S if args.follow else 30.0
    trust = {"token_file": args.token_file, "token_env": args.token_env, "ca": args.ca}
    with Client(args.url, **trust, timeout_s=timeout_s) as client:
        query = {"service": args.service, "level": args.level, "limit": args.limit}
        for event in reversed(client.json("GET", "/api/v1/events", query)["events"]):
            _show(event, args)
        if args.follow:
            _follow(client, args)
    return 0


def _follow(client: Client, args: argparse.Namespace) -> None:
    stream = client.events("/api/v1/stream", {"topic": ["change", "event"]})
    for name, data in stream:
        if name == "resync" and data["reason"] != "welcome":
            raise Failed(f"the monitor cannot go on where it was: {data['reason']}; start anew")
        event = of_change(data) if name == "change" else data if name == "event" else None
        if event is not None and _fits(event, args):
            _show(event, args)
    raise Failed("the monitor has ended the stream")


def of_change(change: dict[str, Any]) -> dict[str, Any]:
    info = {"name": f"INSTANCE_{change['new']}", "description": change["reason"]}
    return {**change, "type": "STATE", "scope": "monitor", "info": info}


def _fits(event: dict[str, Any], args: argparse.Namespace) -> bool:
    return (args.service is None or event["service"] == args.service) and (
        not args.level or event["level"] in args.level
    )


def _show(event: dict[str, Any], args: argparse.Namespace) -> None:
    print(json.dumps(event, ensure_ascii=False) if args.json else _line(event), flush=True)


def words_of(event: dict[str, Any]) -> str:
    """What an event says, in one line."""
    info = event["info"]
    words = [str(info[name]) for name in ("name", "logLevel", "description", "logMessage", "text") if info.get(name)]
    return ": ".join(words) or json.dumps(info)


def _line(event: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time_ms"] / 1000))
    who = f"{event['service']}/{event['instance_id']}"
    return printable(f"{when}  {event['level']:9}  {who}  {words_of(event)}")
