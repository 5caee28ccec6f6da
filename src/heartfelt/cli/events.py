# SPDX-License-Identifier: MIT
"""`heartfelt events`: lists what happened; with --follow, goes on with what happens."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
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
AGAIN_MS = 60_000
"""How much older than the newest event one may be that is missing in the stream."""
MOST_AGAIN = 1000
MOST_REMEMBERED = 20_000
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
        shown = _Shown(args)
        if not args.follow:
            shown.take_list(_listed(client, args, args.limit))
            return 0
        with ApiClient(args.url, **trust, timeout_s=SILENCE_S) as following:
            # First the stream, then the list: an event in between is in both, not in neither.
            stream = following.stream("/api/v1/stream", {"topic": ["change", "event"]})
            shown.take_list(_listed(client, args, args.limit))
            _follow(stream, shown, lambda since_ms: _listed(client, args, MOST_AGAIN, since_ms))
    return 0


def _listed(
    client: ApiClient, args: argparse.Namespace, limit: int, since_ms: int | None = None
) -> list[dict[str, Any]]:
    """Returns the newest events, oldest first."""
    query = {"service": args.service, "level": args.level, "limit": limit, "start_ms": since_ms}
    found: list[dict[str, Any]] = client.json("GET", "/api/v1/events", query)["events"]
    return found[::-1]


class _Shown:
    """Shows each event once, whether it is in a list, in the stream, or in both."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._shown: Counter[str] = Counter()
        self._streamed: Counter[str] = Counter()
        self.newest_ms: int | None = None

    @property
    def since_ms(self) -> int | None:
        """The time to list from, if something may be missing in the stream."""
        return self.newest_ms and self.newest_ms - AGAIN_MS

    def take_list(self, events: Iterable[dict[str, Any]], after_ms: int = 0) -> None:
        listed: Counter[str] = Counter()
        for event in events:
            mark = _mark(event)
            listed[mark] += 1
            if listed[mark] > self._shown[mark] and event["time_ms"] >= after_ms:
                self._show(event, mark)

    def take(self, event: dict[str, Any]) -> None:
        """Takes an event of the stream."""
        mark = _mark(event)
        self._streamed[mark] += 1
        if self._streamed[mark] > self._shown[mark]:
            self._show(event, mark)

    def _show(self, event: dict[str, Any], mark: str) -> None:
        self._shown[mark] += 1
        self.newest_ms = max(self.newest_ms or 0, event["time_ms"])
        if len(self._shown) > MOST_REMEMBERED:
            for old in list(self._shown)[: MOST_REMEMBERED // 2]:
                del self._shown[old]
                self._streamed.pop(old, None)
        _show(event, self._args)

    def fits(self, event: dict[str, Any]) -> bool:
        return _fits(event, self._args)


def _mark(event: dict[str, Any]) -> str:
    """Returns a text that is the same for an event in the list and in the stream."""
    seq = event["info"].get("seq") if event["type"] == "STATE" else None
    if seq is not None:
        return f"change {seq}"
    return json.dumps({name: value for name, value in event.items() if name != "number"}, sort_keys=True)


def _follow(
    stream: Iterable[tuple[str | None, str, Any]],
    shown: _Shown,
    list_again: Callable[[int | None], list[dict[str, Any]]],
) -> None:
    """Shows the events of the stream. If some may be missing in it, they are listed: as when the monitor begins to
    watch the others of its fleet, or one of these is gone."""
    first_ms = shown.newest_ms or 0
    for _, name, data in stream:
        if name == "resync" and data["reason"] != "welcome":
            shown.take_list(list_again(shown.since_ms), after_ms=first_ms)
            continue
        event = of_change(data) if name == "change" else data if name == "event" else None
        if event is not None and shown.fits(event):
            shown.take(event)
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
