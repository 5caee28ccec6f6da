# SPDX-License-Identifier: MIT
"""Kinds of query parameters. Each refusal names the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from starlette.convertors import Convertor, register_url_convertor

from heartfelt.monitor.problems import bad
from heartfelt.monitor.store import EventCursor
from heartfelt.monitor.web.api.endpoint import Param

MOST_TEXT = 1000
MOST_IN_PATH = 10**18 - 1
MOST_MS = 1 << 53
_MOST_INTEGER = (1 << 63) - 1
_WHOLE = re.compile(r"-?0{0,100}[0-9]{1,19}", re.ASCII)
_CURSOR = re.compile(r"(?:(-?[0-9]{1,19})-)?([0-9]{1,19})")


class _NumberInPath(Convertor[int]):
    """`{id:number}` in a path: as many digits as the store can compare. With more of them it is an unknown path."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _NumberInPath())


def _text(name: str, value: str) -> str:
    if len(value) > MOST_TEXT:
        raise bad(name, value, f"must be at most {MOST_TEXT} characters long")
    return value


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        # Longer ones are out of range, and Python would refuse to read some of them.
        if _WHOLE.fullmatch(value) is None or not least <= int(value) <= most:
            raise bad(name, value, f"must be a whole number from {least} to {most}")
        return int(value)

    return parse


def _one_of(kind: type[Enum]) -> Callable[[str, str], Any]:
    def parse(name: str, value: str) -> Any:
        try:
            return kind(value.upper())
        except ValueError:
            raise bad(name, value, f"must be one of {', '.join(one.value for one in kind)}") from None

    return parse


def text(name: str, meaning: str, *, default: str | None = None, many: bool = False) -> Param:
    return Param(name, _text, meaning, default, many)


def whole(name: str, meaning: str, least: int, most: int, default: int | None = None) -> Param:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Param(name, _whole(least, most), meaning, default, schema=schema)


def wholes(name: str, meaning: str, least: int, most: int) -> Param:
    """A whole number that may be given more than once."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Param(name, _whole(least, most), meaning, many=True, schema=schema)


def moment(name: str, meaning: str) -> Param:
    return whole(name, f"{meaning}; ms since the epoch", 0, MOST_MS)


def cursor_text(cursor: EventCursor) -> str:
    return f"{cursor.at_ms}-{cursor.number}"


def event_cursor(name: str, meaning: str) -> Param:
    """A place in the list of events as `cursor_text` writes it, or the number of the event alone."""

    def parse(name: str, value: str) -> EventCursor | int:
        found = _CURSOR.fullmatch(value)
        if found is None:
            raise bad(name, value, "must be `before` of the previous page, or the number of its last event")
        at_ms, number = int(found[1] or 0), int(found[2])
        if abs(at_ms) > MOST_MS or number > _MOST_INTEGER:
            most = f"{MOST_MS}-{_MOST_INTEGER}" if found[1] is not None else _MOST_INTEGER
            raise bad(name, value, f"must be at most {most}")
        return number if found[1] is None else EventCursor(at_ms, number)

    return Param(name, parse, meaning, schema={"type": "string", "pattern": f"^{_CURSOR.pattern}$"})


def limit(default: int, most: int) -> Param:
    return whole("limit", "at most this many", 1, most, default)


def choice(name: str, kind: type[Enum], meaning: str) -> Param:
    """A member of an enumeration; may be given more than once."""
    schema = {"type": "string", "enum": [one.value for one in kind]}
    return Param(name, _one_of(kind), meaning, many=True, schema=schema)


def words(name: str, meaning: str, known: tuple[str, ...], default: str) -> Param:
    """One of the known words."""

    def parse(name: str, value: str) -> str:
        if value not in known:
            raise bad(name, value, f"must be one of {', '.join(known)}")
        return value

    return Param(name, parse, meaning, default, schema={"type": "string", "enum": list(known)})
