# SPDX-License-Identifier: MIT
"""The life of instances, as the panel shows it without a reload."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS
from tests.monitor.serving import until


@pytest.fixture
def monitor(serve):
    return serve(hold_enable="false")


@pytest.fixture
def fleet(monitor, fleet_of):
    return fleet_of(monitor)


def count(page, words):
    """In the page's head."""
    return page.get_by_role("group", name=re.compile("by state")).get_by_role("link", name=re.compile(words))


def row(page, instance_id):
    return page.get_by_role("row").filter(has_text=instance_id)


def test_an_instance_appears_is_lost_and_recovers(monitor, visit, fleet):
    page = visit(monitor, "/instances").page
    expect(page.get_by_text("No instances yet")).to_be_visible()
    expect(page.get_by_text("heartfelt beat demo")).to_be_visible()

    fleet.join("shop", "web-1", timeoutMs=SHORT_MS)
    fleet.join("shop", "web-2")
    expect(row(page, "web-1")).to_contain_text("up")
    expect(count(page, r"2\s*up")).to_be_visible()
    assert page.title().startswith("Instances")

    fleet.stop("shop", "web-1")
    expect(row(page, "web-1")).to_contain_text("lost")
    expect(row(page, "web-2")).to_contain_text("up")
    expect(count(page, r"1\s*lost")).to_be_visible()
    expect(page).to_have_title(re.compile(r"\(1\)|^1 "))

    fleet.join("shop", "web-1")
    expect(row(page, "web-1")).to_contain_text("up")
    expect(count(page, r"0\s*lost")).to_be_visible()
    expect(page).not_to_have_title(re.compile(r"\(1\)|^1 "))


def test_the_icon_counts_the_lost(monitor, visit, fleet):
    page = visit(monitor).page
    icon = page.locator("link[rel=icon]")
    calm = icon.get_attribute("href")
    fleet.join("shop", "web-1", timeoutMs=SHORT_MS)
    fleet.stop("shop", "web-1")
    expect(count(page, r"1\s*lost")).to_be_visible()
    expect(icon).not_to_have_attribute("href", calm)


def test_the_overview_counts_and_opens(monitor, visit, fleet):
    fleet.join_many("shop", 30)
    fleet.join_many("billing", 10)
    page = visit(monitor).page
    main = page.get_by_role("main")
    expect(main.get_by_role("link", name=re.compile(r"applications\s*2"))).to_be_visible()
    expect(main.get_by_role("link", name=re.compile(r"services\s*2"))).to_be_visible()
    expect(main.get_by_role("link", name=re.compile(r"instances\s*40"))).to_be_visible()

    grid = main.get_by_role("application")
    expect(grid).to_have_attribute("aria-label", re.compile("40 instances"))
    grid.focus()
    page.keyboard.press("ArrowRight")
    expect(main.get_by_role("status").filter(has_text=re.compile(r"billing, 1 of 10: up"))).to_be_attached()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/instances/\d+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"billing-\d{4}"))


def test_the_grid_is_opened_by_a_click(monitor, visit, fleet):
    fleet.join("shop", "web-1")
    page = visit(monitor).page
    canvas = page.locator("canvas").first
    expect(canvas).to_be_visible()
    box = canvas.bounding_box()
    for y in range(int(box["y"]) + 4, int(box["y"] + box["height"]), 4):  # the first cell lies below its label
        page.mouse.move(box["x"] + 8, y)
        page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        if page.locator("canvas.pointed").count():
            break
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"/instances/\d+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("web-1")


