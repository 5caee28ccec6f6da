# SPDX-License-Identifier: MIT
"""`heartfelt top`: shows a monitor's instances in the terminal, live."""

from __future__ import annotations

import argparse
import sys

from heartfelt.cli import Failed
from heartfelt.cli._client_options import add_client_arguments
from heartfelt.cli._extra import tui_extra

NAME = "top"
HELP = "Watch a monitor's instances in the terminal, live: grid, table and events. Press ? for the keys."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from heartfelt.cli._client import ApiClient

    with tui_extra():
        from heartfelt.cli._top.app import TopApp
        from heartfelt.cli._top.link import ANSWER_S, MonitorLink
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failed("this command needs a terminal; without one, use `heartfelt ls` and `heartfelt events`")

    def client(timeout_s: float) -> ApiClient:
        return ApiClient(
            args.url, token_file=args.token_file, token_env=args.token_env, ca=args.ca, timeout_s=timeout_s
        )

    with client(ANSWER_S) as first:
        first.json("GET", "/api/v1/hold")  # reports a wrong address or token as text, before the screen is cleared
    app = TopApp(MonitorLink(client), args.url)
    app.run()
    return app.return_code or 0
