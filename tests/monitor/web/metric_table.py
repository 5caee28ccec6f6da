# SPDX-License-Identifier: MIT
"""Lists all metrics that the monitor declares. `python -m tests.monitor.web.metric_table` writes the list of
docs/metrics.md anew."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import heartfelt.monitor
from heartfelt.monitor.metric import Figure, Metric, MetricKind

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
BEGIN, END = "<!-- The list begins. -->\n", "<!-- The list ends. -->\n"


def declared():
    """All metrics, by name."""
    found = {}
    for module in pkgutil.walk_packages(heartfelt.monitor.__path__, "heartfelt.monitor."):
        for value in vars(importlib.import_module(module.name)).values():
            values = value.values() if isinstance(value, Mapping) else value if type(value) is tuple else [value]
            for one in values:
                metric = one.metric if isinstance(one, Figure) else one
                if isinstance(metric, Metric):
                    assert found.setdefault(metric.name, metric) == metric, f"{metric.name} is declared twice"
    return found


def exposed(metric):
    """The name as a scraper sees it; a histogram's series begin with it."""
    return f"{metric.name}_total" if metric.kind is MetricKind.COUNTER else metric.name


def table():
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in sorted(declared().values(), key=exposed):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{exposed(metric)}` | {metric.kind.value} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def in_page(text):
    return text.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], "utf-8")
