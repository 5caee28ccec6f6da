# SPDX-License-Identifier: MIT
"""The keys of the configuration, Sermant's and heartfelt's own, each with its keyword and the kind of its value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from heartfelt._checks import shown
from heartfelt._config.values import Bad, Kind, duration, flag, host, maybe, one_of, text, token, whole
from heartfelt.errors import ConfigError

LEAST_INTERVAL_S = 0.05
MOST_INTERVAL_S = 1800.0


@dataclass(frozen=True, slots=True)
class Key:
    name: str  # in files, the environment and start arguments
    keyword: str
    kind: Kind
    secret: bool = False


KEYS = (
    Key("agent.service.heartbeat.enable", "enable", flag),
    Key("heartbeat.interval", "interval", duration("ms", LEAST_INTERVAL_S, MOST_INTERVAL_S)),
    Key("heartbeat.timeout", "timeout", maybe(duration("ms", LEAST_INTERVAL_S, 30 * 86400))),
    Key("serviceName", "service", text()),
    Key("appName", "app_name", text()),
    Key("appType", "app_type", text()),
    Key("artifact", "artifact", maybe(text())),
    Key("dynamicInstall", "dynamic_install", flag),
    Key("gateway.nettyIp", "host", host),
    Key("gateway.nettyPort", "port", whole(1, 65535)),
    Key("gateway.nettyConnectTimeout", "connect_timeout", duration("ms", 0.001, 600)),
    Key("gateway.initReconnectInternalTime", "first_reconnect", duration("s", 0.001, 86400)),
    Key("gateway.maxReconnectInternalTime", "most_reconnect", duration("s", 0.001, 86400)),
    Key("heartfelt.url", "url", maybe(text(2048)), secret=True),  # it may contain a password, which is then refused
    Key("heartfelt.transport", "transport", one_of("sermant", "http", "udp")),
    Key("heartfelt.backend", "backend", maybe(one_of("sermant", "heartfelt"))),
    Key("heartfelt.path", "path", text(1024)),
    Key("heartfelt.write_timeout", "write_timeout", duration("ms", 0.001, 600)),
    Key("heartfelt.tls.enable", "tls", flag),
    Key("heartfelt.tls.ca", "tls_ca", maybe(text(4096))),
    Key("heartfelt.tls.hostname", "tls_hostname", maybe(host)),
    Key("heartfelt.token", "token", maybe(token), secret=True),
    Key("heartfelt.token_file", "token_file", maybe(text(4096))),
    Key("heartfelt.instance_id", "instance", text(128)),
    Key("heartfelt.fork", "fork", one_of("restart", "silent")),
    Key("heartfelt.entry_points", "entry_points", flag),
    Key("heartfelt.provider.timeout", "provider_timeout", duration("ms", 0.001, 600)),
    Key("heartfelt.provider.limit", "provider_limit", whole(1, 1 << 20)),
)
BY_NAME = {key.name: key for key in KEYS}
BY_KEYWORD = {key.keyword: key for key in KEYS}

# Keys of other parts of Sermant: a file may be shared with a Java agent.
_OTHERS = re.compile(
    r"agent\.(config|service)\.|event\.|dynamic\.config\.|service\.meta\.|visibility\.|monitor\.|httpserver\.|"
    r"xds\.|metric\.|external\.agent\.|gateway\.(nettyWriteAndReadWaitTime|sendInternalTime)$"
)


def is_others(name: str) -> bool:
    """Whether it is a key of Sermant's that heartfelt does not use."""
    return bool(_OTHERS.match(name))


def like(name: str) -> str:
    """Returns '; did you mean ...?' if a key looks similar, otherwise an empty text."""
    near = difflib.get_close_matches(name, [*BY_NAME, *BY_KEYWORD], 1, 0.7)
    if not near:
        return ""
    return f"; did you mean {BY_KEYWORD[near[0]].name if near[0] in BY_KEYWORD else near[0]}?"


def environment_names(name: str) -> Iterator[str]:
    """The names that a key may have in the environment, in Sermant's order: the first one that is set counts."""
    separators = (".", "_", "-")
    as_is = [name.replace(".", separator) for separator in separators]
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", ".", name)
    apart = [split.replace(".", separator) for separator in separators]
    names = [
        *as_is, *map(str.upper, as_is), *map(str.lower, as_is), *map(str.lower, apart), *map(str.upper, apart)
    ]  # fmt: skip
    yield from dict.fromkeys(names)


def from_environment(key: Key, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns the name of the variable for the key, and its value; None if there is none."""
    for name in environment_names(key.name):
        if name in environ:
            return name, environ[name]
    return None


def checked(key: Key, value: object, where: str | None) -> object:
    """Checks and converts a value. `where` says where it was written; None means by keyword.

    Raises ConfigError, which names the place and the value, and TypeError for a keyword's value of a wrong type.
    """
    try:
        return key.kind(value, where is None)
    except Bad as bad:
        got = "" if key.secret else f"; got {shown(value)}"
        label = key.keyword if where is None else f"{where}: {key.name}"
        kind = TypeError if where is None and bad.mistyped else ConfigError
        raise kind(f"{label} {bad}{got}") from None
