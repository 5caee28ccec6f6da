# SPDX-License-Identifier: MIT
"""Options of commands that query a monitor. Separate from the client, which takes longer to load."""

from __future__ import annotations

import argparse
import os

from heartfelt._net.url import DEFAULT_URL, parse_url
from heartfelt.errors import ConfigError


def url(text: str) -> str:
    try:
        parse_url(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text.rstrip("/")


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        type=url,
        default=os.environ.get("HEARTFELT_URL") or DEFAULT_URL,
        help=f"the monitor (default: HEARTFELT_URL in the environment, or {DEFAULT_URL})",
        metavar="URL",
    )
    add_trust_arguments(parser)


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", help="file with a token (default: HEARTFELT_TOKEN in the environment, if set)", metavar="FILE"
    )
    token.add_argument("--token-env", help="another environment variable that holds the token", metavar="NAME")
    parser.add_argument(
        "--ca", help="PEM file of trusted CA certificates, for https (default: the system's)", metavar="FILE"
    )