def test_the_table_is_filtered_searched_and_sorted(monitor, visit, fleet):
    fleet.join_many("shop", 40)
    fleet.join("billing", "pay-1", hostName="vault.example", version="9.9.9", timeoutMs=SHORT_MS)
    fleet.stop("billing", "pay-1")
    page = visit(monitor, "/instances").page
    expect(row(page, "pay-1")).to_contain_text("lost")

    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("^lost")).click()
    expect(page.locator("tbody tr[data-id]")).to_have_count(1)
    assert "state=LOST" in page.url
    page.reload()  # the address is the view
    expect(page.locator("tbody tr[data-id]")).to_have_count(1)
    expect(row(page, "pay-1")).to_be_visible()
    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("^lost")).click()
    expect(page.locator("tbody tr[data-id]").nth(5)).to_be_visible()

    page.get_by_role("searchbox").fill("VAULT")
    expect(page.locator("tbody tr[data-id]")).to_have_count(1)
    assert "text=VAULT" in page.url
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("No instances match")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.locator("tbody tr[data-id]").nth(5)).to_be_visible()

    first = page.locator("tbody tr[data-id]").first
    expect(first).to_contain_text("pay-1")  # the worst first
    page.get_by_role("columnheader", name="Service").get_by_role("button").click()
    expect(first).to_contain_text("pay-1")
    assert "sort=service" in page.url
    page.get_by_role("columnheader", name="Service").get_by_role("button").click()
    expect(first).to_contain_text("shop-")
    assert "sort=-service" in page.url
    page.get_by_role("columnheader", name="Service").get_by_role("button").click()
    expect(first).to_contain_text("pay-1")


def test_a_long_table_is_virtual_and_keeps_the_place(monitor, visit, fleet):
    fleet.join_many("shop", 1000)
    page = visit(monitor, "/instances").page
    rows = page.locator("tbody tr[data-id]")
    expect(rows.nth(5)).to_be_visible()
    assert rows.count() < 100
    table = page.get_by_role("table")
    expect(table).to_have_attribute("aria-rowcount", "1001")

    box = page.locator(".vt")
    middle = page.get_by_role("row").filter(has_text="shop-0500")

    def scrolled():  # again, if rows changed places meanwhile: the table keeps those that it shows
        box.evaluate("box => box.scrollTop = 500 * box.querySelector('tbody tr[data-id]').offsetHeight")
        return middle.count()

    until(scrolled, "the row in the middle")
    expect(middle).to_be_visible()
    before = middle.bounding_box()["y"]
    fleet.join_many("early", 20)  # stands before it in the order
    expect(table).to_have_attribute("aria-rowcount", "1021")
    expect(middle).to_be_visible()
    assert abs(middle.bounding_box()["y"] - before) < 2
    assert rows.count() < 100


def test_an_instance_is_opened_paused_resumed_and_removed(monitor, visit, fleet):
    fleet.join("shop", "web-1")
    page = visit(monitor, "/instances").page
    row(page, "web-1").get_by_role("link", name="web-1").click()
    expect(page.get_by_role("heading", name="web-1", level=1)).to_be_visible()
    main = page.get_by_role("main")
    for told in (
        "host-of-web-1.example",
        "10.0.0.7",
        "shop-app",
        "flow-control",
        "1.2.0",
        "local",
        "other-agent",
        "0.9",
    ):
        expect(main).to_contain_text(told)

    page.get_by_role("button", name=re.compile("^Pause")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(main).to_contain_text("paused")
    assert monitor.find("web-1")["state"] == "PAUSED"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name=re.compile("^Pause"))).to_be_visible()
    until(lambda: monitor.find("web-1")["state"] == "UP")

    fleet.stop("shop", "web-1")
    page.get_by_role("button", name=re.compile("^Remove")).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page).to_have_url(re.compile(r"/instances$"))
    expect(page.get_by_text("No instances yet")).to_be_visible()
    assert monitor.find("web-1") is None


def test_the_hold_banner_tells_why_and_releases(serve, visit, fleet_of):
    monitor = serve(hold_window="20s", hold_leak="0.9")  # a busy machine loses beats
    fleet = fleet_of(monitor)
    fleet.join_many("shop", 12, timeoutMs=3 * SHORT_MS)
    page = visit(monitor).page
    expect(count(page, r"12\s*up")).to_be_visible()
    for n in range(12):
        fleet.stop("shop", f"shop-{n:04}")
    main = page.get_by_role("main")
    expect(main).to_contain_text("are held")
    main.get_by_role("button", name="Release").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    expect(count(page, r"12\s*lost")).to_be_visible()
    expect(main).not_to_contain_text("are held")
