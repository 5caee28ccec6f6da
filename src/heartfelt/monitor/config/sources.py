# SPDX-License-Identifier: MIT
"""Sources of the monitor's settings: a file, the environment, flags. Values are checked as they are read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartfelt._checks import shown
from heartfelt._config.settings import FileEntry, SettingSpec, Source, check, entries_of
from heartfelt.errors import ConfigError
from heartfelt.monitor.config.settings import (
    BY_VARIABLE,
    OF_A_SERVICE,
    SERMANTS_OTHERS,
    SERVICE,
    SETTINGS,
    of_a_service,
)


@dataclass(slots=True)
class MonitorSource(Source):
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of single services: {"shop": {"timeout": 90.0}}."""

    def put_named(self, name: str, value: object, place: str) -> None:
        """Checks and stores a value by its setting's name. Raises ConfigError for an unknown setting or a bad value."""
        if setting := SETTINGS.by_name.get(name):
            self.put(setting, value, place)
        elif match := SERVICE.fullmatch(name):
            checked_value = check(of_a_service(match[1], match[2]), value, place)
            self.services.setdefault(match[1], {})[match[2]] = checked_value
            self.places[name] = place
        elif name.startswith("service."):
            raise ConfigError(f"{place}: unknown setting {name}; those of a service are {', '.join(OF_A_SERVICE)}")
        else:
            raise ConfigError(f"{place}: {SETTINGS.unknown(name)}")

    def override(self, other: MonitorSource) -> None:
        self.values |= other.values
        self.places |= other.places
        self.warnings += other.warnings
        for name, one in other.services.items():
            self.services.setdefault(name, {}).update(one)


def checked(setting: SettingSpec, value: object) -> object:
    """Checks a keyword's value. Raises ConfigError, also for a value of the wrong type."""
    try:
        return check(setting, value, None)
    except TypeError as error:
        raise ConfigError(str(error)) from None


def from_flags(flags: Mapping[str, object]) -> MonitorSource:
    source = MonitorSource()
    for name, value in flags.items():
        source.put_named(name, value, f"flag {name}")
    return source


def from_environ(environ: Mapping[str, str]) -> MonitorSource:
    """Reads HEARTFELT_HTTP_PORT and the like.

    Variables of other programs may begin with HEARTFELT_, too: only one that looks like a misspelling gets a warning.
    """
    source = MonitorSource()
    for variable, value in environ.items():
        if setting := BY_VARIABLE.get(variable):
            source.put(setting, value, f"environment variable {variable}")
        elif variable.startswith("HEARTFELT_") and (near := difflib.get_close_matches(variable, BY_VARIABLE, 1, 0.9)):
            source.warnings.append(f"unknown environment variable {variable}; did you mean {near[0]}?")
    return source


def from_file(path: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> MonitorSource:
    """Reads a .properties file, with Sermant's names or the monitor's own, or a TOML file under any other name.

    environ, flags: the values of placeholders.
    """
    source = MonitorSource()
    is_toml = path.suffix.lower() != ".properties"
    for entry in entries_of(path, toml_file=is_toml, warnings=source.warnings, environ=environ, given=flags):
        if is_toml:
            source.put_named(entry.key, entry.value, entry.place)
        else:
            _put_property(source, entry)
    return source


def _put_property(source: MonitorSource, entry: FileEntry) -> None:
    key, place = entry.key, entry.place
    if setting := SETTINGS.by_sermant.get(key):
        source.put(setting, entry.resolved(), place, name=key, kind=setting.sermant_kind)
    elif key in SETTINGS.by_name or SERVICE.fullmatch(key):
        source.put_named(key, entry.resolved(), place)
    elif key == "database.type":
        _check_database(str(entry.resolved()), place)
    elif SERMANTS_OTHERS.match(key):
        source.warnings.append(f"{place}: {key} has no meaning here and is ignored")
    else:
        source.warnings.append(f"{place}: {SETTINGS.unknown(key)}")


def _check_database(value: str, place: str) -> None:
    if value.strip().upper() != "MEMORY":
        raise ConfigError(
            f"{place}: database.type must be MEMORY; got {shown(value)}. The monitor keeps its data in an SQLite file "
            f"of its own, in the folder that `data` names: remove the line"
        )
