# SPDX-License-Identifier: MIT
"""Plugins and other agents that a service reports, and those that installed packages add by entry points.

`heartfelt.plugins`: the entry point's name is the plugin's name, and its package's version the plugin's version;
nothing is imported. `heartfelt.ext_info`: the entry point's name is the plugin's name, and its object the provider of
extra information, which is imported when it is first called, within the provider's time limit, so that a broken package
delays nothing.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heartfelt._checks import shown
from heartfelt._config.values import Bad, text
from heartfelt.agent.content.providers import Provider, reason_of
from heartfelt.errors import ConfigError

PLUGINS_GROUP = "heartfelt.plugins"
EXT_INFO_GROUP = "heartfelt.ext_info"
UNKNOWN = "unknown"
_logger = logging.getLogger("heartfelt.agent")
_name = text(256)


def checked_name(value: object, what: str) -> str:
    """Checks the name or version of a plugin or an agent. Raises TypeError and ConfigError."""
    try:
        found = _name(value, True)
    except Bad as bad:
        raise (TypeError if bad.mistyped else ConfigError)(f"{what} {bad}; got {shown(value)}") from None
    assert isinstance(found, str)
    return found


@dataclass(slots=True)
class Found:
    """Plugins and providers of the installed packages."""

    plugins: dict[str, str] = field(default_factory=dict)  # name -> version
    providers: dict[str, Provider] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def installed() -> Found:
    """Reads the entry points of all installed packages, which takes tens of ms. `failures` lists what is broken."""
    found = Found()
    try:
        points = importlib.metadata.entry_points()
        plugins, providers = points.select(group=PLUGINS_GROUP), points.select(group=EXT_INFO_GROUP)
    except Exception as error:  # a package with broken metadata
        found.failures.append(f"cannot read the entry points of the installed packages: {reason_of(error)}")
        return found
    for point in plugins:
        try:
            version = point.dist.version if point.dist is not None else UNKNOWN
            found.plugins[checked_name(point.name, "a plugin's name")] = checked_name(version, "a plugin's version")
        except Exception as error:
            found.failures.append(f"entry point {point.name} of {PLUGINS_GROUP}: {reason_of(error)}")
    for point in providers:
        try:
            found.providers[checked_name(point.name, "a plugin's name")] = Lazy(point)
        except Exception as error:
            found.failures.append(f"entry point {point.name} of {EXT_INFO_GROUP}: {reason_of(error)}")
    return found


class Lazy:
    """A provider that is imported when it is first called."""

    def __init__(self, point: Any) -> None:
        self._point = point
        self._provider: Provider | None = None

    def __call__(self) -> Mapping[str, str] | None:
        if self._provider is None:
            loaded = self._point.load()
            if not callable(loaded):
                raise TypeError(f"{self._point.value} is a {type(loaded).__name__}, not a callable without arguments")
            self._provider = loaded
        return self._provider()
