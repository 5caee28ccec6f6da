# SPDX-License-Identifier: MIT
"""Kinds of configuration values: each checks a value as written and converts it.

A value comes as text (a .properties file, the environment), as a TOML value, or typed, by keyword. In text and TOML a
bare number is in the setting's own unit; by keyword it is in seconds, as everywhere in heartfelt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from heartfelt._duration import EXAMPLES, format_duration, parse_duration_ns

Kind: TypeAlias = Callable[[object, bool], object]  # (value as written, whether by keyword) -> converted value

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Bad(Exception):
    """An invalid value. The text continues a sentence that begins with the setting's name. `mistyped`: TypeError for a
    keyword."""

    def __init__(self, text: str, mistyped: bool = False) -> None:
        super().__init__(text)
        self.mistyped = mistyped


def flag(value: object, typed: bool) -> bool:
    if isinstance(value, bool):
        return value
    if not typed and isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise Bad("must be true or false", mistyped=True)


def text(longest: int = 256, empty: bool = False) -> Kind:
    """Text without control characters. Unless given by keyword, text is stripped, and TOML's numbers become text."""

    def check(value: object, typed: bool) -> str:
        if not typed and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise Bad("must be text", mistyped=True)
        found = value if typed else value.strip()
        if not found and not empty:
            raise Bad("must not be empty")
        if len(found) > longest:
            raise Bad(f"must be at most {longest} characters long, not {len(found)}")
        if _CONTROL.search(found):
            raise Bad("must not contain control characters or unpaired surrogates")
        return found

    return check


def maybe(kind: Kind) -> Kind:
    """An optional value: None by keyword, or nothing after the =, is None."""

    def check(value: object, typed: bool) -> object:
        if value is None or (not typed and isinstance(value, str) and not value.strip()):
            return None
        return kind(value, typed)

    return check


def one_of(*names: str) -> Kind:
    def check(value: object, typed: bool) -> str:
        if not isinstance(value, str):
            raise Bad(f"must be one of {', '.join(names)}", mistyped=True)
        found = value if typed else value.strip().lower()
        if found not in names:
            raise Bad(f"must be one of {', '.join(names)}")
        return found

    return check


def whole(least: int, most: int) -> Kind:
    def check(value: object, typed: bool) -> int:
        if not typed and isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Bad(f"must be a whole number from {least} to {most}", mistyped=True)
        if not least <= value <= most:
            raise Bad(f"must be from {least} to {most}")
        return value

    return check


_UNIT_S = {"ms": 1e-3, "s": 1.0, "d": 86400.0}
_COUNTED = {"ms": "milliseconds", "s": "seconds", "d": "days"}


class Duration:
    """A duration in seconds, as float. Written as text (`_duration.py`) or a number of `number_unit`: "ms", "s" or "d".

    By keyword: seconds or a timedelta.
    """

    unit = "s"

    def __init__(self, least_s: float, most_s: float, number_unit: str = "s") -> None:
        self._least_s, self._most_s, self._number_unit = least_s, most_s, number_unit

    def __call__(self, value: object, typed: bool) -> float:
        unit = self._number_unit
        wanted = f"must be a duration such as {EXAMPLES}, or a number of {_COUNTED[unit]}"
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
        elif isinstance(value, str) and not typed:
            try:
                seconds = parse_duration_ns(value, unit) / 1e9
            except ValueError as error:
                raise Bad(f"{wanted}: {error}") from None
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value * (1.0 if typed else _UNIT_S[unit])
        else:
            raise Bad("must be seconds (int, float) or a timedelta" if typed else wanted, mistyped=True)
        if not self._least_s <= seconds <= self._most_s:  # NaN, too
            hint = "; the keyword takes seconds, the setting in files milliseconds" if typed and unit == "ms" else ""
            raise Bad(f"must be from {format_duration(self._least_s)} to {format_duration(self._most_s)}{hint}")
        return seconds


def token(value: object, typed: bool) -> str:
    """A bearer token that an HTTP header may carry. Error messages do not show it."""
    if not isinstance(value, str):
        raise Bad("must be text", mistyped=True)
    found = value if typed else value.strip()
    if not re.fullmatch(r"[!-~]{1,4096}", found):
        raise Bad("must be 1 to 4096 printable ASCII characters without blanks")
    return found


def host(value: object, typed: bool) -> str:
    """A host name or an address; the brackets around an IPv6 address are removed."""
    found = text(255)(value, typed)
    assert isinstance(found, str)
    if found.startswith("[") and found.endswith("]"):
        found = found[1:-1]
    if not re.fullmatch(r"[^\s/@?#\[\]]+", found) or (":" in found and not re.fullmatch(r"[0-9A-Fa-f:.%\w]+", found)):
        raise Bad("must be a host name or an IP address, without port or scheme")
    return found
