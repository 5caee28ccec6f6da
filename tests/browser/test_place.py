# SPDX-License-Identifier: MIT
"""Tables that are live do not take the reader's place away."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

ROW = """(id) => {
  const box = document.querySelector(".vt").getBoundingClientRect();
  const head = document.querySelector(".vt thead").getBoundingClientRect();
  for (const row of document.querySelectorAll(".vt tr[data-id]")) {
    const { top } = row.getBoundingClientRect();
    if (id ? row.dataset.id === id : top >= head.bottom - 1) return [row.dataset.id, Math.round(top - box.top)];
  }
  return null;
}"""
"""Position of the row with this id in the table's box; without an id: of the first visible row."""


@pytest.fixture
def monitor(serve):
    one = serve()
    one.beats(300, service="shop", timeoutMs=600_000)
    one.beats(300, service="shop", timeoutMs=600_000)
    return one


def join_before(monitor):
    """Instances that stand above all others in the usual order."""
    monitor.beats(9, service="aaa", timeoutMs=600_000)


def shown(page, count):
    expect(page.get_by_text(f"{count} of {count},")).to_be_visible()


def test_the_first_row_in_sight_stays_where_it_is(monitor, visit):
    page = visit(monitor, "/instances").page
    shown(page, 300)
    page.evaluate("document.querySelector('.vt').scrollTop = 100 * 32")
    expect(page.locator(".vt tr[aria-rowindex='105'] .row-link")).to_be_visible()
    first = page.evaluate(ROW, None)
    join_before(monitor)
    shown(page, 309)
    assert page.evaluate(ROW, first[0]) == first
    assert page.evaluate("document.querySelector('.vt').scrollTop") == 109 * 32


def test_the_row_that_is_focused_stays_where_it_is_and_keeps_the_focus(monitor, visit):
    page = visit(monitor, "/instances").page
    shown(page, 300)
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.locator(".vt tr[aria-rowindex='4'] .row-link")).to_be_focused()
    focused = page.evaluate("document.activeElement.closest('tr').dataset.id")
    place = page.evaluate(ROW, focused)
    join_before(monitor)
    shown(page, 309)
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.id") == focused
    assert page.evaluate(ROW, focused) == place


def test_at_the_top_the_new_ones_are_seen(monitor, visit):
    page = visit(monitor, "/instances").page
    shown(page, 300)
    join_before(monitor)
    shown(page, 309)
    expect(page.locator(".vt tbody tr[data-id]").first).to_contain_text("aaa")


def test_an_event_that_is_unfolded_stays_unfolded_as_new_ones_come(monitor, visit):
    page = visit(monitor, "/events").page
    event = page.locator(".event").first
    event.locator("summary").click()
    # Its words, unfolded; the list goes on above it.
    opened = page.locator(".event[open]")
    expect(opened).to_have_count(1)
    words = opened.inner_text().splitlines()[-1]
    join_before(monitor)
    expect(page.locator(".event-of", has_text="aaa").first).to_be_visible()
    expect(opened).to_have_count(1)
    assert opened.inner_text().splitlines()[-1] == words


def test_while_the_reader_is_further_down_new_events_are_only_offered(monitor, visit):
    page = visit(monitor, "/events").page
    expect(page.locator(".event").nth(60)).to_be_visible()
    page.locator(".event").nth(60).scroll_into_view_if_needed()
    join_before(monitor)
    newer = page.get_by_role("button", name="Show newer events")
    expect(newer).to_be_visible()
    expect(page.locator(".event-of", has_text="aaa")).to_have_count(0)
    newer.click()
    expect(page.locator(".event-of", has_text="aaa").first).to_be_visible()
    expect(newer).to_have_count(0)
