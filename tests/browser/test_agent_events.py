# SPDX-License-Identifier: MIT
"""Events that agents report over Sermant's frames, as the events page shows and finds them."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest
from playwright.sync_api import expect

from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import EVENT, HEARTBEAT
from tests.monitor.serving import PATIENCE_S, until

THROWABLE = (
    "java.io.IOException: disk full\n\tat com.example.Store.write(Store.java:42)\nCaused by: <b>no space</b> left"
)
LOG = {
    "logLevel": "SEVERE", "logMessage": "cannot write\n  the second line", "logClass": "com.example.Store",
    "logMethod": "write", "logLineNumber": 42, "logThreadId": 17, "logThrowable": THROWABLE,
}  # fmt: skip
GOVERNANCE = {"name": "FLOW_CONTROL", "description": "requests of /pay are limited to 10 a second"}
STARTED = {"name": "SERMANT_START", "description": "the agent has begun"}


def reported(monitor):
    """A heartbeat and three events in one connection, as Sermant's agent sends them; waits until they are stored."""
    now_ms = time.time_ns() // 1_000_000
    beat = {"service": "shop", "instanceId": "web-1", "appName": "shop", "ip": ["10.0.0.7"], "heartbeatTime": now_ms}

    def event(type_, level, **info):
        return {"time": now_ms, "scope": "store", "eventLevel": level, "eventType": type_, **info}

    some = {
        "metaHash": "web-1",
        "events": [
            event("LOG", "EMERGENCY", logInfo=LOG),
            event("GOVERNANCE", "IMPORTANT", eventInfo=GOVERNANCE),
            event("OPERATION", "NORMAL", eventInfo=STARTED),
        ],
    }
    parts = [(HEARTBEAT, pack(json.dumps(beat).encode())), (EVENT, pack(json.dumps(some).encode()))]
    with socket.create_connection(monitor.ready["tcp"], PATIENCE_S) as connection:
        connection.sendall(encode_frame(parts))
        until(lambda: len(monitor.json("/api/v1/events", scope="store")["events"]) == 3, "the agent's events")


@pytest.fixture(scope="module")
def monitor(serve_module):
    one = serve_module(lease_timeout="10m")
    reported(one)
    return one


@pytest.fixture(params=["en-US", "zh-CN"])
def page(request, monitor, visit):
    return visit(monitor, "/events?range=all", locale=request.param).page


def events(page):
    return page.locator("li[data-level]")


def shown(page, *texts):
    """Checks that of the agent's three events only these are visible."""
    expect(events(page).filter(has_text="shop")).to_have_count(len(texts))
    for text in texts:
        expect(events(page).filter(has_text=text)).to_have_count(1)


def test_a_log_unfolds_to_all_of_it(page):
    log = events(page).filter(has_text="cannot write")
    expect(log).to_have_attribute("data-level", "EMERGENCY")
    expect(log.locator("summary")).to_contain_text("SEVERE")
    expect(log.locator("pre").first).to_be_hidden()
    log.locator("summary").click()
    more = log.locator(".event-more")
    told = dict(zip(more.locator("dt").all_inner_texts(), more.locator("dd").all_inner_texts(), strict=True))
    words = {
        "en": ("Log level", "Class", "Method", "Line", "Thread", "Service", "Instance ID", "Type", "Scope"),
        "zh-CN": ("日志级别", "类", "方法", "行号", "线程", "服务", "实例 ID", "类型", "范围"),
    }[page.locator("html").get_attribute("lang")]
    values = ("SEVERE", "com.example.Store", "write", "42", "17", "shop", "web-1", "LOG", "store")
    assert {name: told[name] for name in words} == dict(zip(words, values, strict=True))
    assert not [name for name in told if name.startswith("log")]
    pre = more.locator("pre")
    assert [pre.nth(n).inner_text() for n in range(pre.count())] == [LOG["logMessage"], THROWABLE]
    more.get_by_role("link", name="web-1").click()
    expect(page).to_have_url(re.compile(r"/instances\?service=shop&instance=web-1$"))


def test_types_and_levels_find_them(page):
    every = ("cannot write", "limited to 10", "the agent has begun")
    state = events(page).filter(has=page.locator(".state"))
    expect(state).not_to_have_count(0)
    kinds, levels = page.locator(".toolbar .chips button"), page.locator(".levels button")
    for number, text in ((1, every[2]), (2, every[1]), (3, every[0])):  # operation, governance, logs
        kinds.nth(number).click()
        shown(page, text)
        kinds.nth(number).click()
    kinds.nth(2).click()
    kinds.nth(3).click()
    shown(page, *every[:2])
    expect(page).to_have_url(re.compile("type=GOVERNANCE&type=LOG"))
    for number, count in enumerate((1, 1, 0)):  # emergency, important, normal
        expect(levels.nth(number).locator("b")).to_have_text(str(count))
    levels.nth(1).click()
    shown(page, every[1])
    kinds.nth(2).click()
    expect(events(page)).to_have_count(0)
    page.reload()
    expect(events(page)).to_have_count(0)
    expect(levels.nth(1)).to_have_attribute("aria-pressed", "true")
    levels.nth(1).click()
    levels.nth(0).click()
    shown(page, every[0])


def test_words_of_a_throwable_find_the_log(page):
    page.get_by_role("searchbox").fill("no space")
    shown(page, "cannot write")
    page.get_by_role("searchbox").fill("/pay")
    shown(page, "limited to 10")


def test_they_are_among_the_instances_own(monitor, visit):
    page = visit(monitor, f"/instances/{monitor.find('web-1')['id']}").page
    own = page.locator(".events.of-one li")
    expect(own).to_have_count(3)
    own.filter(has_text="cannot write").locator("summary").click()
    expect(own.locator("pre.throwable")).to_have_text(THROWABLE)
