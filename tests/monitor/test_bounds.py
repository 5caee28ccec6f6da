# SPDX-License-Identifier: MIT
"""docs/bounds.md: each file, setting, constant and metric that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heartfelt.monitor.config.settings import SETTINGS
from heartfelt.monitor.ingest import Intake
from heartfelt.monitor.ingest.limits import MOST_CLIENTS
from heartfelt.monitor.model import Limits
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.web.api.sessions import MOST_SESSIONS, Sessions
from tests.monitor.web.metric_table import declared, exposed

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/heartfelt/monitor"


def rows():
    found = []
    for line in (ROOT / "docs/bounds.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "What":
            assert len(cells) == 5, line
            found.append(cells)
    return found


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


METRICS = set(map(exposed, declared().values()))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_a_row_names_exists(row):
    _, where, bound, beyond, counters = row
    (file,) = quoted(where)
    text = (SOURCE / file).read_text("utf-8")
    assert quoted(counters), "a bound without a counter"
    for name in quoted(counters):
        assert name in METRICS
    for name in quoted(bound) + quoted(beyond):
        if name.endswith(".py"):
            assert (SOURCE / name).is_file()
        elif "." in name:
            assert name in SETTINGS.by_name
        else:
            assert re.search(rf"\b{name}\b", text), f"{name} is not in {file}"


def test_sessions_that_make_room_for_others_are_counted():
    sessions = Sessions(60.0, lambda: 1000)
    names = [sessions.begin(EventFilter(), 1) for _ in range(MOST_SESSIONS + 3)]
    assert sessions.evicted == 3
    assert sessions.find(names[3]).pages == 1
    assert sessions.find(names[2]) is None


def test_clients_that_make_room_for_others_are_counted(world):
    intake = Intake(world.registry, Limits())
    for n in range(MOST_CLIENTS + 5):
        intake.rates.owe(f"10.0.{n >> 8}.{n & 255}", 1)
    assert (intake.stats()["clients"], intake.stats()["clients_forgotten"]) == (MOST_CLIENTS, 5)


def test_each_setting_of_a_limit_is_in_the_table():
    named = {name for row in rows() for cell in row[2:4] for name in quoted(cell)}
    for setting in SETTINGS.by_name:
        if setting.startswith(("limits.", "http.viewer", "retention.")):
            assert setting in named, setting
