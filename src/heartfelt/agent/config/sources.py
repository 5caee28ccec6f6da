# SPDX-License-Identifier: MIT
"""Sources of the configuration: file, environment, start arguments, keywords; each value with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heartfelt._checks import shown
from heartfelt._config import files, properties, toml
from heartfelt.agent.config.keys import BY_KEYWORD, BY_NAME, KEYS, checked, from_environment, is_others, like
from heartfelt.agent.config.url import split_url
from heartfelt.errors import ConfigError


@dataclass(slots=True)
class Source:
    """The values of one source by keyword, checked, and the place of each."""

    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, keyword: str, value: object, place: str | None) -> None:
        self.values[keyword] = checked(BY_KEYWORD[keyword], value, place)
        self.places[keyword] = place or keyword

    def expand_url(self) -> None:
        """Replaces a URL by the settings that it stands for; refuses a different value in the same source for one."""
        url = self.values.pop("url", None)
        if url is None:
            return
        place = self.places.pop("url")
        assert isinstance(url, str)
        label = "url" if place == "url" else f"{place}: heartfelt.url"
        for keyword, value in split_url(url, label).items():
            if keyword in self.values and self.values[keyword] != value:
                raise ConfigError(
                    f"{label} and {self.places[keyword]} ({BY_KEYWORD[keyword].name}) contradict each other: "
                    f"the URL says {shown(value)}; remove one of them"
                )
            self.values[keyword] = value
            self.places[keyword] = place


def from_keywords(keywords: Mapping[str, object]) -> Source:
    source = Source()
    for keyword, value in keywords.items():
        if keyword not in BY_KEYWORD:
            raise TypeError(f"{keyword} is not a keyword of the agent's configuration{like(keyword)}")
        source.put(keyword, value, None)
    source.expand_url()
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
    source.expand_url()
    return source


def from_environ(environ: Mapping[str, str]) -> Source:
    source = Source()
    for key in KEYS:
        if found := from_environment(key, environ):
            source.put(key.keyword, found[1], f"environment variable {found[0]}")
    source.expand_url()
    return source


def from_file(path: str | Path) -> Source:
    """Reads a .toml file, or a .properties file, which any other name is taken for."""
    path = Path(path)
    data = files.read(path)
    source = Source()
    name = str(path)
    if path.suffix.lower() == ".toml":
        for entry in toml.parse(data, name):
            _put_named(source, entry.key, entry.value, name if entry.line is None else f"{name}:{entry.line}")
    else:
        seen: dict[str, int] = {}
        for prop in properties.parse(data, name):
            if prop.key in seen:
                source.warnings.append(
                    f"{name}:{prop.line}: {prop.key} is repeated; the value in line {seen[prop.key]} is ignored"
                )
            seen[prop.key] = prop.line
            _put_named(source, prop.key, prop.value, f"{name}:{prop.line}")
    source.expand_url()
    return source


def _put_named(source: Source, name: str, value: object, place: str) -> None:
    if key := BY_NAME.get(name):
        source.put(key.keyword, value, place)
    elif not is_others(name):
        source.warnings.append(f"{place}: unknown setting {name}{like(name)}")
