# SPDX-License-Identifier: MIT
"""Instances that are down are counted, coloured and first wherever people look."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS
from tests.monitor.serving import until


def count(page, words):
    """In the page's head."""
    return page.get_by_role("group", name=re.compile("by state")).get_by_role("link", name=re.compile(words))


def services(page):
    return page.locator(".services > .service")


def test_held_losses_count_as_lost(serve, visit, fleet_of):
    monitor = serve(hold_window="20s", hold_longest="600s", hold_leak="0.9")  # a busy machine loses beats
    fleet = fleet_of(monitor)
    fleet.join_many("shop", 12, timeoutMs=2 * SHORT_MS)
    fleet.join_many("apart", 3)
    for n in range(12):
        fleet.stop("shop", f"shop-{n:04}")
    until(lambda: monitor.json("/api/v1/hold")["held"] == 12, "all of them are held")
    page = visit(monitor).page
    expect(count(page, r"12\s*lost \(12 held\)")).to_be_visible()
    expect(count(page, "late")).to_have_count(0)
    expect(page).to_have_title(re.compile(r"^\(12\) "))
    expect(page.locator(".tile[data-state=LOST]")).to_contain_text("12")
    expect(page.locator(".grid-label", has_text="shop").locator("[data-state=LOST]").first).to_be_attached()

    count(page, "lost").click()
    expect(page.locator("tbody tr[data-id]")).to_have_count(12)
    late = page.get_by_role("group", name="State").get_by_role("button", name=re.compile("^late"))
    expect(late).to_contain_text("0")
    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("^lost")).click()
    late.click()
    expect(page.get_by_text("No instances match")).to_be_visible()

    page.get_by_role("link", name="Services", exact=True).click()
    expect(services(page).first).to_have_attribute("data-state", "LOST")
    expect(services(page).first).to_contain_text("shop")


def test_a_job_that_fails_is_seen_everywhere_with_its_runs(serve, visit):
    monitor = serve(hold_enable="false")
    monitor.beat("apart", "well", timeoutMs=600_000)
    assert monitor.post("/ping/backup/ok").status == 200
    page = visit(monitor).page
    expect(page).to_have_title(re.compile("^Overview"))
    assert monitor.post("/ping/backup/start?rid=7f3a&timeout=1d").status == 200
    assert monitor.post("/ping/backup/3?rid=7f3a", b"disk full").status == 200
    expect(count(page, r"1\s*failed")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    expect(page.locator(".tile[data-state=FAILED]")).to_contain_text("1")
    expect(page.locator(".grid-label", has_text="backup").locator("b[data-state=FAILED]")).to_have_text("1")
    expect(page.locator(".legend")).to_contain_text("failed")

    page.get_by_role("link", name="Services", exact=True).click()
    expect(services(page).first).to_have_attribute("data-state", "FAILED")
    expect(services(page).first).to_contain_text("backup")
    count(page, "failed").click()
    expect(page.locator("tbody tr[data-id]")).to_have_count(1)
    page.get_by_role("link", name="backup", exact=True).click()

    main = page.get_by_role("main")
    expect(main).to_contain_text("failed with exit status 3")
    rows = page.get_by_role("region", name="Runs").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("failed")
    for told in ("3", "7f3a", "disk full"):
        expect(rows.nth(1)).to_contain_text(told)
    assert monitor.post("/ping/backup/start?timeout=1d").status == 200
    expect(rows.nth(1)).to_contain_text("running")
    expect(rows.nth(1)).to_contain_text("so far")
    assert monitor.post("/ping/backup/ok", b"612 files").status == 200
    expect(rows.nth(1)).to_contain_text("612 files")
    expect(page).to_have_title(re.compile("^Instance"))
    expect(count(page, "failed")).to_have_count(0)


def test_a_page_says_where_the_timeout_comes_from(serve, visit):
    monitor = serve()
    assert monitor.post("/ping/backup?every=1h&grace=30min").status == 200
    monitor.beat("shop", "one", timeoutMs=90_000)
    page = visit(monitor, f"/instances/{monitor.find('backup')['id']}").page
    facts = page.get_by_role("region", name="Metadata")
    expect(facts).to_contain_text("1 h 30 min (1 h + 30 min grace), asked for by its heartbeats")
    expect(facts).to_contain_text("yes: it stays lost until it sends a heartbeat")
    other = visit(monitor, f"/instances/{monitor.find('one')['id']}").page.get_by_role("region", name="Metadata")
    expect(other).to_contain_text("1 min 30 s, asked for by its heartbeats")
    expect(other).to_contain_text("no: it is removed some time after its loss")


def acknowledge(page, who, why):
    """In the dialog that is open."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill(who)
    dialog.get_by_label("Reason").fill(why)
    dialog.get_by_role("button", name="Acknowledge").click()


def test_a_loss_is_acknowledged_and_that_is_withdrawn(serve, visit):
    monitor = serve(hold_enable="false")
    monitor.beat("shop", "one", timeoutMs=500)
    until(lambda: monitor.find("one")["state"] == "LOST")
    page = visit(monitor, f"/instances/{monitor.find('one')['id']}").page
    page.get_by_role("button", name="Acknowledge").click()
    acknowledge(page, "ann", "the disk is ordered")
    main = page.get_by_role("main")
    expect(main).to_contain_text("Acknowledged by ann")
    expect(main).to_contain_text("the disk is ordered (nobody is notified again until it recovers)")
    assert monitor.find("one")["ack"]["by"] == "ann"

    other = visit(monitor, "/instances").page
    expect(other.get_by_role("row").filter(has_text="one")).to_contain_text("acknowledged by ann: the disk is ordered")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
    expect(main).not_to_contain_text("Acknowledged by ann")
    expect(other.get_by_role("row").filter(has_text="one")).not_to_contain_text("acknowledged")
    assert monitor.find("one")["ack"] is None


def test_all_that_match_are_acknowledged_paused_resumed_and_removed(serve, visit):
    monitor = serve(hold_enable="false", lease_timeout="60s")
    for n in range(5):
        monitor.beat("shop", f"lost-{n}", timeoutMs=500)
    for n in range(3):
        monitor.beat("apart", f"well-{n}")
    until(lambda: monitor.json("/api/v1/services")["all"]["states"].get("LOST") == 5)
    page = visit(monitor, "/instances?state=LOST").page
    actions = page.get_by_text("Actions on 5 instances")

    def choose(action):
        actions.click()
        page.locator(".bulk").get_by_role("button", name=action).click()
        expect(page.get_by_role("dialog")).to_contain_text("all 5 instances that match the filters")

    def states(service):
        found = monitor.json("/api/v1/instances", service=service)["instances"]
        return sorted(one["state"] for one in found)

    choose("Acknowledge")
    acknowledge(page, "bob", "a drill")
    expect(page.get_by_text("5 instances were acknowledged.")).to_be_visible()
    assert [one["ack"]["by"] for one in monitor.json("/api/v1/instances", service="shop")["instances"]] == ["bob"] * 5
    page.get_by_role("searchbox").fill("shop")
    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("^lost")).click()
    expect(page.locator("tbody tr[data-id]")).to_have_count(5)
    choose("Pause")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("5 instances were paused.")).to_be_visible()
    assert states("shop") == ["PAUSED"] * 5
    choose("Resume")
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_text("5 instances were resumed.")).to_be_visible()
    assert states("shop") == ["LOST"] * 5
    choose("Remove")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert states("shop") == ["LOST"] * 5
    choose("Remove")
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("5 instances were removed.")).to_be_visible()
    assert states("shop") == [] and len(states("apart")) == 3
