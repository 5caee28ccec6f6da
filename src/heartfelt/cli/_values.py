# SPDX-License-Identifier: MIT
"""Types of option values for argparse: each refusal names the value and what would do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from heartfelt._checks import duration_ns, shown
from heartfelt.errors import ConfigError


def seconds(text: str) -> float:
    """A duration: more than 0, at most 100 years."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number; give seconds, for example 0.5") from None
    try:
        duration_ns(value, "a duration")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}; give seconds, for example 0.5") from None
    return value


UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """A duration in seconds, with a unit or none: 90, 90s, 500ms, 5m, 25h, 1d. More than 0, at most 100 years."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no duration; give seconds or a unit: 90, 500ms, 5m, 25h")
    value = float(found[1]) * UNITS_S[found[2] or "s"]
    try:
        duration_ns(value, "a duration")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}; for example 90, 500ms, 5m, 25h, 1d") from None
    return value


def whole(least: int, most: int) -> Callable[[str], int]:
    """An int from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is no whole number; give one from {least} to {most}"
            ) from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{shown(text)} is out of range; give a number from {least} to {most}")
        return value

    return parse


def whole_list(text: str) -> tuple[int, ...]:
    """Ints of at least 1, with commas between them, none twice. Empty text: none."""
    values: list[int] = []
    for part in text.split(",") if text.strip() else []:
        try:
            value = int(part)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{shown(part)} is no whole number; give numbers with commas between them, for example 67,120"
            ) from None
        if value < 1:
            raise argparse.ArgumentTypeError(f"{shown(part)} is out of range; the first number is 1")
        if value in values:
            raise argparse.ArgumentTypeError(f"{value} is there twice; give each number once")
        values.append(value)
    return tuple(values)
