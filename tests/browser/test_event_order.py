# SPDX-License-Identifier: MIT
"""The list of events stays in the order of their times while late ones come."""

from __future__ import annotations

import socket
import time

import pytest
from playwright.sync_api import expect

from tests.monitor.serving import PATIENCE_S
from tests.sermant_frames import beat, event, events, frame


@pytest.fixture
def monitor(serve):
    return serve()


@pytest.fixture
def now_ms():
    return time.time_ns() // 1_000_000


def send(monitor, now_ms, *ages):
    """Events of one agent, so many seconds old."""
    some = [event(now_ms - 1000 * age, f"AGE-{age}") for age in ages]
    with socket.create_connection(monitor.ready["tcp"], PATIENCE_S) as connection:
        connection.sendall(frame(beat("shop", "i", now_ms), events("i", *some)))


def names(page):
    return page.locator("li[data-level] .event-name")


def test_a_late_event_stands_where_it_belongs(monitor, visit, now_ms):
    send(monitor, now_ms, 10, 30)
    page = visit(monitor, "/events?type=OPERATION").page
    expect(names(page)).to_have_text(["AGE-10", "AGE-30"])
    send(monitor, now_ms, 20, 40, 5)
    expect(names(page)).to_have_text([f"AGE-{age}" for age in (5, 10, 20, 30, 40)])


def test_older_pages_skip_and_repeat_nothing(monitor, visit, now_ms):
    ages = [10 * n for n in range(1, 251)]
    send(monitor, now_ms, *ages)
    page = visit(monitor, "/events?type=OPERATION&follow=false").page
    expect(names(page)).to_have_text([f"AGE-{age}" for age in ages[:100]])
    send(monitor, now_ms, 55, 1505)
    expect(page.get_by_role("button", name="newer events")).to_be_visible()
    older = page.get_by_role("button", name="Older")
    older.click()
    expected = [*ages[:150], 1505, *ages[150:]]
    expect(names(page)).to_have_text([f"AGE-{age}" for age in expected[:200]])
    older.click()
    expect(names(page)).to_have_text([f"AGE-{age}" for age in expected])
    page.get_by_role("button", name="newer events").click()
    expected = sorted([*ages, 55, 1505])
    expect(names(page)).to_have_text([f"AGE-{age}" for age in expected[:100]])
