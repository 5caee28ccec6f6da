# SPDX-License-Identifier: MIT
"""Strangers' words in every field: they are shown as text, nothing of them runs, and the page keeps its shape.

That this would be seen is tested by a panel whose one way of making elements was changed to set innerHTML.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import hostile
from tests.browser.pages import DESK, PHONE, Visit
from tests.browser.target import Target

PATHS = ("/", "/instances", "/services", "/events", "/webhooks", "/tokens", "/settings")


@pytest.fixture(scope="module")
def monitor(serve_module):
    one = serve_module(limits_meta_bytes="1 MB")
    with Target() as target:
        target.answer = hostile.IMAGE.encode()
        hostile.plant(one, target.url)
        yield one


@pytest.fixture(scope="module")
def details(monitor):
    return [f"/instances/{one['id']}" for one in monitor.json("/api/v1/instances")["instances"]]


def settle(page):
    """Until everything that the page asked for is here and drawn."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.wait_for_function(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"""
    )


def unfold(page):
    for one in page.locator("main details:not([open]) > summary, main button[aria-expanded=false]").all():
        if one.is_visible():
            one.click()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_shows_it_as_text(monitor, visit, path, size):
    one = visit(monitor, path, size=size)
    settle(one.page)
    unfold(one.page)
    settle(one.page)
    assert one.page.evaluate(hostile.FOUND) == []
    assert one.overflow() == 0
    expect(one.page.get_by_role("navigation").or_(one.page.get_by_role("button", name="Menu")).first).to_be_visible()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_an_instance_shows_it_as_text(monitor, visit, details, size):
    one = visit(monitor, details[0], size=size)
    shown = ""
    for path in details:
        one.go(path)
        expect(one.page.get_by_role("heading", level=1)).to_be_visible()
        settle(one.page)
        unfold(one.page)
        assert one.page.evaluate(hostile.FOUND) == []
        assert one.overflow() == 0, path
        shown += one.page.get_by_role("main").inner_text()
    for text in (hostile.SCRIPT, hostile.IMAGE, hostile.LINK):
        assert text in shown  # it is there, and a text


def test_a_targets_answer_is_shown_as_text(monitor, visit):
    one = visit(monitor, "/webhooks")
    row = one.page.locator(".hook").first
    row.get_by_role("button", name=re.compile("^Test")).click()
    expect(row.locator("pre")).to_have_text(hostile.IMAGE)
    assert one.page.evaluate(hostile.FOUND) == []


INNER = """
const inner = (type, props, ...children) => {
  const text = children.flat(9).filter((one) => typeof one === 'string').join('');
  if (typeof type === 'string' && text.includes('<')) {
    return h(type, { ...props, dangerouslySetInnerHTML: { __html: text } });
  }
  return h(type, props, ...children);
};
export const html = htm.bind(inner);
"""


def plant_inner_html(visit_context, *, without_policy):
    """The panel as somebody careless would have made it."""

    def change(route):
        answer = route.fetch()
        body, count = re.subn(r"export const html = .*", lambda _: INNER, answer.text())
        assert count == 1
        route.fulfill(response=answer, body=body)

    def lay_bare(route):
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "content-security-policy"}
        route.fulfill(response=answer, headers=headers)

    if without_policy:
        visit_context.route(re.compile(r"/instances(\?.*)?$"), lay_bare)
    visit_context.route("**/panel/lib/html.js", change)


def test_the_planted_inner_html_is_caught(monitor, chromium):
    """By its elements, and by the policy that kept them from running."""
    one = Visit(chromium, monitor.url, "/tokens")
    plant_inner_html(one.context, without_policy=False)
    one.go("/instances")
    one.page.wait_for_selector(".planted", state="attached")
    one.page.wait_for_function("window.__violations.length > 0")
    assert one.page.evaluate(hostile.FOUND) != []
    problems = one.end()
    assert any("content security policy" in problem for problem in problems)
    assert one.dialogs == []


def test_without_the_policy_it_would_have_run(monitor, chromium):
    one = Visit(chromium, monitor.url, "/tokens")
    plant_inner_html(one.context, without_policy=True)
    with one.page.expect_event("dialog"):
        one.go("/instances")
    assert any("a dialog was opened" in problem for problem in one.end())
