# SPDX-License-Identifier: MIT
# ruff: noqa: RUF001  (Chinese has commas of its own)
"""Reasons are a code and arguments, and shown in the reader's language: the same sentences as the monitor's own."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from heartfelt.monitor.reasons import LANGUAGES, sentence
from tests.browser.fleet import SHORT_MS
from tests.monitor.reasons import lives
from tests.monitor.reasons.test_catalogue import CODES, VECTORS, sample

CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def monitor(serve_module):
    return serve_module()


@pytest.fixture
def page(monitor, visit):
    return visit(monitor, "/settings", locale="zh-CN").page


def said(page, reasons):
    """Returns the sentences of each (code, args) in all languages, with times in UTC; None: it is not understood."""
    return page.evaluate(
        """async ([reasons, languages]) => {
          const { sentenceOf } = await import('/panel/lib/reasons.js');
          const { utc } = await import('/panel/lib/figures.js');
          return JSON.parse(reasons).map(([code, args]) => languages.map((one) => sentenceOf(code, args, one, utc)));
        }""",
        [json.dumps(reasons), LANGUAGES],
    )


def test_figures_are_written_as_the_monitor_writes_them(page):
    found = page.evaluate(
        """async (vectors) => {
          const { default: catalogue } = await import('/panel/words/reasons.js');
          const figures = await import('/panel/lib/figures.js');
          const by = (write) => ([value]) => [value, write(value)];
          return {
            durations: vectors.durations.map(([ms]) =>
              [ms, ...['en', 'zh'].map((one) => figures.duration(ms, catalogue.words[one].units))]),
            counts: vectors.counts.map(by(figures.count)),
            rates: vectors.rates.map(by(figures.rate)),
            shares: vectors.shares.map(by(figures.share)),
            times: vectors.times.map(by(figures.utc)),
          };
        }""",
        VECTORS,
    )
    for kind, rows in found.items():
        assert rows == VECTORS[kind]


def test_sentences_are_those_of_the_vectors(page):
    rows = [(code, args) for code, args, *_ in VECTORS["sentences"]]
    assert said(page, rows) == [words for _, _, *words in VECTORS["sentences"]]
    assert said(page, VECTORS["refused"]) == [[None, None]] * len(VECTORS["refused"])


def test_each_reason_is_said_as_the_monitor_says_it(page):
    """Each code with all of its arguments and with the fewest, and all that comes about in a registry's life."""
    reasons = [sample(code, whole=whole) for code in CODES for whole in (True, False)] + lives.lived()
    found = said(page, [(one.code, one.args) for one in reasons])
    assert found == [[sentence(one, language) for language in LANGUAGES] for one in reasons]


def test_what_is_not_understood_is_shown_in_the_monitors_english(page):
    """As by a page that is older than its monitor."""
    shown = page.evaluate(
        """async (many) => {
          const { reasonText } = await import('/panel/lib/reasons.js');
          return many.map(reasonText);
        }""",
        [
            {"reason": "it drowned", "reason_code": "drowned", "reason_args": {"depth_m": 3}},
            {"reason": "as it is", "reason_code": "stalled", "reason_args": None},
            {"reason": "without a code"},
            {"reason": "far away", "reason_code": "paused_until", "reason_args": {"until_ms": 1 << 53}},
            {"reason": "", "reason_code": "", "reason_args": {}},
            {},
        ],
    )
    assert shown == ["it drowned", "as it is", "without a code", "far away", "", ""]


def test_times_are_the_readers_own(page):
    noon_ms = 1_763_812_800_000
    text, zone_min = page.evaluate(
        """async (ms) => {
          const { reasonText } = await import('/panel/lib/reasons.js');
          const said = reasonText({ reason: '', reason_code: 'paused_until', reason_args: { until_ms: ms } });
          return [said, new Date(ms).getTimezoneOffset()];
        }""",
        noon_ms,
    )
    assert text.startswith("已暂停，至 2025年11月")
    assert ("20:00" in text) == (zone_min == -480) and "Z" not in text


def test_the_panel_shows_them_in_chinese_and_in_english(serve, visit, fleet_of):
    monitor = serve(hold_window="20s", hold_longest="600s", hold_leak="0.9")  # a busy machine loses beats
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
    expect(english.locator(".banner.alarm")).to_contain_text("instances of service shop went silent within 20")

    for page in (chinese, english):
        page.locator(".grid-frame").focus()
        page.keyboard.press("ArrowRight")
    expect(chinese.locator(".grid-tip")).to_contain_text("已告别")
    expect(english.locator(".grid-tip")).to_contain_text("said goodbye")

    id_ = monitor.find("alone")["id"]
    host = monitor.find("alone")["peer"]
    places = {
        f"/instances/{id_}": (".instance-name", "已告别；上次心跳来自", "said goodbye; last heartbeat from"),
        f"/instances/{id_}#changes": (".changes", f"来自 {host}，经由 http", f"first heartbeat from {host} via http"),
        "/instances?cols=instance,reason": ("tbody:not([aria-hidden])", "失联通知已暂缓：", "the loss is held: "),
        "/events?range=all&service=shop": (".events", "（间隔 250毫秒，超时 3秒）", "(interval 250 ms, timeout 3 s)"),
    }  # fmt: skip
    for path, (place, *words) in places.items():
        for page, wanted in zip((chinese, english), words, strict=True):
            page.goto(monitor.url + path)
            expect(page.locator(place).first).to_contain_text(wanted)
    chinese.locator(".event summary").first.click()
    expect(chinese.locator(".event-more pre").first).to_contain_text(CHINESE)
    expect(chinese.locator(".event-more").first).not_to_contain_text("reason_code")


def test_a_jobs_end_and_an_agents_own_words(serve, visit):
    monitor = serve()
    monitor.post("/ping/jobs%2Fbackup/3?duration_ms=5250", b"disk full")
    chinese = visit(monitor, "/events?range=all&type=PING", locale="zh-CN").page
    expect(chinese.locator(".event-words").first).to_have_text("退出状态 3，历时 5.2秒: disk full")
    assert (
        monitor.json("/api/v1/events", type="PING")["events"][0]["info"]["description"] == "exit status 3 after 5.2 s"
    )
