# SPDX-License-Identifier: MIT
"""Types of option values for argparse: each error names the value and an example of a valid one."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from heartfelt._checks import duration_ns, shown
from heartfelt._duration import EXAMPLES, parse_duration_ns
from heartfelt.errors import ConfigError


def duration(text: str) -> float:
    """Parses a duration in seconds: a number of seconds, or numbers with units. More than 0, at most 100 years."""
    try:
        value = parse_duration_ns(text, "s") / 1e9
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a duration: {error}; give seconds, or {EXAMPLES}"
        ) from None
    try:
        duration_ns(value, "a duration")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}; give seconds, or {EXAMPLES}") from None
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
