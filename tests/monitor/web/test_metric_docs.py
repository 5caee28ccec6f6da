# SPDX-License-Identifier: MIT
"""docs/metrics.md and the alert rules of examples/prometheus name the metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("prometheus_client")

from heartfelt.monitor.metric import MetricKind
from tests.monitor.web.metric_table import PAGE, declared, exposed, in_page, table

RULES = Path(__file__).parents[3] / "examples" / "prometheus"
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\bheartfelt_[a-z0-9_]+")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here (Debian: prometheus)")


def known_series():
    """All names that an expression may have, with the labels of each."""
    found = {"heartfelt_info": ("version",)}
    for metric in declared().values():
        if metric.kind is MetricKind.HISTOGRAM:
            found |= dict.fromkeys((f"{metric.name}_sum", f"{metric.name}_count"), metric.labels)
            found[f"{metric.name}_bucket"] = (*metric.labels, "le")
        else:
            found[exposed(metric)] = metric.labels
    return found


def promtool(*arguments):
    done = subprocess.run([PROMTOOL, *arguments], cwd=RULES, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_list_in_the_documentation_is_that_of_the_declarations():
    assert len(declared()) > 100
    missing = "write it anew: python -m tests.monitor.web.metric_table"
    assert in_page(PAGE.read_text("utf-8")) == table(), missing


def test_all_expressions_name_metrics_that_exist():
    words = set(NAME.findall(PAGE.read_text("utf-8").partition("## All metrics")[0]))
    words |= set(NAME.findall((RULES / "rules_test.yml").read_text("utf-8")))
    used = set(NAME.findall((RULES / "rules.yml").read_text("utf-8"))) - {
        "heartfelt_instances", "heartfelt_notifications", "heartfelt_monitor"}  # fmt: skip
    series = known_series()
    assert len(used) >= 10
    groups = {one for one in words if one.endswith("_")}  # heartfelt_service_*
    assert (used | words) - groups <= set(series), "no such metrics"
    assert all(any(name.startswith(one) for name in series) for one in groups), "no such metrics"


def test_alerts_group_by_labels_that_their_metrics_have():
    series = known_series()
    rules = (RULES / "rules.yml").read_text("utf-8")
    for expression in re.findall(r"expr: (?:\|\n)?(.+?)\n +(?:for|labels):", rules, re.DOTALL):
        labels = {label for name in NAME.findall(expression) for label in series.get(name, ())}
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, expression
        selected = set(re.findall(r"(\w+)=~?\"", expression)) - {"job"}
        assert selected <= labels, expression


@needs_promtool
def test_promtool_accepts_the_rules():
    assert promtool("check", "rules", "rules.yml")[0] == 0, promtool("check", "rules", "rules.yml")


@needs_promtool
def test_the_rules_fire_when_they_should():
    status, said = promtool("test", "rules", "rules_test.yml")
    assert status == 0, said
    tested = set(re.findall(r"alertname: (\w+)", (RULES / "rules_test.yml").read_text("utf-8")))
    assert tested <= set(re.findall(r"alert: (\w+)", (RULES / "rules.yml").read_text("utf-8")))
    assert len(tested) >= 6
