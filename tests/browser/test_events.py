# SPDX-License-Identifier: MIT
"""The views of events and services."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS


@pytest.fixture
def monitor(serve):
    return serve(hold_enable="false")


def ping(monitor, way, text):
    assert monitor.post(f"/ping/jobs%2Fnight/{way}", text.encode()).status == 200


def test_events_come_by_themselves_and_are_filtered(monitor, visit, fleet_of):
    page = visit(monitor, "/events").page
    expect(page.get_by_role("heading", name="Events", level=1)).to_be_visible()
    fleet = fleet_of(monitor)
    fleet.join("shop", "web-1", timeoutMs=SHORT_MS)
    fleet.stop("shop", "web-1")
    events = page.locator("li[data-level]")
    expect(events.filter(has_text="lost").first).to_contain_text("shop")
    ping(monitor, "start", "")
    ping(monitor, "fail", "Traceback:\n  disk full")
    failed = events.filter(has_text="failed").filter(has_text="disk full").filter(has_text="jobs")
    expect(failed).to_have_count(2)  # what the job says, and that its state has changed
    failed = failed.filter(has=page.locator(".event-name.mono"))
    failed.locator("summary").click()
    expect(failed.locator(".event-more")).to_contain_text("disk full")

    levels = page.get_by_role("group", name="Level")
    emergency = levels.get_by_role("button", name=re.compile("emergency"))
    expect(emergency).to_contain_text(re.compile("[1-9]"))
    emergency.click()
    expect(page).to_have_url(re.compile("level=EMERGENCY"))
    expect(events.filter(has_text="shop")).not_to_have_count(0)
    expect(page.locator("li[data-level]:not([data-level=EMERGENCY])")).to_have_count(0)
    page.reload()
    expect(emergency).to_have_attribute("aria-pressed", "true")
    expect(page.locator("li[data-level=EMERGENCY]").first).to_be_visible()
    emergency.click()

    page.get_by_role("group", name="Type").get_by_role("button", name="jobs").click()
    expect(events.filter(has_text="shop")).to_have_count(0)
    expect(events.filter(has_text="disk full")).to_have_count(1)
    page.get_by_role("searchbox").fill("no such words")
    expect(page.get_by_text("No events match")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(events.filter(has_text="shop").first).to_be_visible()


def test_services_stand_with_the_worst_first(monitor, visit, fleet_of):
    fleet = fleet_of(monitor)
    fleet.join_many("alpha", 4)
    fleet.join_many("omega", 4, timeoutMs=SHORT_MS)
    page = visit(monitor, "/services").page
    main = page.get_by_role("main")
    expect(main.get_by_role("link", name="omega").first).to_be_visible()
    for n in range(4):
        fleet.stop("omega", f"omega-{n:04}")
    expect(
        page.get_by_role("group", name=re.compile("by state")).get_by_role("link", name=re.compile(r"4\s*lost"))
    ).to_be_visible()
    page.reload()
    names = main.get_by_role("link", name=re.compile("^(alpha|omega)$"))
    expect(names.first).to_have_text("omega")
    names.first.click()
    expect(page).to_have_url(re.compile("service=omega"))
