# SPDX-License-Identifier: MIT
"""Settings of the agent and the monitor: their table, their sources, and the checks of their values.

A setting has one name, used in files, the environment, the dataclass's field and messages (with underscores where dots
are not possible). Sermant's names are accepted, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heartfelt._checks import shown
from heartfelt._config import files, properties, toml
from heartfelt._config.placeholders import Placeholders
from heartfelt._config.values import Bad, Kind
from heartfelt.errors import ConfigError

__all__ = ["FileEntry", "SettingSpec", "SettingsTable", "Source", "check", "entries_of"]


@dataclass(frozen=True, slots=True)
class SettingSpec:
    name: str
    """Its name in files and start arguments."""
    field: str
    """The dataclass's field and constructor keyword."""
    kind: Kind
    meaning: str = ""
    secret: bool = False
    """Whether messages must not show the value."""
    former: tuple[str, ...] = ()
    """Former names, which are still accepted."""
    sermant: str | None = None
    """Sermant's name for it, if different."""
    sermant_kind: Kind | None = None
    """The kind of Sermant's value, if different."""

    @property
    def unit(self) -> str | None:
        """Unit of the value: "s" for durations, "B" for sizes, None for everything else."""
        return getattr(self.kind, "unit", None)


class SettingsTable:
    """The table of the agent's settings, or of the monitor's. Lookups are O(1), suggestions O(number of settings)."""

    def __init__(self, settings: Iterable[SettingSpec]) -> None:
        self.all = tuple(settings)
        self.by_name = {name: one for one in self.all for name in (one.name, *one.former)}
        self.by_field = {one.field: one for one in self.all}
        self.by_sermant = {one.sermant: one for one in self.all if one.sermant}

    def __iter__(self) -> Iterator[SettingSpec]:
        return iter(self.all)

    def unknown(self, name: str, *, keyword: bool = False) -> str:
        """Says that no setting has this name (or keyword), and which one has a similar name."""
        names = self.by_field if keyword else {**self.by_field, **self.by_sermant, **self.by_name}
        near = difflib.get_close_matches(name, names, 1, 0.7)
        if not near:
            return f"unknown setting {name}"
        similar = near[0] if keyword or near[0] in self.by_sermant else names[near[0]].name
        return f"unknown setting {name}; did you mean {similar}?"


def check(
    setting: SettingSpec, value: object, place: str | None, *, name: str | None = None, kind: Kind | None = None
) -> object:
    """Checks a value and converts it to what the field holds.

    place: where the value was set; None for a keyword. name, kind: Sermant's, if it was set by that name.
    Raises ConfigError that names the place, the setting and the value; TypeError for a keyword's value of a wrong type.
    """
    try:
        return (kind or setting.kind)(value, place is None)
    except Bad as bad:
        got = "" if setting.secret else f"; got {shown(value)}"
        label = setting.field if place is None else f"{place}: {name or setting.name}"
        error = TypeError if place is None and bad.mistyped else ConfigError
        raise error(f"{label} {bad}{got}") from None


@dataclass(slots=True)
class Source:
    """Values of one source, or of several merged, by field; the place of each; warnings for the log."""

    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(
        self,
        setting: SettingSpec,
        value: object,
        place: str | None,
        *,
        name: str | None = None,
        kind: Kind | None = None,
    ) -> None:
        """Checks a value and stores it. Raises as `check` does."""
        self.values[setting.field] = check(setting, value, place, name=name, kind=kind)
        self.places[setting.field] = place or setting.field


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A line of a configuration file."""

    key: str
    value: object
    place: str
    """File and line, as messages show it."""
    placeholders: Placeholders | None = None
    """Replaces the placeholders in a value of a .properties file."""

    def resolved(self) -> object:
        """Returns the value without placeholders. Raises ConfigError. Not for a value that is ignored: what its
        placeholders name may not exist here."""
        if self.placeholders is None or not isinstance(self.value, str):
            return self.value
        return self.placeholders.resolve(self.value, f"{self.place}: {self.key}")


def entries_of(
    path: Path,
    *,
    toml_file: bool,
    warnings: list[str],
    environ: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Iterator[FileEntry]:
    """Reads a .toml or a .properties file, and yields its entries in order.

    A key that a .properties file gives twice is yielded twice, with a warning. environ, given: the values of
    placeholders. Blocks to read the file. Raises ConfigError that names file and line.
    """
    data, name = files.read(path), str(path)
    if toml_file:
        for found in toml.parse(data, name):
            yield FileEntry(found.key, found.value, name if found.line is None else f"{name}:{found.line}")
        return
    lines: dict[str, int] = {}
    found_all = properties.parse(data, name)
    placeholders = Placeholders({one.key: one.value for one in found_all}, environ or {}, given)
    for one in found_all:
        place = f"{name}:{one.line}"
        if one.key in lines:
            warnings.append(f"{place}: {one.key} is given again; the value in line {lines[one.key]} is ignored")
        lines[one.key] = one.line
        yield FileEntry(one.key, one.value, place, placeholders)
