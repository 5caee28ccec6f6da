# SPDX-License-Identifier: MIT
"""Declarations of metrics. Each part of the monitor declares what it counts; `web/metrics.py` renders all of them.

Rules, which a declaration that breaks one raises ValueError for:

- A name begins with `heartfelt_`. Counters are declared without `_total`, which the exposition appends.
- Durations are in seconds, sizes in bytes, and the name ends with the unit. A sum of durations is a counter.
- The help is a phrase that begins with a capital letter or a digit and ends without a period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

__all__ = [
    "Figure",
    "Figures",
    "Metric",
    "MetricKind",
    "Reading",
    "clean_label",
    "counter",
    "gauge",
    "histogram",
    "read",
]

LABEL_CHARS = 128
"""Length of a label's value that comes from outside; the rest is cut."""
_NAME = re.compile(r"heartfelt(_[a-z][a-z0-9]*)+")
_LABEL = re.compile(r"[a-z][a-z_]*")
_HELP = re.compile(r"[A-Z0-9].*[^.\s]")
_UNITS = ("", "seconds", "bytes")
_ABBREVIATED = frozenset(("s", "ms", "us", "ns", "sec", "secs", "min", "minutes", "hours", "kb", "mb", "kib", "mib"))
_RESERVED = ("total", "count", "sum", "bucket", "info", "created", "counter", "gauge", "histogram")


class MetricKind(str, Enum):
    """COUNTER: grows as long as the process lives. GAUGE: a level, which may fall. HISTOGRAM: counts in buckets."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric, without its values. `labels` are the names of its labels."""

    name: str
    kind: MetricKind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        parts = self.name.split("_")
        for is_wrong, text in (
            (not _NAME.fullmatch(self.name), "a name is heartfelt_ and words of a-z and 0-9, with _ between them"),
            (parts[-1] in _RESERVED, f"a name must not end with _{parts[-1]}: the exposition appends that"),
            (not _ABBREVIATED.isdisjoint(parts), "a name has whole units, such as seconds, not abbreviations"),
            (self.unit not in _UNITS, f"the unit must be one of {', '.join(filter(None, _UNITS))}, or empty"),
            (bool(self.unit) and parts[-1] != self.unit, f"the name must end with its unit, _{self.unit}"),
            (not self.unit and parts[-1] in _UNITS, f"the unit must be {parts[-1]!r}, which the name ends with"),
            (not _HELP.fullmatch(self.help), "the help is a phrase: capital letter or digit, no period"),
            (not all(map(_LABEL.fullmatch, self.labels)), "labels are words of a-z, with _ between them"),
            (
                bool(self.buckets) is not (self.kind is MetricKind.HISTOGRAM),
                "a histogram has buckets, others have none",
            ),
        ):
            if is_wrong:
                raise ValueError(f"metric {self.name!r} ({self.help!r}, {self.unit!r}, {self.labels}): {text}")

    def of(self, *values: str) -> Figure:
        """A figure that is this metric's sample with these values of its labels."""
        if len(values) != len(self.labels):
            raise ValueError(f"metric {self.name!r} has the labels {self.labels}; got the values {values}")
        return Figure(self, values)

    def from_ms(self) -> Figure:
        """A figure that is counted in milliseconds, for a metric in seconds."""
        return Figure(self, (), 0.001)

    def reading(self, value: float) -> Reading:
        """The current value of a metric without labels."""
        return self, {(): value}


def counter(name: str, help: str, *, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.COUNTER, help, unit, labels)


def gauge(name: str, help: str, *, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.GAUGE, help, unit, labels)


def histogram(name: str, help: str, *, unit: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, help, unit, (), buckets)


class Figure(NamedTuple):
    """A figure of a part's `stats()` as a sample: of which metric, with which labels, multiplied by `scale`."""

    metric: Metric
    labels: tuple[str, ...] = ()
    scale: float = 1.0


Figures = Mapping[str, "Metric | Figure | None"]
"""Name in `stats()` -> its metric. None: it is not exposed, since another metric says the same."""
Reading = tuple[Metric, Mapping[tuple[str, ...], float]]
"""A metric and its samples: values of the labels -> value."""


def read(figures: Figures, stats: Mapping[str, Any]) -> Iterator[Reading]:
    """Yields the metrics of a part. A counter that `stats` does not have yet is 0; a gauge, or a value of None, is left
    out."""
    samples: dict[Metric, dict[tuple[str, ...], float]] = {}
    for name, declared in figures.items():
        if declared is None:
            continue
        metric, labels, scale = Figure(declared) if isinstance(declared, Metric) else declared
        value = stats.get(name, 0 if metric.kind is MetricKind.COUNTER else None)
        if value is not None:
            samples.setdefault(metric, {})[labels] = value * scale if scale != 1.0 else value
    yield from samples.items()


def clean_label(text: str) -> str:
    """A label's value made of a peer's text: at most LABEL_CHARS long, and valid UTF-8. The exposition escapes it."""
    if len(text) > LABEL_CHARS:
        text = text[: LABEL_CHARS - 3] + "..."
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
