# SPDX-License-Identifier: MIT
"""A monitor that goes away and comes back: the page says so, and goes on without being loaded anew."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.monitor.serving import Serving


def test_a_lost_connection_is_shown_and_resumed(serve, visit, fleet_of, tmp_path, kept_port):
    first = serve(data=tmp_path / "data", http_port=kept_port)
    fleet = fleet_of(first)
    fleet.join("shop", "web-1")
    page = visit(first, "/instances", failing=True).page
    expect(page.get_by_role("row").filter(has_text="web-1")).to_contain_text("up")
    expect(page.locator("[data-connection=live]")).to_be_visible()
    page.evaluate("window.__same = true")
    fleet.end()
    first.stop()
    expect(page.get_by_role("alert").filter(has_text=re.compile("connection", re.I))).to_be_visible()
    expect(page.locator("[data-connection=lost]")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="web-1")).to_be_visible()  # what was known stays in sight

    second: Serving = serve(data=tmp_path / "data", http_port=kept_port)
    fleet = fleet_of(second)
    fleet.join("shop", "web-2")
    expect(page.locator("[data-connection=live]")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="web-2")).to_contain_text("up")
    assert page.evaluate("window.__same")
