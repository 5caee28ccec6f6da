# SPDX-License-Identifier: MIT
"""The view of webhooks, against a target on this machine."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS
from tests.browser.target import Target
from tests.monitor.serving import until


@pytest.fixture
def target():
    with Target() as one:
        yield one


@pytest.fixture
def monitor(serve):
    return serve(hold_enable="false")


def make(page, target, name="ops"):
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Address", exact=True).fill(target.url)
    dialog.get_by_label("Allow addresses in private networks").check()
    dialog.get_by_label("Signing secret").fill("a good secret")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    return row_of(page, name)


def row_of(page, name):
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_a_webhook_is_made_tested_and_called(monitor, visit, fleet_of, target):
    page = visit(monitor, "/webhooks").page
    expect(page.get_by_text("No webhooks yet")).to_be_visible()
    row = make(page, target)
    expect(row).to_contain_text("Not called yet")
    expect(row.get_by_text("failed, lost, stuck, up", exact=True)).to_be_visible()
    expect(row).not_to_contain_text("very-secret-path")
    assert "a good secret" not in page.content()

    row.get_by_role("button", name="Test").click()
    expect(row).to_contain_text("The target accepted the test message: status 200")
    expect(row.locator("pre")).to_have_text("thanks")
    headers, body = target.received.pop()
    assert body["event"] == "test" and headers["x-heartfelt-signature"].startswith("sha256=")

    fleet = fleet_of(monitor)
    fleet.join("shop", "one", timeoutMs=SHORT_MS)
    fleet.stop("shop", "one")
    delivery = page.get_by_role("row").filter(has_text="shop / one: lost")
    expect(delivery).to_contain_text("Delivered")
    expect(delivery).to_contain_text("ops")
    expect(row).to_contain_text("Working")
    assert [body["new"] for _, body in target.received] == ["LOST"]


def test_a_refused_test_tells_why(monitor, visit, target):
    target.status, target.answer = 500, b"<b>database</b> on fire"
    page = visit(monitor, "/webhooks").page
    row = make(page, target)
    row.get_by_role("button", name="Test").click()
    expect(row).to_contain_text("did not accept the test message")
    expect(row).to_contain_text("500")
    expect(row.locator("pre")).to_have_text("<b>database</b> on fire")
    row.get_by_role("button", name="Close").click()
    expect(row.locator("pre")).to_have_count(0)


def test_retries_are_shown(monitor, visit, fleet_of, target):
    target.status = 503
    page = visit(monitor, "/webhooks").page
    make(page, target)
    fleet = fleet_of(monitor)
    fleet.join("shop", "one", timeoutMs=SHORT_MS)
    fleet.stop("shop", "one")
    delivery = page.get_by_role("row").filter(has_text="shop / one: lost")
    expect(delivery).to_contain_text("Retrying")
    expect(delivery).to_contain_text("503")
    target.status = 200
    expect(delivery).to_contain_text("Delivered")
    assert int(delivery.locator(".d-attempts").inner_text()) >= 2


def test_switch_edit_and_delete(monitor, visit, target):
    page = visit(monitor, "/webhooks").page
    row = make(page, target)
    switch = row.get_by_role("switch")
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(row).to_contain_text("Switched off")

    row.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Address", exact=True)).to_have_value(re.compile(r"/\*\*\*$"))
    dialog.get_by_label("Name").fill("night watch")
    dialog.get_by_label("lost", exact=True).uncheck()
    dialog.get_by_label("Services").fill("shop-*\nbilling")
    dialog.get_by_role("button", name="Save").click()
    row = row_of(page, "night watch")
    expect(row).to_contain_text("shop-*, billing")
    (hook,) = monitor.json("/api/v1/webhooks")["webhooks"]
    assert hook["filter"]["states"] == ["FAILED", "STUCK", "UP"] and hook["filter"]["services"] == ["shop-*", "billing"]
    assert hook["enabled"] is False and hook["secret"] == "***"

    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No webhooks yet")).to_be_visible()
    assert until(lambda: not monitor.json("/api/v1/webhooks")["webhooks"])


@pytest.mark.parametrize(("language", "services", "address"), [("en", "Services", "Address"), ("zh", "服务", "地址")])
def test_the_field_that_the_monitor_names_is_marked_under_its_label(monitor, visit, language, services, address):
    page = visit(monitor, "/webhooks", failing=True, locale={"en": "en-US", "zh": "zh-CN"}[language]).page
    page.locator("main button.primary").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("#hook-url").fill("https://chat.example/hook")
    dialog.locator("#hook-services").fill("x" * 201)
    dialog.locator("button.primary").click()
    expect(dialog.locator("#hook-services-wrong")).to_contain_text(services)
    expect(dialog.locator("#hook-services-wrong")).to_contain_text("at most 100 services")
    expect(dialog.locator("#hook-services")).to_be_focused()
    dialog.locator("#hook-services").fill("shop")
    dialog.locator("#hook-url").fill("ftp://chat.example/")
    dialog.locator("button.primary").click()
    expect(dialog.locator("#hook-url-wrong")).to_contain_text(address)
    expect(dialog.locator("[aria-invalid=true]")).to_have_count(1)
    expect(dialog.locator("#hook-services-wrong")).to_be_empty()


def test_what_is_refused_stands_beside_its_field(monitor, visit):
    page = visit(monitor, "/webhooks", failing=True).page
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog")
    address = dialog.get_by_label("Address", exact=True)
    address.fill("http://127.0.0.1:9/")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("#hook-url-wrong")).to_contain_text("allow_private")
    expect(address).to_be_focused()
    expect(address).to_have_attribute("aria-invalid", "true")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="New webhook")).to_be_focused()
