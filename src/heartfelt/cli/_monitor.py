# SPDX-License-Identifier: MIT
"""Options of commands that report to a monitor, and the client made from them."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from heartfelt.cli import UsageError
from heartfelt.errors import ConfigError

if TYPE_CHECKING:
    from heartfelt.agent.jobs.client import PingClient

URL_VARIABLE, TOKEN_VARIABLE = "HEARTFELT_URL", "HEARTFELT_TOKEN"


class EnvironmentRefused(UsageError):
    """An invalid value in the environment rather than in an option."""


def add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the monitor")
    group.add_argument(
        "--url",
        metavar="URL",
        help=f"the monitor's URL (default: {URL_VARIABLE} in the environment, or http://127.0.0.1:8900)",
    )
    group.add_argument(
        "--token-env", metavar="NAME", help=f"environment variable that holds the token (default: {TOKEN_VARIABLE})"
    )
    group.add_argument("--ca", metavar="FILE", help="CA certificates for https (default: the system's)")


def token_of(args: argparse.Namespace) -> str | None:
    """Returns the token, or None. A variable that was named must be set."""
    token = os.environ.get(args.token_env or TOKEN_VARIABLE)
    if args.token_env and not token:
        raise UsageError(
            f"argument --token-env: {args.token_env} is not set in the environment; set it, or leave out this option"
        )
    return token or None


def client_of(args: argparse.Namespace, *, raise_errors: bool) -> PingClient:
    """Makes a client from the options and the environment. Raises UsageError if they are invalid."""
    from heartfelt._net.token import checked_token
    from heartfelt._net.url import DEFAULT_URL, parse_url
    from heartfelt.agent.jobs.client import PingClient

    url = args.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    token = token_of(args)
    name, refused = "", UsageError
    try:
        name, refused = ("argument --url", UsageError) if args.url else (URL_VARIABLE, EnvironmentRefused)
        parse_url(url)
        name, refused = args.token_env or TOKEN_VARIABLE, UsageError if args.token_env else EnvironmentRefused
        if token is not None:
            checked_token(token)
    except ConfigError as error:
        raise refused(f"{name}: {error}") from None
    return PingClient(url, token, args.ca, raise_errors=raise_errors)


def checked_keys(keys: list[str]) -> list[str]:
    from heartfelt.agent.jobs.client import checked_key

    try:
        return [checked_key(key) for key in keys]
    except ConfigError as error:
        raise UsageError(str(error)) from None
