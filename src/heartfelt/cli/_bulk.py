# SPDX-License-Identifier: MIT
"""Commands that do something to many instances of a monitor at once: their options, and the requests."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator
from typing import Any

from heartfelt.cli import Failed, UsageError, _values
from heartfelt.cli._client_options import add_client_arguments
from heartfelt.cli.ls import add_state_argument, state_query

KEYS_AT_ONCE = 100
"""Keys in one request. A key may take 1.5 KB in the request's head, which may have 64 KB."""
HEAD_BYTES = 16_000


def add_bulk_arguments(parser: argparse.ArgumentParser, *, for_: str = "") -> None:
    """`for_`: the help of --for; "": the action has no end."""
    parser.add_argument("key", nargs="*", help="a key, or an instance's id, as `heartfelt ls` shows it", metavar="KEY")
    for flag, help_ in (
        ("service", "of this service; may be repeated"),
        ("ip", "with this address; may be repeated"),
    ):
        parser.add_argument(f"--{flag}", action="append", help=f"only instances {help_}", metavar=flag.upper())
    add_state_argument(parser)
    parser.add_argument("--text", help="only instances that contain this text", metavar="TEXT")
    parser.add_argument("--all", action="store_true", help="all instances, if no filter is given")
    parser.add_argument("--by", help="who asks for it, for the record (default: your user name)", metavar="NAME")
    parser.add_argument("--why", default="", help="the reason, for the record", metavar="TEXT")
    if for_:
        parser.add_argument("--for", dest="for_s", type=_values.duration, help=for_, metavar="DURATION")
    add_client_arguments(parser)


def act(args: argparse.Namespace, action: str, done: str, **body: Any) -> int:
    """Asks the monitor for the action on all that match, and prints how many it changed. `done`: its past participle.

    Returns 0 if some instance matched. Raises Failed otherwise, and UsageError if nothing says which are meant.
    """
    from heartfelt.cli._client import ApiClient

    query = {"service": args.service, "text": args.text, "ip": args.ip, "all": "true" if args.all else None}
    query |= state_query(args.state or [])
    if not args.key and not any(query.values()):
        raise UsageError(f"name the instances that are to be {done}: by KEY, --service, --state, --text, --ip or --all")
    body |= {"by": _user() if args.by is None else args.by, "why": args.why}
    matched = changed = 0
    with ApiClient(args.url, token_file=args.token_file, token_env=args.token_env, ca=args.ca) as client:
        for keys in _some(args.key):
            answer = client.json("POST", f"/api/v1/instances/{action}", {**query, "instance": keys or None}, body)
            matched += answer["matched"]
            changed += answer["changed"]
    if not matched:
        raise Failed("no instance matches; `heartfelt ls` shows all")
    print(f"{changed} {done}" if changed == matched else f"{changed} {done}, of {matched} that match")
    return 0


def _some(keys: list[str]) -> Iterator[list[str]]:
    """Divides the keys among requests. One request if there are no keys."""
    some: list[str] = []
    size = 0
    for key in dict.fromkeys(keys):
        n = 3 * len(key.encode("utf-8", "surrogateescape"))  # percent-encoded at worst
        if some and (len(some) == KEYS_AT_ONCE or size + n > HEAD_BYTES):
            yield some
            some, size = [], 0
        some.append(key)
        size += n
    yield some


def _user() -> str:
    try:
        return getpass.getuser()[:100]
    except (OSError, KeyError, ImportError):  # no such user, as in some containers
        return "heartfelt"
