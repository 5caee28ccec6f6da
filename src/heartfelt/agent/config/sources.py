# SPDX-License-Identifier: MIT
"""Sources of the configuration: file, environment, start arguments, keywords; each value with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from heartfelt._checks import shown
from heartfelt._config.settings import Source, entries_of
from heartfelt.agent.config.settings import SETTINGS, from_environment, is_others
from heartfelt.agent.config.url import split_url
from heartfelt.errors import ConfigError


def expand_url(source: Source) -> None:
    """Replaces a URL by the values it stands for. Raises ConfigError if the same source gives another value for one."""
    url = source.values.pop("url", None)
    if url is None:
        return
    place = source.places.pop("url")
    assert isinstance(url, str)
    label = "url" if place == "url" else f"{place}: heartfelt.url"
    for keyword, value in split_url(url, label).items():
        if keyword in source.values and source.values[keyword] != value:
            raise ConfigError(
                f"{label} and {source.places[keyword]} ({SETTINGS.by_field[keyword].name}) contradict each other: "
                f"the URL says {shown(value)}; remove one of the two"
            )
        source.values[keyword] = value
        source.places[keyword] = place


def from_keywords(keywords: Mapping[str, object]) -> Source:
    source = Source()
    for keyword, value in keywords.items():
        setting = SETTINGS.by_field.get(keyword)
        if setting is None:
            raise TypeError(SETTINGS.unknown(keyword, keyword=True))
        source.put(setting, value, None)
    expand_url(source)
    return source


def from_arguments(arguments: str | Mapping[str, str]) -> Source:
    """Reads Sermant's start arguments: a mapping by keys, or "key=value,key2=value2"."""
    if isinstance(arguments, str):
        pairs = [part.partition("=") for part in arguments.split(",") if part.strip()]
        for name, equals, _ in pairs:
            if not equals:
                raise ConfigError(f"start arguments: {shown(name.strip())} has no '='; write key=value,key2=value2")
        arguments = {name.strip(): value for name, _, value in pairs}
    source = Source()
    for name, value in arguments.items():
        _put_named(source, name, value, f"start argument {name}")
    expand_url(source)
    return source


def from_environ(environ: Mapping[str, str]) -> Source:
    source = Source()
    for setting in SETTINGS:
        if found := from_environment(setting, environ):
            source.put(setting, found[1], f"environment variable {found[0]}")
    expand_url(source)
    return source


def from_file(path: str | Path, environ: Mapping[str, str]) -> Source:
    """Reads a .toml file, or a .properties file under any other name. environ: the values of placeholders. Raises
    ConfigError."""
    path = Path(path)
    source = Source()
    is_toml = path.suffix.lower() == ".toml"
    for entry in entries_of(path, toml_file=is_toml, warnings=source.warnings, environ=environ):
        value = entry.resolved() if entry.key in SETTINGS.by_name else entry.value
        _put_named(source, entry.key, value, entry.place)
    expand_url(source)
    return source


def _put_named(source: Source, name: str, value: object, place: str) -> None:
    if setting := SETTINGS.by_name.get(name):
        source.put(setting, value, place)
    elif not is_others(name):
        source.warnings.append(f"{place}: {SETTINGS.unknown(name)}")
