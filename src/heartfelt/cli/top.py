# SPDX-License-Identifier: MIT
"""`heartfelt top`: the instances of a monitor in the terminal, live."""

from __future__ import annotations

import argparse
import sys

from heartfelt.cli import Failed
from heartfelt.cli._client_options import add_client_arguments
from heartfelt.cli._extra import tui_extra

NAME = "top"
HELP = "Watch a monitor's instances in the terminal, live: grid, table and events. Keys: ? tells them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from heartfelt.cli._client import ApiClient

    with tui_extra():
        from heartfelt.cli._top.app import TopApp
        from heartfelt.cli._top.link import ANSWER_S, Link
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failed("this needs a terminal; `heartfelt ls` and `heartfelt events` print")

    def client(timeout_s: float) -> ApiClient:
        return ApiClient(
            args.url, token_file=args.token_file, token_env=args.token_env, ca=args.ca, timeout_s=timeout_s
        )

    with client(ANSWER_S) as first:
        first.json("GET", "/api/v1/hold")  # a wrong address or token is told here, in words, before the screen is taken
    app = TopApp(Link(client), args.url)
    app.run()
    return app.return_code or 0
