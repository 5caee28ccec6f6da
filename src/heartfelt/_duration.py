# SPDX-License-Identifier: MIT
"""Durations as people write them: `90s`, `90 s`, `1h30m`, `5min`, `7 days`, `1w`.

One grammar for files, the environment, the command line and pings. A duration is a list of numbers, each with its unit;
blanks are allowed between them, and each unit at most once, in any case. A bare number is accepted where the unit
is clear from the name or the documentation (`timeout_ms=500`, `--timeout 90`).
"""

from __future__ import annotations

import re

__all__ = ["EXAMPLES", "format_duration", "parse_duration_ns"]

EXAMPLES = "500ms, 90s, 5min, 1h30m, 7 days or 1w"

_LONGEST_TEXT = 100
_UNITS_NS = {
    "ns": 1,
    "us": 1000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
    "w": 7 * 86_400 * 1_000_000_000,
}
_SPELLINGS = {
    "ns": ("ns", "nanosecond", "nanoseconds"),
    "us": ("us", "usec", "usecs", "microsecond", "microseconds"),
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "min": ("min", "m", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "wk", "wks", "week", "weeks"),
}
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]+)\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def parse_duration_ns(text: str, number_unit: str | None = None) -> int:
    """Parses a duration; returns nanoseconds, rounded to the nearest.

    number_unit: the unit of a bare number, "ms", "s" or "d"; None refuses a bare number. Raises ValueError, whose text
    says what is wrong without naming a field. O(length of the text), which is at most 100 characters.
    """
    written = text.strip()
    if not written:
        raise ValueError("it is empty")
    if len(written) > _LONGEST_TEXT:
        raise ValueError(f"it is longer than {_LONGEST_TEXT} characters")
    if _NUMBER.fullmatch(written):
        if number_unit is None:
            raise ValueError("it has no unit")
        return _nanoseconds(written, number_unit)
    total = at = 0
    seen: set[str] = set()
    while at < len(written):
        part = _PART.match(written, at)
        if part is None:
            raise ValueError(f"{written[at:]!r} is not a number with a unit")
        unit = _UNIT_OF.get(part[2].lower())
        if unit is None:
            raise ValueError(f"unknown unit {part[2]!r}; units are {', '.join(_UNITS_NS)}")
        if unit in seen:
            raise ValueError(f"the unit {unit} is given twice")
        seen.add(unit)
        total += _nanoseconds(part[1], unit)
        at = part.end()
    return total


def _nanoseconds(number: str, unit: str) -> int:
    """Converts a decimal number exactly, rounding half up to a nanosecond."""
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return (2 * int(whole + fraction) * _UNITS_NS[unit] + scale) // (2 * scale)


def format_duration(seconds: float) -> str:
    """Formats a duration for messages, in the largest unit that divides it: 90 s, 5 min, 12 h, 7 d."""
    for unit, factor in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:g} {unit}"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
