# SPDX-License-Identifier: MIT
"""`heartfelt token`: creates, lists and revokes tokens, in the data folder or in Redis, even while a monitor runs."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from heartfelt.cli import Failed
from heartfelt.cli._extra import monitor_extra
from heartfelt.cli.serve import add_config_arguments, flags_of
from heartfelt.errors import HeartfeltError

if TYPE_CHECKING:
    from heartfelt.monitor.store.documents import Documents
    from heartfelt.monitor.store.redis.documents import RedisDocuments
    from heartfelt.monitor.web.auth import Token

NAME = "token"
HELP = "Create, list or revoke tokens. A running monitor notices within seconds."

FLAGS = (("--data", "data", "DIR", "the monitor's data folder (default: ./heartfelt-data)"),)
SCOPES = ("ingest", "read", "admin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create", help="create a token, and print it; it is not shown again", allow_abbrev=False
    )
    create.add_argument("name", help="what the token is for, in your own words", metavar="NAME")
    what = create.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--scope", action="append", choices=SCOPES, default=[],
        help="what it allows: ingest (send beats), read, admin (everything); may be repeated",
    )  # fmt: skip
    what.add_argument(
        "--ping", metavar="KEY",
        help="print a secret URL that pings this key without other credentials, and allows nothing else",
    )  # fmt: skip
    list_ = actions.add_parser("list", help="list all tokens, without their secrets", allow_abbrev=False)
    revoke = actions.add_parser(
        "revoke", help="make a token invalid, and close connections that use it", allow_abbrev=False
    )
    revoke.add_argument("id", help="the token's id, from `heartfelt token list`", metavar="ID")
    for one in (create, list_, revoke):
        add_config_arguments(one, FLAGS)


def run(args: argparse.Namespace) -> int:
    with monitor_extra():
        from heartfelt.monitor.config import MonitorConfig
        from heartfelt.monitor.config.build import open_documents
        from heartfelt.monitor.web import auth
    try:
        config = MonitorConfig.load(args.config, flags=flags_of(args, FLAGS))
        with open_documents(config, auth.KIND, make=args.action == "create") as documents:
            if args.action == "create":
                _create(documents, args.name, args.scope, args.ping, config.http_url)
            elif args.action == "list":
                _list(documents)
            elif not documents.delete(args.id):
                where = config.data if config.store is None else "Redis"
                raise Failed(f"there is no token {args.id!r} in {where}; `heartfelt token list` shows their ids")
    except HeartfeltError as error:
        raise Failed(str(error)) from None
    return 0


def _create(documents: Documents | RedisDocuments, name: str, scopes: list[str], key: str | None, base: str) -> None:
    import msgspec

    from heartfelt.monitor.web.auth import make_token

    secret, token = make_token(name, scopes, time.time_ns() // 1_000_000, key=key)
    documents.put(token.id, msgspec.to_builtins(token))
    if key is None:
        print("This is the token; it is not shown again:", file=sys.stderr)
        print(secret)
    else:
        print(
            f"This URL pings {key}; it is not shown again. Its address is from the configuration (http.public_url, or "
            f"the port's):",
            file=sys.stderr,
        )
        print(f"{base}/ping/{secret}")


def _list(documents: Documents | RedisDocuments) -> None:
    import msgspec

    from heartfelt.monitor.web.auth import Token

    tokens: list[Token] = []
    for id_, document in documents.all().items():
        try:
            tokens.append(msgspec.convert(document, Token))
        except msgspec.ValidationError as error:
            print(
                f"heartfelt token: token {id_} is damaged and therefore not valid: {error}; revoke it", file=sys.stderr
            )
    for one in sorted(tokens, key=lambda token: (token.created_ms, token.id)):
        made = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.created_ms / 1000))
        print(f"{one.id}  {made}  {_allowed(one):20}  {one.name}")


def _allowed(token: Token) -> str:
    return "+".join(scope.value for scope in token.scopes) if token.key is None else f"ping {token.key}"
