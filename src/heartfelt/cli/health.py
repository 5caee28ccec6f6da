# SPDX-License-Identifier: MIT
"""`heartfelt health`: asks a running monitor whether it is ready, for the health checks of containers and scripts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from heartfelt.cli import Failed, UsageError
from heartfelt.cli._client_options import url
from heartfelt.errors import ConfigError

NAME = "health"
HELP = "Ask a running monitor whether it is ready. Exit status 0: it is; 1: it is not, or does not answer."
TIMEOUT_S = 5.0
MOST_BYTES = 64 << 10
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        nargs="?",
        type=url,
        help="the monitor (default: HEARTFELT_URL; otherwise this machine, at the port in HEARTFELT_HTTP_PORT)",
        metavar="URL",
    )
    parser.add_argument("--alive", action="store_true", help="ask only whether the process answers (/healthz)")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, help="time limit, in seconds (default: %(default)g)", metavar="S"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--ca", help="PEM file of trusted CA certificates, for https (default: the system's)", metavar="FILE"
    )
    trust.add_argument(
        "--insecure",
        action="store_true",
        help="accept any certificate; without a URL this is so anyway, since the monitor is on this machine",
    )


def local_url(environ: Mapping[str, str]) -> str:
    """Returns the URL of a monitor on this machine whose settings are these variables."""
    from heartfelt._config.values import Bad, flag
    from heartfelt._net.url import bracketed

    host = environ.get("HEARTFELT_HTTP_HOST") or environ.get("HEARTFELT_HOST") or "127.0.0.1"
    port = environ.get("HEARTFELT_HTTP_PORT") or "8900"
    try:
        tls = bool(environ.get("HEARTFELT_TLS_CERT")) and flag(environ.get("HEARTFELT_HTTP_TLS") or "true", False)
    except Bad as error:
        raise UsageError(f"HEARTFELT_HTTP_TLS {error}") from None
    return f"{'https' if tls else 'http'}://{bracketed(_ANY.get(host, host))}:{port}"


def run(args: argparse.Namespace) -> int:
    from heartfelt._net.explain import explain
    from heartfelt._net.http_client import HttpClient
    from heartfelt._net.tls import client_context
    from heartfelt._net.url import parse_url

    if not 0 < args.timeout <= 3600:
        raise UsageError(f"argument --timeout: it must be above 0 and at most 3600 seconds; got {args.timeout:g}")
    given = args.url or os.environ.get("HEARTFELT_URL")
    try:
        base = parse_url(given or local_url(os.environ))
        context = None
        if base.scheme == "https":
            context = client_context(args.ca)
            if args.insecure or (not given and not args.ca):
                from ssl import CERT_NONE

                context.check_hostname = False
                context.verify_mode = CERT_NONE
    except ConfigError as error:
        raise UsageError(str(error)) from None
    path = "/healthz" if args.alive else "/readyz"
    try:
        with HttpClient(base, wait_s=args.timeout, tls=context) as client:
            answer = client.request("GET", path, total_s=args.timeout)
            text = answer.read(MOST_BYTES).decode("utf-8", "replace").strip()
    except (OSError, ValueError) as error:
        raise Failed(explain(base, error, args.timeout)) from None
    if answer.status != 200:
        raise Failed(f"{base}{path} answered {answer.status}: {text[:1000]}")
    print(text)
    return 0
