# SPDX-License-Identifier: MIT
"""Every page in both languages, light and dark, on a desk and on a phone; and what axe finds wrong in it."""

from __future__ import annotations

import importlib.resources
import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import described
from tests.browser.pages import PHONE
from tests.browser.target import Target

PATHS = (
    "/", "/instances", "/instances?cols=state,instance,expected,ack", "/instances/1", "/instances/2", "/services",
    "/events", "/webhooks", "/tokens", "/settings", "/nowhere",
)  # fmt: skip
LOOKS = {
    "light-en-desk": {},
    "dark-zh-phone": {"scheme": "dark", "locale": "zh-CN", "size": PHONE},
}
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def monitor(serve_module):
    """With something of everything on each page."""
    one = serve_module(hold_enable="false", lease_timeout="60s")
    with Target() as target:
        target.status = 500
        hook = {"kind": "generic", "name": "ops", "url": target.url, "allow_private": True, "secret": "s"}
        assert one.post("/api/v1/webhooks", hook | {"filter": {"states": [], "event_types": ["*"]}}).status == 201
        assert one.post("/api/v1/tokens", {"name": "agents", "scopes": ["ingest", "read"]}).status == 201
        for way in ("start", "fail", "start?rid=7&timeout=1d"):  # the first instance is a job that failed, and runs
            text = b"Traceback (most recent call last):\n  disk full"
            assert one.post(f"/ping/jobs%2Fnight/{way}", text).status == 200
        beats = [described(f"service-{n % 5}", f"instance-{n}") for n in range(60)]
        beats += [described("short", f"brief-{n}", timeoutMs=1000) for n in range(3)]
        beats += [described("stuck", "hung", lagMs=100_000)]
        for _ in range(3):
            assert one.post("/api/v1/beats", beats).status in (200, 202)
        assert one.post("/api/v1/beats", [beats[1] | {"goodbye": True}]).status in (200, 202)
        assert one.post(f"/api/v1/instances/{one.find('instance-2')['id']}/pause", {}).status == 200
        yield one


@pytest.fixture(scope="module")
def axe():
    return importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


def settle(page):
    expect(page.locator("main h1")).to_be_attached()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.wait_for_function("document.fonts.ready.then(() => true)")


def faults(page, axe):
    page.evaluate(axe)
    options = {
        "resultTypes": ["violations"],
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
    found = page.evaluate(f"axe.run(document, {json.dumps(options)})")["violations"]
    return [
        f"{one['impact']} {one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_grave(monitor, visit, axe, path, look):
    one = visit(monitor, path, failing=path == "/nowhere", **LOOKS[look])
    settle(one.page)
    assert faults(one.page, axe) == []
    assert one.overflow() == 0


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_grave_in_dialogs(monitor, visit, axe, look):
    one = visit(monitor, "/webhooks", **LOOKS[look])
    settle(one.page)
    one.page.locator("main button.primary").first.click()
    expect(one.page.get_by_role("dialog")).to_be_visible()
    assert faults(one.page, axe) == []
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("?")
    expect(one.page.get_by_role("dialog")).to_be_visible()
    assert faults(one.page, axe) == []


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_grave_in_what_acts_on_instances(monitor, visit, axe, look):
    one = visit(monitor, "/instances/1", **LOOKS[look])
    settle(one.page)
    one.page.keyboard.press("a")
    expect(one.page.get_by_role("dialog")).to_be_visible()
    assert faults(one.page, axe) == []
    one.go("/instances?state=LOST")
    settle(one.page)
    one.page.locator(".bulk summary").click()
    assert faults(one.page, axe) == []
    one.page.locator(".bulk button").last.click()
    expect(one.page.get_by_role("dialog")).to_be_visible()
    assert faults(one.page, axe) == []
    assert one.overflow() == 0


def test_axe_would_find_something(monitor, visit, axe):
    page = visit(monitor, "/settings").page
    settle(page)
    page.evaluate("document.querySelector('main input').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('main input').removeAttribute('placeholder')")
    assert any(" label: " in fault for fault in faults(page, axe))


def test_both_languages_have_all_words(monitor, visit):
    page = visit(monitor, "/settings").page
    lacking = page.evaluate("""async () => {
      const [en, zh] = await Promise.all(['en', 'zh'].map((one) => import(`/panel/words/${one}/index.js`)));
      const names = (all) => Object.entries(all.default).flatMap(
        ([file, words]) => Object.keys(words).map((one) => `${file}.${one}`));
      const [a, b] = [names(en), names(zh)];
      const holes = (text) => [...JSON.stringify(text).matchAll(/\\{\\w+\\}/g)].map(String);
      const of = (all, name) => all.default[name.split('.')[0]][name.split(/\\.(.*)/s)[1]];
      return [
        ...a.filter((one) => !b.includes(one)).map((one) => `zh lacks ${one}`),
        ...b.filter((one) => !a.includes(one)).map((one) => `en lacks ${one}`),
        ...a.filter((one) => b.includes(one))
          .filter((one) => holes(of(zh, one)).some((hole) => !holes(of(en, one)).includes(hole)))
          .map((one) => `zh has another value in ${one}`),
      ];
    }""")
    assert lacking == []


def test_the_language_is_switched_and_remembered(monitor, visit):
    page = visit(monitor, "/settings").page
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="设置")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.reload()
    expect(page.get_by_role("heading", name="设置")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()


def lightness(page):
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765


def test_dark_by_the_system_and_by_choice(monitor, visit):
    assert lightness(visit(monitor, "/settings", scheme="dark").page) < 0.2
    page = visit(monitor, "/settings").page
    assert lightness(page) > 0.9
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    assert lightness(page) < 0.2
    page.reload()
    expect(page.get_by_role("button", name=re.compile("dark"))).to_be_visible()
    assert lightness(page) < 0.2


def test_a_phones_menu(monitor, visit):
    one = visit(monitor, size=PHONE)
    page = one.page
    expect(page.get_by_role("link", name="Webhooks")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Webhooks").click()
    expect(page.get_by_role("heading", level=1, name="Webhooks")).to_be_visible()
    expect(page.get_by_role("link", name="Webhooks")).to_be_hidden()
    assert one.overflow() == 0
