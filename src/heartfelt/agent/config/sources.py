# SPDX-License-Identifier: MIT
"""Where the configuration comes from: file, environment, start arguments, keywords; each value with its place."""

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
    """One source's values by keyword, checked, with the place of each."""

    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, keyword: str, value: object, place: str | None) -> None:
        self.values[keyword] = checked(BY_KEYWORD[keyword], value, place)
        self.places[keyword] = place or keyword

    def expand_url(self) -> None:
        """A URL becomes what it stands for; another value of the same source for one of these is refused."""
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
                    f"the URL says {shown(value)}; take one of the two away"
                )
            self.values[keyword] = value
            self.places[keyword] = place


def from_keywords(keywords: Mapping[str, object]) -> Source:
    source = Source()
    for keyword, value in keywords.items():
        if keyword not in BY_KEYWORD:
            raise TypeError(f"{keyword} is no keyword of the agent's configuration{like(keyword)}")
        source.put(keyword, value, None)
    source.expand_url()
    return source


def from_arguments(arguments: str | Mapping[str, str]) -> Source:
    """Sermant's start arguments: a mapping of keys, or "key=value,key2=value2"."""
    if isinstance(arguments, str):
        pairs = [part.partition("=") for part in arguments.split(",") if part.strip()]
        for name, equals, _ in pairs:
            if not equals:
                raise ConfigError(f"start arguments: {shown(name.strip())} has no =; write key=value,key2=value2")
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
    """A .toml file, or a .properties file: any other name is taken for one."""
    path = Path(path)
    data = files.read(path)
    source = Source()
    name = str(path)
    if path.suffix.lower() == ".toml":
        for entry in toml.parse(data, name):
            _put_named(source, entry.key, entry.value, name if entry.line is None else f"{name}:{entry.line}")
    else:
        told: dict[str, int] = {}
        for prop in properties.parse(data, name):
            if prop.key in told:
                source.warnings.append(
                    f"{name}:{prop.line}: {prop.key} is told again; line {told[prop.key]} does not count any more"
                )
            told[prop.key] = prop.line
            _put_named(source, prop.key, prop.value, f"{name}:{prop.line}")
    source.expand_url()
    return source


def _put_named(source: Source, name: str, value: object, place: str) -> None:
    if key := BY_NAME.get(name):
        source.put(key.keyword, value, place)
    elif not is_others(name):
        source.warnings.append(f"{place}: {name} is no key of the agent's configuration{like(name)}")
