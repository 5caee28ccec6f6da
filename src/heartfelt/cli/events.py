# SPDX-License-Identifier: MIT
"""`heartfelt events`: lists what happened; with --follow, goes on with what happens."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from heartfelt.cli import Failed
from heartfelt.cli._client_options import add_client_arguments
from heartfelt.cli._values import whole
from heartfelt.cli.ls import printable

if TYPE_CHECKING:
    from heartfelt.cli._client import ApiClient

NAME = "events"
HELP = "List a monitor's newest events: changes of state, and what agents and jobs report."
LEVELS = ("EMERGENCY", "IMPORTANT", "NORMAL")
SILENCE_S = 60.0  # the monitor sends a comment four times in this


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_arguments(parser)
    parser.add_argument("--service", help="only events of this service", metavar="SERVICE")
    parser.add_argument(
        "--level", action="append", type=str.upper, choices=LEVELS, help="only events of this level; may be repeated"
    )
    parser.add_argument(
        "--limit", type=whole(1, 1000), default=20, help="how many events (default: %(default)s)", metavar="N"
    )
    parser.add_argument("--follow", action="store_true", help="go on with new events, until interrupted")
    parser.add_argument("--json", action="store_true", help="print JSON, one event per line")


def run(args: argparse.Namespace) -> int:
    from heartfelt.cli._client import ApiClient

    trust = {"token_file": args.token_file, "token_env": args.token_env, "ca": args.ca}
    with ApiClient(args.url, **trust) as client:
        if not args.follow:
            _list(client, args)
            return 0
        with ApiClient(args.url, **trust, timeout_s=SILENCE_S) as following:
            # First the stream, then the list: an event in between is in both, not in neither.
            stream = following.stream("/api/v1/stream", {"topic": ["change", "event"]})
            _follow(stream, _list(client, args), args)
    return 0


def _list(client: ApiClient, args: argparse.Namespace) -> Counter[str]:
    """Shows the newest events; returns their marks."""
    query = {"service": args.service, "level": args.level, "limit": args.limit}
    events = client.json("GET", "/api/v1/events", query)["events"]
    for event in reversed(events):
        _show(event, args)
    return Counter(map(_mark, events))


def _mark(event: dict[str, Any]) -> str:
    """Returns a text that is the same for an event in the list and in the stream."""
    seq = event["info"].get("seq") if event["type"] == "STATE" else None
    if seq is not None:
        return f"change {seq}"
    return json.dumps({name: value for name, value in event.items() if name != "number"}, sort_keys=True)


def _follow(stream: Iterable[tuple[str | None, str, Any]], shown: Counter[str], args: argparse.Namespace) -> None:
    """Shows the events of the stream, except those in `shown`, which the list had already."""
    for _, name, data in stream:
        if name == "resync" and data["reason"] != "welcome":
            raise Failed(f"the monitor cannot continue the stream: {data['reason']}; start the command again")
        event = of_change(data) if name == "change" else data if name == "event" else None
        if event is None or not _fits(event, args):
            continue
        if shown and shown[mark := _mark(event)]:
            shown[mark] -= 1
            continue
        _show(event, args)
    raise Failed("the monitor has ended the stream")


def of_change(change: dict[str, Any]) -> dict[str, Any]:
    info = {"name": f"INSTANCE_{change['new']}", "description": change["reason"], "seq": change["seq"]}
    info |= {name: change[name] for name in ("reason_code", "reason_args") if name in change}
    return {**change, "type": "STATE", "scope": "monitor", "info": info}


def _fits(event: dict[str, Any], args: argparse.Namespace) -> bool:
    return (args.service is None or event["service"] == args.service) and (
        not args.level or event["level"] in args.level
    )


def _show(event: dict[str, Any], args: argparse.Namespace) -> None:
    print(json.dumps(event, ensure_ascii=False) if args.json else _line(event), flush=True)


def words_of(event: dict[str, Any]) -> str:
    """The text of an event, in one line."""
    info = event["info"]
    words = [str(info[name]) for name in ("name", "logLevel", "description", "logMessage", "text") if info.get(name)]
    return ": ".join(words) or json.dumps(info)


def _line(event: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time_ms"] / 1000))
    who = f"{event['service']}/{event['instance_id']}"
    return printable(f"{when}  {event['level']:9}  {who}  {words_of(event)}")
