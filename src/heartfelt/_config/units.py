# SPDX-License-Identifier: MIT
"""Kinds of values that may have a unit: sizes ("1 GiB") and shares ("50 %"); lists of words."""

from __future__ import annotations

import re

from heartfelt._config.values import Bad

_SIZES = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20, "gb": 10**9, "gib": 1 << 30}
_NUMBER = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")


class Size:
    """A size in bytes: a whole number, or text with a unit: 64 KiB, 1 GiB."""

    unit = "B"

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, value: object, typed: bool) -> int:
        if isinstance(value, str):
            match = _NUMBER.fullmatch(value)
            if match is None or match[2].lower() not in _SIZES:
                raise Bad("must be a number of bytes, or one with a unit: 64 KiB, 10 MiB, 1 GiB")
            value = int(float(match[1]) * _SIZES[match[2].lower()])
        if isinstance(value, bool) or not isinstance(value, int):
            raise Bad("must be a whole number of bytes, or text such as 64 KiB", mistyped=True)
        if not self._least <= value <= self._most:
            raise Bad(f"must be from {self._least} to {self._most} bytes")
        return value


def share(value: object, typed: bool) -> float:
    """A share, above 0 and at most 1; "50 %" is 0.5."""
    if not typed and isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)\s*", value)
        if match is None:
            raise Bad("must be a share: 0.5, or 50 %")
        value = float(match[1]) / (100 if match[2] else 1)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Bad("must be a share: a number from 0 to 1", mistyped=True)
    if not 0 < value <= 1:
        raise Bad("must be more than 0 and at most 1")
    return float(value)


def words(value: object, typed: bool) -> tuple[str, ...]:
    """A list of texts, or one text with commas between them."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        raise Bad("must be a list of texts, or one text with commas between them", mistyped=True)
    found = tuple(part.strip() for part in value)
    if any(not part or len(part) > 255 for part in found):
        raise Bad("must be a list of texts of 1 to 255 characters")
    return found
