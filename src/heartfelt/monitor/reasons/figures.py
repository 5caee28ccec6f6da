# SPDX-License-Identifier: MIT
"""Figures in a sentence: durations, counts, rates, shares and times. The panel writes them alike (lib/figures.js).

Only integer arithmetic, and `floor(x + 0.5)` where a number may have a fraction: both languages then give the same
digits, which tests/monitor/reasons/vectors.json holds them to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["count", "duration", "rate", "share", "utc"]

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(ms: float, units: Mapping[str, str]) -> str:
    """The two largest units, the rest cut off: "0.4 ms", "850 ms", "5.2 s", "3 min 12 s", "2 d 4 h".

    `units`: how each unit is written in a language, such as {"s": "{} s", ...}; "joint" stands between two.
    """
    sign = "-" if ms < 0 else ""
    ms = abs(ms)
    if ms < 10:
        return sign + units["ms"].format(_trimmed(math.floor(ms * 10), 10, 1))
    left = math.floor(ms)
    if left < 1000:
        return sign + units["ms"].format(left)
    if left < 60_000:
        return sign + units["s"].format(_trimmed(left // 100, 10, 1))
    left //= 1000
    for n, (size, name) in enumerate(_UNITS):
        if left >= size:
            first, left = divmod(left, size)
            next_size, next_name = _UNITS[n + 1]
            second = left // next_size
            text = units[name].format(count(first))
            return sign + (text + units["joint"] + units[next_name].format(second) if second else text)
    raise AssertionError(ms)


def count(n: int) -> str:
    """12345 as "12,345"."""
    return f"{n:,}"


def rate(per_s: float) -> str:
    """333.3 as "333", 2.5 as "2.5", 0.001 as "<0.01"."""
    if per_s >= 9.995:
        return count(math.floor(per_s + 0.5))
    hundredths = math.floor(per_s * 100 + 0.5)
    if hundredths < 1:
        return "<0.01" if per_s > 0 else "0"
    return _trimmed(hundredths, 100, 2)


def share(part: float) -> str:
    """0.5 as "50%", 0.333 as "33.3%"."""
    return _trimmed(math.floor(part * 1000 + 0.5), 10, 1) + "%"


def _trimmed(scaled: int, factor: int, digits: int) -> str:
    whole, rest = divmod(scaled, factor)
    return f"{whole:,}.{rest:0{digits}}".rstrip("0") if rest else f"{whole:,}"


def utc(ms: int) -> str:
    """A moment, as "2025-11-22 12:00:00Z". The panel shows it in the reader's own time zone instead."""
    return _utc_s(ms // 1000)


@lru_cache(maxsize=256)  # many instances are lost in the same second
def _utc_s(s: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(s))
    except (OverflowError, OSError, ValueError):  # a time beyond what the platform's calendar has
        return f"{s} s after 1970"


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "time": utc, "count": count, "integer": str, "rate": rate, "share": share, "text": str,
}  # fmt: skip
"""By the value of a ArgKind; durations depend on the language, reasons on the catalogue."""
