# SPDX-License-Identifier: MIT
"""Everything by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def monitor(serve_module):
    one = serve_module()
    one.beats(30, service="shop", timeoutMs=600_000)
    one.beats(30, service="shop", timeoutMs=600_000)
    return one


def test_search_rows_and_help(monitor, visit):
    page = visit(monitor).page
    expect(page.get_by_role("application")).to_be_visible()
    page.keyboard.press("/")
    expect(page).to_have_url(re.compile("/instances"))
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("shop-1")
    expect(page).to_have_url(re.compile("text=shop-1"))
    expect(page.locator("tbody tr[data-id]")).to_have_count(11)  # shop-1, and shop-10 to shop-19
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("shop-1")  # which a browser would clear

    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("tbody tr[data-id]").nth(1)
    expect(second.locator(".row-link")).to_be_focused()
    page.keyboard.press("k")
    first = page.locator("tbody tr[data-id]").nth(0)
    expect(first.locator(".row-link")).to_be_focused()
    name = first.locator(".row-link").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)

    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Go to: Webhooks")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page).to_have_url(re.compile("/webhooks$"))


def test_letters_in_a_field_are_no_commands(monitor, visit):
    page = visit(monitor, "/settings").page
    page.get_by_role("searchbox").click()
    page.keyboard.type("j?/gw")
    expect(page.get_by_role("searchbox")).to_have_value("j?/gw")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "/settings" in page.url


def test_the_first_tab_skips_to_the_content(monitor, visit):
    page = visit(monitor, "/instances").page
    expect(page.locator("tbody tr[data-id]").first).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/instances", "/services", "/events", "/webhooks", "/tokens", "/settings"])
def test_what_has_the_focus_is_seen(monitor, visit, path):
    """Each stop of the Tab key: something that is on the screen, with an outline."""
    page = visit(monitor, path).page
    expect(page.locator("main h1")).to_be_attached()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen = page.evaluate("""() => {
            const one = document.activeElement;
            if (!one || one === document.body) return null;
            const box = one.getBoundingClientRect();
            const style = getComputedStyle(one);
            const shown = box.width > 0 && box.bottom > 0 && box.top < innerHeight
              && box.right > 0 && box.left < innerWidth;
            return { what: one.outerHTML.slice(0, 200), ok: shown && style.outlineStyle !== 'none' };
        }""")
        if seen is None:
            break
        assert seen["ok"], seen["what"]
