# SPDX-License-Identifier: MIT
"""Where the monitor's configuration comes from: a file, the environment, flags. Checked, each value with its place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heartfelt._checks import shown
from heartfelt._config import files, properties, toml
from heartfelt.errors import ConfigError
from heartfelt.monitor.config.keys import (
    BY_NAME,
    BY_SERMANT,
    BY_VARIABLE,
    SERMANTS_OTHERS,
    SERVICE,
    SERVICE_KINDS,
    checked,
    like,
)


@dataclass(slots=True)
class Source:
    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    services: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, name: str, value: object, place: str) -> None:
        """A value by the key's own name. Raises ConfigError if there is no such key, or it cannot have the value."""
        if key := BY_NAME.get(name):
            self.values[key.field] = checked(key.kind, value, name, place)
            self.places[key.field] = place
        elif match := SERVICE.fullmatch(name):
            seconds = checked(SERVICE_KINDS[match[2]], value, name, place)
            assert isinstance(seconds, float)
            self.services.setdefault(match[1], {})[match[2]] = seconds
            self.places[name] = place
        else:
            raise ConfigError(f"{place}: {name} is no key of the monitor's configuration{like(name, BY_NAME)}")

    def override(self, other: Source) -> None:
        self.values |= other.values
        self.places |= other.places
        self.warnings += other.warnings
        for name, one in other.services.items():
            self.services.setdefault(name, {}).update(one)


def from_flags(flags: Mapping[str, object]) -> Source:
    source = Source()
    for name, value in flags.items():
        source.put(name, value, f"flag {name}")
    return source


def from_environ(environ: Mapping[str, str]) -> Source:
    """HEARTFELT_HTTP_PORT and the like. Others' variables begin so, too: what looks like a slip is a warning."""
    source = Source()
    for variable, value in environ.items():
        if key := BY_VARIABLE.get(variable):
            source.put(key.name, value, f"environment variable {variable}")
        elif variable.startswith("HEARTFELT_") and (near := difflib.get_close_matches(variable, BY_VARIABLE, 1, 0.9)):
            source.warnings.append(f"environment variable {variable} is not known; did you mean {near[0]}?")
    return source


def from_file(path: Path) -> Source:
    """A .properties file with Sermant's keys or the monitor's own; anything else is taken for TOML."""
    data = files.read(path)
    return _properties(data, str(path)) if path.suffix.lower() == ".properties" else _toml(data, str(path))


def _toml(data: bytes, name: str) -> Source:
    source = Source()
    for entry in toml.parse(data, name):
        source.put(entry.key, entry.value, name if entry.line is None else f"{name}:{entry.line}")
    return source


def _properties(data: bytes, name: str) -> Source:
    source = Source()
    told: dict[str, int] = {}
    for one in properties.parse(data, name):
        place = f"{name}:{one.line}"
        if one.key in told:
            source.warnings.append(f"{place}: {one.key} is told again; line {told[one.key]} does not count any more")
        told[one.key] = one.line
        if key := BY_SERMANT.get(one.key):
            source.values[key.field] = checked(key.sermant_kind or key.kind, one.value, one.key, place)
            source.places[key.field] = place
        elif one.key in BY_NAME or SERVICE.fullmatch(one.key):
            source.put(one.key, one.value, place)
        elif one.key == "database.type":
            _check_database(one.value, place)
        elif SERMANTS_OTHERS.match(one.key):
            source.warnings.append(f"{place}: {one.key} has no meaning here, and is left out")
        else:
            hint = like(one.key, BY_SERMANT | BY_NAME)
            source.warnings.append(f"{place}: {one.key} is no key of the monitor's configuration{hint}")
    return source


def _check_database(value: str, place: str) -> None:
    if value.strip().upper() != "MEMORY":
        raise ConfigError(
            f"{place}: database.type must be MEMORY; got {shown(value)}. The monitor keeps its data in an SQLite file "
            f"of its own, in the folder that `data` names: take the line away"
        )
