# SPDX-License-Identifier: MIT
"""An address that leads nowhere: a page says so, and leads back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

LOOKS = {
    "en-US": ({"locale": "en-US"}, "Page not found", "Back to the overview", "Overview"),
    "zh-CN": ({"locale": "zh-CN", "scheme": "dark"}, "没有这个页面", "返回总览", "总览"),
}


@pytest.fixture(scope="module")
def monitor(serve_module):
    return serve_module()


@pytest.mark.parametrize("language", LOOKS)
@pytest.mark.parametrize("path", ["/instancez", "/instances/seven", "/%3Cb%3Enone%3C%2Fb%3E?state=LOST"])
def test_it_says_so_and_leads_back(monitor, visit, language, path):
    look, words, back, overview = LOOKS[language]
    one = visit(monitor, "/settings", failing=True, **look)
    page = one.page
    answer = page.goto(monitor.url + path)
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text(words)
    expect(page).to_have_title(re.compile(words))
    expect(page.get_by_role("main")).to_contain_text(path.partition("?")[0])
    assert one.overflow() == 0
    page.get_by_role("main").get_by_role("link", name=back).click()
    expect(page).to_have_url(f"{monitor.url}/")
    expect(page.get_by_role("heading", level=1)).to_have_text(overview)


def test_an_instance_that_is_not_there_is_a_page_that_says_so(monitor, visit):
    page = visit(monitor, "/instances/99999999", failing=True).page
    main = page.get_by_role("main")
    expect(main).to_contain_text("This instance no longer exists")
    main.get_by_role("link", name="Instances").click()
    expect(page).to_have_url(f"{monitor.url}/instances")


def test_a_link_within_the_panel_to_nowhere_is_asked_of_the_monitor(monitor, visit):
    page = visit(monitor, "/settings", failing=True).page
    page.evaluate("""() => {
      const link = document.createElement('a');
      link.href = '/instancez';
      link.textContent = 'nowhere';
      document.querySelector('main').prepend(link);
    }""")
    with page.expect_response("**/instancez") as found:
        page.get_by_text("nowhere").click()
    assert found.value.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
