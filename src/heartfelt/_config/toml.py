# SPDX-License-Identifier: MIT
"""TOML files: tables become prefixes ([heartbeat] interval = 3000 is heartbeat.interval); values have line numbers.

Python reads TOML from 3.11 on; before that the package tomli does, if it is installed. Neither reports line numbers, so
the text is searched for them separately.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heartfelt.errors import ConfigError

_TABLE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_ENTRY = re.compile(r"""\s*((?:[A-Za-z0-9_.\- ]|"[^"]*"|'[^']*')+?)\s*=(.*)$""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_\-]+)""")


@dataclass(frozen=True, slots=True)
class TomlValue:
    key: str
    value: object
    line: int | None  # None: not found, as in an inline table


def parse(data: bytes, name: str) -> list[TomlValue]:
    """Parses all values of a file.

    Raises ConfigError: with name and line for bad TOML, with the remedy if this Python cannot read TOML.
    """
    reader = _reader(name)
    try:
        text = data.decode("utf-8")
        tree = reader.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: this is not UTF-8, which TOML requires") from None
    except reader.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        where = f"{name}:{at[1]}" if at else name
        raise ConfigError(f"{where}: this is not valid TOML: {error}") from None
    lines = dict(_lines(text))
    return [TomlValue(key, value, lines.get(key)) for key, value in _flat(tree, "")]


def _reader(name: str) -> Any:
    for module in ("tomllib", "tomli"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise ConfigError(
        f"{name}: reading TOML needs Python 3.11 or the package tomli: pip install 'heartfelt[toml]'; "
        f"or write the configuration as a .properties file"
    )


def _flat(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yields keys with their line numbers, skipping multi-line strings."""
    table, within = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if within:
            if within in line:
                within = ""
            continue
        if header := _TABLE.match(line):
            table = _key(header[1]) + "."
        elif entry := _ENTRY.match(line):
            yield table + _key(entry[1]), number
            for quotes in ('"""', "'''"):
                if entry[2].count(quotes) == 1:
                    within = quotes


def _key(written: str) -> str:
    return ".".join(next(part for part in parts if part) for parts in _PART.findall(written) if any(parts))
