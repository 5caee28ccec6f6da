# SPDX-License-Identifier: MIT
"""Types of option values for argparse: each error names the value and an example of a valid one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from heartfelt._checks import duration_ns, shown
from heartfelt.errors import ConfigError


def seconds(text: str) -> float:
    """Parses a duration in seconds: more than 0, at most 100 years."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number; give seconds, for example 0.5") from None
    try:
        duration_ns(value, "a duration")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}; give seconds, for example 0.5") from None
    return value


UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Parses a duration, in seconds or with a unit: 90, 90s, 500ms, 5m, 25h, 1d. More than 0, at most 100 years."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a duration; give seconds, or a number with a unit: 90, 500ms, 5m, 25h"
        )
    value = float(found[1]) * UNITS_S[found[2] or "s"]
    try:
        duration_ns(value, "a duration")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}; for example 90, 500ms, 5m, 25h, 1d") from None
    return value


def whole(least: int, most: int) -> Callable[[str], int]:
    """Makes a parser for integers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is not a whole number; give one from {least} to {most}"
            ) from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{shown(text)} is out of range; give a number from {least} to {most}")
        return value

    return parse


def whole_list(text: str) -> tuple[int, ...]:
    """Parses different integers of at least 1, separated by commas. An empty text gives none."""
    values: list[int] = []
    for part in text.split(",") if text.strip() else []:
        try:
            value = int(part)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{shown(part)} is not a whole number; give numbers separated by commas, for example 67,120"
            ) from None
        if value < 1:
            raise argparse.ArgumentTypeError(f"{shown(part)} is out of range; the smallest number is 1")
        if value in values:
            raise argparse.ArgumentTypeError(f"{value} is repeated; give each number once")
        values.append(value)
    return tuple(values)
