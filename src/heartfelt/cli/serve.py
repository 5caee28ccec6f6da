# SPDX-License-Identifier: MIT
"""`heartfelt serve`: runs the monitor."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from heartfelt.cli import Failed
from heartfelt.cli._early import handle_early_signals, ignore_late_signals
from heartfelt.cli._extra import monitor_extra
from heartfelt.errors import HeartfeltError

if TYPE_CHECKING:
    from heartfelt.monitor.config import MonitorConfig

NAME = "serve"
HELP = "Run the monitor: receives heartbeats over HTTP, TCP and UDP, and reports lost instances. SIGTERM ends it."

FLAGS = (
    ("--data", "data", "DIR", "data folder (default: ./heartfelt-data)"),
    (
        "--store",
        "store",
        "URL",
        "Redis that several monitors share: redis://HOST:6379 (default: SQLite in the data folder)",
    ),
    ("--host", "host", "ADDRESS", "address to listen on, for all ports (default: 127.0.0.1)"),
    (
        "--http-port",
        "http.port",
        "PORT",
        "port for the panel, REST, pings and metrics (default: 8900; 0: any free port)",
    ),
    ("--tcp-port", "tcp.port", "PORT", "port for agents, Sermant's protocol (default: 6888)"),
    ("--udp-port", "udp.port", "PORT", "port for datagrams (default: 8901)"),
    ("--cert", "tls.cert", "FILE", "PEM file with the certificate: turns TLS on for HTTP and TCP"),
    ("--key", "tls.key", "FILE", "PEM file with the certificate's key"),
    ("--log-level", "log.level", "LEVEL", "debug, info, warning or error (default: info)"),
)


def add_config_arguments(parser: argparse.ArgumentParser, flags: tuple[tuple[str, str, str, str], ...]) -> None:
    parser.add_argument(
        "--config", help="configuration file: TOML, or Sermant's application.properties", metavar="FILE"
    )
    for flag, key, metavar, help_ in flags:
        parser.add_argument(flag, dest=key, help=help_, metavar=metavar)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="set any setting, for example lease.timeout=30s; may be repeated",
        metavar="KEY=VALUE",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser, FLAGS)
    parser.add_argument("--check", action="store_true", help="check the configuration, print it, and exit")
    parser.add_argument("--json", action="store_true", help="print JSON; with --check")
    parser.add_argument("--print-unit", action="store_true", help="print a systemd unit for this command, and exit")
    parser.add_argument("--ready-json", action="store_true", help="print a line of JSON when all ports are open")


def flags_of(args: argparse.Namespace, flags: tuple[tuple[str, str, str, str], ...]) -> dict[str, object]:
    """The settings given as options, by their names."""
    found: dict[str, object] = {key: getattr(args, key) for _, key, _, _ in flags if getattr(args, key) is not None}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Failed(f"--set {pair}: there is no '='; write --set KEY=VALUE")
        found[name.strip()] = value
    return found


def run(args: argparse.Namespace) -> int:
    if not (args.check or args.print_unit):
        handle_early_signals()
    with monitor_extra():
        from heartfelt.monitor import server
        from heartfelt.monitor.config import MonitorConfig
        from heartfelt.monitor.config.build import make_policy, make_redis, make_tls, make_webhook_settings
        from heartfelt.monitor.config.channel_tls import make_channel_tls, read_secret
    if args.store is not None and not args.store.strip():  # such as "$URL" where URL is not set
        raise Failed("--store is empty: write the URL of a Redis, or leave --store out for SQLite in the data folder")
    try:
        flags = flags_of(args, FLAGS)
        config = MonitorConfig.load(args.config, flags=flags)
        if args.check:
            make_policy(config)
            make_tls(config)
            make_webhook_settings(config)
            make_redis(config)
            make_channel_tls(config)
            read_secret(config)
            print(_checked(config, as_json=args.json))
            return 0
        if args.print_unit:
            make_policy(config)
            print(_unit(args, config))
            return 0
        load = None if args.config is None else lambda: MonitorConfig.load(args.config, flags=flags)
        server.run(config, ready_json=args.ready_json, load=load)
        ignore_late_signals()
    except HeartfeltError as error:
        raise Failed(str(error)) from None
    return 0


_PATHS = {"data": "--data", "tls.cert": "--cert", "tls.key": "--key"}
_FILES = (
    "redis.password_file", "redis.sentinel_password_file", "redis.ca", "redis.cert", "redis.key", "cluster.secret_file",
    "cluster.cert", "cluster.key", "cluster.ca",
)  # fmt: skip
"""Files that are set without a flag of their own."""


def _unit(args: argparse.Namespace, config: MonitorConfig) -> str:
    """A systemd unit that does the same in any folder: paths are absolute, and variables are part of it."""
    from heartfelt.cli._unit import systemd_version, unit_text
    from heartfelt.monitor.config import DEFAULT
    from heartfelt.monitor.config.settings import BY_VARIABLE

    _refuse_passwords(config)
    arguments = [] if args.config is None else ["--config", _absolute(args.config)]
    for flag, name, _, _ in FLAGS:
        if name not in _PATHS and (value := getattr(args, name)) is not None:
            arguments += [flag, value]
    for pair in args.set:
        if pair.partition("=")[0].strip() not in {*_PATHS, *_FILES}:
            arguments += ["--set", pair]
    files = [] if args.config is None else [_absolute(args.config)]
    data = None
    for name, flag in [*_PATHS.items(), *((one, "--set") for one in _FILES)]:
        field = name.replace(".", "_")
        path, place = getattr(config, field), config.places.get(field, DEFAULT)
        if path is None or place == DEFAULT:
            continue
        if name == "data":
            data = _without_dots(path)
        else:
            files.append(_absolute(path))
            if not Path(path).is_absolute() or place.startswith("flag "):
                arguments += [flag, f"{name}={_absolute(path)}" if flag == "--set" else _absolute(path)]
    return unit_text(
        arguments,
        data=data,
        files=files,
        variables={name: value for name, value in sorted(os.environ.items()) if name in BY_VARIABLE},
        ports=[config.address(name)[1] for name in config.listeners],
        connections=config.limits_connections,
        version=systemd_version(),
    )


def _refuse_passwords(config: MonitorConfig) -> None:
    """Refuses to write Redis' password into a unit."""
    from heartfelt.monitor.store.redis.address import parse_address

    given = {
        "store": None if config.store is None else parse_address(config.store).password,
        "redis_password": config.redis_password,
        "redis_sentinel_password": config.redis_sentinel_password,
    }
    for name, password in given.items():
        if password is not None and config.places.get(name, "").startswith(("flag ", "environment ")):
            file = "redis.sentinel_password_file" if "sentinel" in name else "redis.password_file"
            raise Failed(
                f"{config.at(name)} has a password, and everybody can read a unit; write it into a file, and name that "
                f"in {file}"
            )


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _without_dots(path: str) -> str:
    """Returns an absolute path without "..", with which systemd ignores ReadWritePaths=. Links behind it stay."""
    parts = Path(path).absolute().parts
    behind = next((n for n in range(len(parts), 0, -1) if parts[n - 1] == ".."), 1)
    return str(Path(*parts[:behind]).resolve().joinpath(*parts[behind:]))


def _checked(config: object, *, as_json: bool) -> str:
    from heartfelt.monitor.config import DEFAULT, MonitorConfig

    assert isinstance(config, MonitorConfig)
    rows = config.sources()
    if as_json:
        return json.dumps({"settings": rows, "warnings": config.warnings, "token_needed": config.auth_needed}, indent=2)
    lines = []
    for row in rows:
        source = "" if row["source"] == DEFAULT else f"   # {row['source']}"
        lines.append(f"{row['name']} = {json.dumps(row['value'])}{source}")
    lines += [f"warning: {text}" for text in config.warnings]
    token = f"are required: {config.why_auth}" if config.auth_needed else "are not required"
    return "\n".join([*lines, f"tokens {token}", "the configuration is valid"])
