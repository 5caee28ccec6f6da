# SPDX-License-Identifier: MIT
# ruff: noqa: RUF001  (Chinese has commas of its own)
"""Reasons are told in English, and shown in the reader's language: all that the monitor can say, wherever it stands."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS
from tests.monitor.fleet import reasons

FREE = (
    "scaled down", "removed by Ann", "no beat for long", "said goodbye:", "paused until Monday", "it beats well", "",
    "no beat for 5 s (lease 5 s) or so", "W" * 9000, "; ".join(["it beats"] * 50), "; ; ;", "released by",
)  # fmt: skip
"""What no sentence of the monitor's is."""
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def monitor(serve_module):
    return serve_module()


@pytest.fixture
def page(monitor, visit):
    return visit(monitor, "/settings", locale="zh-CN").page


def in_chinese(page, texts):
    """What the module makes of them: of each what is shown, and all of it in Chinese, or None."""
    return page.evaluate(
        """async (texts) => {
          const { inChinese, reasonText } = await import('/panel/lib/reason.js');
          return texts.map((text) => [reasonText(text), inChinese(text)]);
        }""",
        texts,
    )


@pytest.mark.parametrize("source", [reasons.sentences, reasons.lived], ids=["each by itself", "as they come about"])
def test_every_sentence_is_said_in_chinese(page, source):
    texts = source()
    found = in_chinese(page, texts)
    assert [text for text, (_, whole) in zip(texts, found, strict=True) if whole is None] == []
    for text, (shown, whole) in zip(texts, found, strict=True):
        assert shown == whole
        assert CHINESE.search(shown) and not re.search(r"\{(?!n\})|undefined|null", shown), text
        for figure in re.findall(r"\d+:\d\d:\d\dZ|\d+(?:\.\d+)?(?= s\b)|\d+%", text):
            assert figure in shown, (text, shown)


def test_every_clause_of_the_catalogue_is_one_that_the_monitor_says(page):
    texts = reasons.sentences()
    unused = page.evaluate(
        """async (texts) => {
          const { default: catalogue } = await import('/panel/words/zh/reasons.js');
          const pieces = (english) => english.split(/\\{\\w+(?::\\w+)?\\}/);
          return catalogue.map(([english]) => english).filter((english) => !texts.some((text) => {
            let at = 0;
            return pieces(english).every((piece) => (at = text.indexOf(piece, at)) >= 0);
          }));
        }""",
        texts,
    )
    assert unused == []


def test_what_is_not_known_stays_as_it_is(page):
    assert in_chinese(page, FREE) == [[text, None] for text in FREE]


def test_what_is_known_beside_it_is_said(page):
    text = "said goodbye: full disk; it beats; bye; last beat from 10.0.0.7 at 12:00:00Z"
    assert in_chinese(page, [text])[0][1] == "已告别：full disk; it beats; bye；上次心跳来自 10.0.0.7，在 12:00:00Z"
    (shown, whole) = in_chinese(page, ["resumed; it is of no use; it beats"])[0]
    assert (shown, whole) == ("已手动恢复；it is of no use；心跳正常", None)


def test_the_panel_shows_them_in_chinese_and_in_english(serve, visit, fleet_of):
    monitor = serve(hold_window="20s", hold_longest="600s")
    fleet = fleet_of(monitor)
    fleet.join_many("shop", 12, timeoutMs=2 * SHORT_MS)
    fleet.join("mail", "alone", timeoutMs=SHORT_MS)
    fleet.leave("mail", "alone")
    chinese = visit(monitor, locale="zh-CN").page
    english = visit(monitor).page
    for page in (chinese, english):
        page.locator(".grid-label", has_text="shop").locator("i", has_text="12").wait_for()
    for n in range(12):
        fleet.stop("shop", f"shop-{n:04}")
    expect(chinese.locator(".banner.alarm")).to_contain_text("个实例中有")
    expect(english.locator(".banner.alarm")).to_contain_text("instances of service shop went silent within 20 s")

    for page in (chinese, english):
        page.locator(".grid-frame").focus()
        page.keyboard.press("ArrowRight")
    expect(chinese.locator(".grid-tip")).to_contain_text("已告别")
    expect(english.locator(".grid-tip")).to_contain_text("said goodbye")

    id_ = monitor.find("alone")["id"]
    host = monitor.find("alone")["peer"]
    places = {
        f"/instances/{id_}": (".instance-name", "已告别；上次心跳来自", "said goodbye; last beat from"),
        f"/instances/{id_}#changes": (".changes", f"来自 {host}，经由 http", f"first beat, from {host} by http"),
        "/instances?cols=instance,reason": ("tbody:not([aria-hidden])", "失联暂缓通告：", "the loss is held: "),
        "/events?range=all&service=shop": (".events", "（间隔 0.25秒，租约 3秒）", "(interval 0.25 s, lease 3 s)"),
    }  # fmt: skip
    for path, (place, *words) in places.items():
        for page, wanted in zip((chinese, english), words, strict=True):
            page.goto(monitor.url + path)
            expect(page.locator(place).first).to_contain_text(wanted)
    chinese.locator(".event summary").first.click()
    expect(chinese.locator(".event-more pre").first).to_contain_text(CHINESE)
