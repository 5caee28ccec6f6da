# SPDX-License-Identifier: MIT
"""The panel in a real browser, against a real monitor with simulated agents.

`HEARTFELT_CHROMIUM` names another browser than the first of CHROMIUMS that is here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")

# Without heartfelt[monitor] and the group `browser` there is nothing to test; `make browser-test` installs both.
NEEDED = ("msgspec", "playwright", "axe_playwright_python")
collect_ignore_glob = [] if all(map(importlib.util.find_spec, NEEDED)) else ["test_*.py"]


def find_chromium() -> str | None:
    named = os.environ.get("HEARTFELT_CHROMIUM")
    return named or next((found for name in CHROMIUMS if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of a module: after them its event loop is gone from this thread."""
    from playwright.sync_api import expect, sync_playwright

    from tests.browser.pages import PATIENCE_MS

    expect.set_options(timeout=PATIENCE_MS)
    path = find_chromium()
    if path is None:
        pytest.skip("there is no chromium: install it, or name one in HEARTFELT_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory):
    """serve_module(**settings): a monitor that all tests of a module share."""
    yield from _serving(lambda: tmp_path_factory.mktemp("data"))


@pytest.fixture
def serve(tmp_path_factory):
    """serve(**settings): a monitor of a test's own."""
    yield from _serving(lambda: tmp_path_factory.mktemp("data"))


def _serving(make_data):
    from tests.monitor.serving import Serving

    running = []

    def start(*arguments, **options):
        options.setdefault("data", make_data())
        running.append(Serving(*arguments, **options))
        running[-1].wait_ready()
        return running[-1]

    yield start
    for one in running:
        one.end()


@pytest.fixture
def fleet_of():
    """fleet_of(monitor): agents of a test's own, that beat until it ends."""
    from tests.browser.fleet import Fleet

    fleets = []

    def make(monitor, **options):
        fleets.append(Fleet(monitor, **options))
        return fleets[-1]

    yield make
    for one in fleets:
        one.end()


@pytest.fixture
def visit(chromium):
    """visit(monitor, path, **how): a page of the panel; what it should not have done fails the test at its end."""
    from tests.browser.pages import Visit

    visits = []

    def open_page(monitor, path="/", **how):
        visits.append(Visit(chromium, monitor.url, path, **how))
        return visits[-1]

    yield open_page
    problems = [problem for one in visits for problem in one.end()]
    assert not problems, "\n".join(problems)
