# SPDX-License-Identifier: MIT
"""Options of commands that talk to a monitor. Apart from the client, which takes its time to load."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

from heartfelt._checks import shown

URL = "http://127.0.0.1:8900"


def url(text: str) -> str:
    parts = urlsplit(text)
    try:
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or parts.username is not None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no address of a monitor; give one as {URL}")
    return text.rstrip("/")


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", type=url, default=URL, help="the monitor (%(default)s)", metavar="URL")
    add_trust_arguments(parser)


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", help="file with a token; else the environment's HEARTFELT_TOKEN, if set", metavar="FILE"
    )
    token.add_argument("--token-env", help="another environment variable with the token", metavar="NAME")
    parser.add_argument("--ca", help="PEM file of the authorities that are trusted, for https", metavar="FILE")
