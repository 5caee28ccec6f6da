# SPDX-License-Identifier: MIT
"""AgentConfig: the settings, how sources override each other, and checks that concern several settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from heartfelt._config.settings import Source
from heartfelt.agent.config.sources import from_arguments, from_environ, from_file, from_keywords
from heartfelt.agent.config.url import BEATS_PATH, PORTS
from heartfelt.errors import ConfigError

LEAST_SERMANT_INTERVAL_S = 3.0
HALF = "is longer than half of"
SERMANT_TIMEOUT_S = 60.0  # its max.effective.time, and heartfelt's monitor's default


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """How an agent beats; `heartfelt.agent.config` has the table. Durations: seconds or timedeltas, stored as seconds.

    The constructor reads neither the environment nor a file; `load` does. Raises TypeError and ConfigError (a
    ValueError) for invalid values. `warnings` lists valid values that are probably mistakes; the service logs them.
    """

    enable: bool = True
    interval: float = 30.0
    timeout: float | None = None
    service: str = "default"
    app_name: str = "default"
    app_type: str = "default"
    artifact: str | None = None
    dynamic_install: bool = False
    url: str | None = field(default=None, repr=False)
    transport: str = "sermant"
    backend: str | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    path: str = BEATS_PATH
    connect_timeout: float = 5.0
    write_timeout: float = 5.0
    first_reconnect: float = 5.0
    most_reconnect: float = 180.0
    tls: bool = False
    tls_ca: str | None = None
    tls_hostname: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    instance: str = "new"
    fork: str = "restart"
    entry_points: bool = True
    provider_timeout: float = 1.0
    provider_limit: int = 65536
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        defaults = {one.name: one.default for one in fields(self) if one.name != "warnings"}
        given = {name: getattr(self, name) for name in defaults}
        source = from_keywords({name: value for name, value in given.items() if not _same(value, defaults[name])})
        for keyword, value in _complete(given | source.values, source.places, [*self.warnings]).items():
            object.__setattr__(self, keyword, value)

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        args: str | Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        strict: bool = False,
        **keywords: Any,
    ) -> AgentConfig:
        """Makes the configuration from all sources. `path` names a .properties or .toml file, `args` are start
        arguments (a mapping by keys, or Sermant's "key=value,key2=value2"), `environ` replaces os.environ, keywords
        are those of AgentConfig. With strict=True, each warning becomes a ConfigError.

        Blocks to read the file. Raises ConfigError, which names the file and line, variable or argument, and TypeError
        for keywords.
        """
        environ = os.environ if environ is None else environ
        sources = [from_file(path, environ)] if path is not None else []
        sources.append(from_environ(environ))
        if args is not None:
            sources.append(from_arguments(args))
        sources.append(from_keywords(keywords))
        total = Source()
        for source in sources:
            _override(total, source)
        known = {one.name: one.default for one in fields(cls) if one.name != "warnings"}
        complete = _complete(known | total.values, total.places, total.warnings)
        if strict and complete["warnings"]:
            raise ConfigError("; ".join(complete["warnings"]))
        return cls(**complete)

    def replace(self, **keywords: Any) -> AgentConfig:
        """Returns a copy with these keywords' values."""
        changes: dict[str, Any] = from_keywords(keywords).values
        if "transport" in changes and changes["transport"] != self.transport:
            changes = {"port": None, "backend": None} | changes
        kept = tuple(text for text in self.warnings if not text.startswith("interval"))
        changes["warnings"] = kept
        return replace(self, **changes)


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default  # True is not 1 here


# An address from a source of higher precedence replaces one from a lower source completely, port and TLS included.
_ADDRESS = ("transport", "backend", "port", "path", "tls", "tls_ca", "tls_hostname")
_TOKEN = ("token", "token_file")


def _override(total: Source, source: Source) -> None:
    if "transport" in source.values:
        for keyword in _ADDRESS:
            if keyword not in source.values:
                total.values.pop(keyword, None)
    if any(source.values.get(keyword) for keyword in _TOKEN):
        for keyword in _TOKEN:
            total.values.pop(keyword, None)
    total.values |= source.values
    total.places |= source.places
    total.warnings += source.warnings


def _complete(values: dict[str, Any], places: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    """Adds the values that follow from others, and checks the values against each other."""

    def at(keyword: str) -> str:
        place = places.get(keyword, keyword)
        return keyword if place == keyword else f"{keyword} ({place})"

    values = {**values, "url": None}
    transport = values["transport"]
    if values["port"] is None:
        values["port"] = PORTS[transport]
    if values["backend"] is None:
        values["backend"] = "sermant" if transport == "sermant" else "heartfelt"
    if values["backend"] == "sermant" and transport != "sermant":
        raise ConfigError(
            f"{at('transport')} is {transport}, which a Sermant backend does not support: backend must be heartfelt"
        )
    if not values["path"].startswith("/") or not values["path"].isascii() or " " in values["path"]:
        raise ConfigError(f"{at('path')} must begin with / and be ASCII without spaces; got {values['path']!r}")
    if values["tls"] and transport == "udp":
        raise ConfigError(f"{at('tls')} is on, but udp has no TLS: use transport http or sermant")
    if not values["tls"] and (values["tls_ca"] or values["tls_hostname"]):
        which = "tls_ca" if values["tls_ca"] else "tls_hostname"
        raise ConfigError(f"{at(which)} is set, but TLS is off: set heartfelt.tls.enable to true, or remove it")
    if values["token"] and values["token_file"]:
        raise ConfigError(f"{at('token')} and {at('token_file')} are both set: remove one of them")
    if values["first_reconnect"] > values["most_reconnect"]:
        raise ConfigError(
            f"{at('first_reconnect')}, {values['first_reconnect']:g} s, must not be longer than "
            f"{at('most_reconnect')}, {values['most_reconnect']:g} s"
        )
    if values["backend"] == "sermant" and values["interval"] < LEAST_SERMANT_INTERVAL_S:
        warnings.append(
            f"interval: {at('interval')} is raised from {values['interval']:g} s to 3 s, a Sermant backend's minimum; "
            f"heartfelt's monitor accepts shorter ones: heartfelt.backend = heartfelt"
        )
        values["interval"] = LEAST_SERMANT_INTERVAL_S
    lease = values["timeout"] or SERMANT_TIMEOUT_S
    if values["interval"] > lease / 2 and not any(HALF in text for text in warnings):
        timeout = f"the timeout of {lease:g} s" if values["timeout"] else f"a monitor's default timeout of {lease:g} s"
        warnings.append(
            f"interval: {at('interval')}, {values['interval']:g} s, {HALF} {timeout}: "
            f"a single lost or late beat makes the instance count as lost; a third of the timeout is a good interval"
        )
    return {**values, "warnings": tuple(dict.fromkeys(warnings))}
