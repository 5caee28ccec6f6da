# SPDX-License-Identifier: MIT
"""Placeholders in the values of .properties files, as Spring has them: ${NAME} and ${NAME:default}, also nested.

A name is looked up in what was given on the command line, in the environment (as it is, or as `netty.port` and
`some-name` are written there: NETTY_PORT, SOME_NAME, SOMENAME), and among the values of the file itself. A `${` that is
not closed is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from heartfelt.errors import ConfigError

__all__ = ["Placeholders"]

MOST_DEEP = 16
MOST_USED = 200
LONGEST = 1 << 16
_MARK = re.compile(r"\$\{|\}|:")


class Placeholders:
    """file: the values of the file by their keys, unresolved. given: values that come before all others."""

    def __init__(
        self, file: Mapping[str, str], environ: Mapping[str, str], given: Mapping[str, object] | None = None
    ) -> None:
        self._file = file
        self._environ = environ
        self._given = given or {}
        self._left = 0

    def resolve(self, text: str, label: str) -> str:
        """Returns the value with all placeholders replaced. label: place and key, for messages.

        Raises ConfigError for a name that has neither value nor default, and for values that refer to themselves or
        become too large. O(length of the result), bounded.
        """
        if "${" not in text:
            return text
        self._left = MOST_USED
        return self._resolve(text, label, 0)

    def _resolve(self, text: str, label: str, depth: int) -> str:
        if depth > MOST_DEEP:
            raise ConfigError(
                f"{label}: its placeholders are nested more than {MOST_DEEP} deep; does a value refer to itself?"
            )
        parts: list[str] = []
        at = 0
        while (begin := text.find("${", at)) >= 0 and (found := _inner(text, begin + 2)) is not None:
            name, default, end = found
            parts += text[at:begin], self._value(name, default, label, depth)
            at = end
        result = "".join([*parts, text[at:]])
        if len(result) > LONGEST:
            raise ConfigError(f"{label}: it is longer than {LONGEST} characters with its placeholders replaced")
        return result

    def _value(self, name: str, default: str | None, label: str, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"{label}: it has more than {MOST_USED} placeholders; does a value refer to itself?")
        name = self._resolve(name, label, depth + 1).strip()
        value = self._find(name)
        if value is None:
            value = default
        if value is None:
            shown, variable = name[:60], next(_variables(name))[:60]
            raise ConfigError(
                f"{label}: the placeholder ${{{shown}}} has no value; set the environment variable {variable}, or give "
                f"a default: ${{{shown}:default}}"
            )
        return self._resolve(value, label, depth + 1)

    def _find(self, name: str) -> str | None:
        if name in self._given:
            return str(self._given[name])
        for variable in (name, *_variables(name)):
            if variable in self._environ:
                return self._environ[variable]
        return self._file.get(name)


def _variables(name: str) -> Iterator[str]:
    upper = name.upper().replace(".", "_")
    yield from dict.fromkeys((upper.replace("-", "_"), upper.replace("-", "")))


def _inner(text: str, begin: int) -> tuple[str, str | None, int] | None:
    """Returns the name, the default and the end of the placeholder whose inner text begins here. None: no end."""
    depth, colon = 0, -1
    for mark in _MARK.finditer(text, begin):
        if mark[0] == "${":
            depth += 1
        elif mark[0] == ":":
            if depth == 0 and colon < 0:
                colon = mark.start()
        elif depth:
            depth -= 1
        else:
            if colon < 0:
                return text[begin : mark.start()], None, mark.end()
            return text[begin:colon], text[colon + 1 : mark.start()], mark.end()
    return None
