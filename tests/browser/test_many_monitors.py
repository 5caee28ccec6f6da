# SPDX-License-Identifier: MIT
# ruff: noqa: RUF001  (Chinese has colons of its own)
"""The panel of a monitor that shares a Redis with others: it shows the whole fleet, and says what is missing."""

from __future__ import annotations

import re
import signal

import pytest

pytest.importorskip("redis")

from playwright.sync_api import expect

from tests.browser.fleet import Fleet
from tests.browser.pages import PHONE
from tests.browser.test_down import acknowledge
from tests.monitor.cluster.whole import WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import until

pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.time_limit(120, reason="monitors start, and one of them or Redis does not answer for a while"),
]
DESK = (1920, 1080)
SILENT_MS = 3000


class Agents:
    """Agents of each monitor of a fleet; `agents[k]` beat to the monitor k."""

    def __init__(self, folder, n, **settings):
        self.fleet = WholeFleet(folder, n=n, **settings)
        self.of = []

    def __enter__(self):
        self.of = [Fleet(one) for one in self.fleet.monitors]
        for k, agents in enumerate(self.of):
            agents.join_many(f"shop-{k}", 12)
        n = 12 * len(self.of)
        for one in self.fleet.monitors:
            until(lambda one=one: one.json("/api/v1/services")["all"]["states"].get("UP") == n, "all up, everywhere")
        return self

    def __exit__(self, *error):
        for one in self.fleet.monitors:
            one.process.send_signal(signal.SIGCONT)
        self.fleet.redis.cont()
        for agents in self.of:
            agents.end()
        self.fleet.end()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two monitors whose leases are long: one that is stopped for a while stays a member."""
    with Agents(tmp_path_factory.mktemp("many"), 2, cluster_lease="30 s") as made:
        yield made


@pytest.fixture
def three(tmp_path):
    with Agents(tmp_path, 3) as made:
        yield made


def state_of(monitor, name):
    found = monitor.find(name)
    return found and found["state"]


def banner(page, text):
    return page.locator(".banner").filter(has_text=text)


def cell(page, service):
    return page.locator(".grid-label", has_text=service)


def row(page, name):
    return page.get_by_role("row").filter(has_text=name)


def test_the_instances_of_all_monitors_are_counted_and_listed(many, visit):
    page = visit(many.fleet.monitors[0], "/", size=DESK).page
    for service in ("shop-0", "shop-1"):
        expect(cell(page, service)).to_contain_text("12")
    tiles = page.locator(".tiles")
    expect(tiles.locator(".tile", has_text="instances")).to_contain_text("24")
    expect(tiles.locator(".tile", has_text="monitors")).to_contain_text("2")
    expect(page.get_by_role("heading", name="Heartbeats per second")).to_contain_text("this monitor only")
    expect(page.locator(".panel").filter(has_text="Detection delay")).to_contain_text(
        "This monitor has found no losses"
    )
    page.goto(many.fleet.monitors[0].url + "/instances")
    expect(page.get_by_text("24 of 24,")).to_be_visible()
    for name in ("shop-0-0003", "shop-1-0003"):
        expect(row(page, name)).to_be_visible()
    expect(page.locator(".banner")).to_have_count(0)


def test_a_loss_at_another_monitor_appears_by_itself(many, visit):
    a, b = many.fleet.monitors
    many.of[1].join("mail", "far-away", timeoutMs=SILENT_MS)
    pages = [visit(a, path, size=DESK).page for path in ("/", "/instances?instance=far-away", "/events?service=mail")]
    expect(cell(pages[0], "mail")).to_be_visible()
    expect(row(pages[1], "far-away")).to_contain_text("up")
    many.of[1].stop("mail", "far-away")
    expect(row(pages[1], "far-away")).to_contain_text("lost")
    expect(pages[0].locator(".counts a[href$=LOST]")).to_contain_text("1")
    expect(pages[0]).to_have_title(re.compile(r"^\(1\)"))
    expect(pages[2].locator(".event").filter(has_text="no heartbeat for").first).to_be_visible()
    assert b.find("far-away")["state"] == "LOST"
    assert b.request("DELETE", f"/api/v1/instances/{b.find('far-away')['id']}").status == 204
    expect(pages[0].locator(".counts a[href$=LOST]")).to_contain_text("0")


def test_an_instance_of_another_monitor_is_acknowledged_paused_and_resumed(many, visit):
    a, b = many.fleet.monitors
    many.of[1].join("mail", "quiet", timeoutMs=SILENT_MS)
    many.of[1].stop("mail", "quiet")
    until(lambda: state_of(a, "quiet") == "LOST", "its loss")
    page = visit(a, f"/instances/{a.find('quiet')['id']}", size=DESK, failing=True).page  # it is removed at the end
    expect(page.locator("main")).to_contain_text("no heartbeat for")
    page.get_by_role("button", name="Acknowledge").click()
    acknowledge(page, "ann", "it is known")
    expect(page.get_by_role("main")).to_contain_text("Acknowledged by ann")
    until(lambda: b.find("quiet")["ack"], "the acknowledgement at its owner")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Pause")).first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Pause")).click()
    until(lambda: b.find("quiet")["state"] == "PAUSED", "the pause at its owner")
    page.get_by_role("button", name=re.compile("^Resume")).first.click()
    until(lambda: b.find("quiet")["state"] != "PAUSED", "its end")
    assert b.request("DELETE", f"/api/v1/instances/{b.find('quiet')['id']}").status == 204


def test_the_monitors_are_named_with_the_settings(many, visit):
    a = many.fleet.monitors[0]
    page = visit(a, "/settings", size=DESK).page
    section = page.get_by_role("region", name="2 monitors in the fleet")
    lines = section.get_by_role("listitem")
    expect(lines).to_have_count(2)
    addresses = {one["asked"]: one["address"] for one in a.json("/api/v1/stats")["monitors"]}
    expect(lines.filter(has_text="answers this page")).to_contain_text(addresses[True])
    expect(lines.filter(has_text="runs the webhooks")).to_have_count(1)
    expect(section).to_contain_text(addresses[False])
    expect(page.locator(".pairs")).to_contain_text(f"127.0.0.1:{many.fleet.redis.port} is reachable")


def test_while_a_monitor_does_not_answer_the_page_says_so_and_then_becomes_whole_by_itself(many, visit):
    a, b = many.fleet.monitors
    name = next(one["address"] for one in a.json("/api/v1/stats")["monitors"] if not one["asked"])
    b.process.send_signal(signal.SIGSTOP)
    page = visit(a, "/", size=DESK).page
    said = banner(page, f"({name}): instances that it owns may be missing or out of date")
    expect(said).to_be_visible()
    expect(said).to_have_count(1)
    expect(cell(page, "shop-0")).to_be_visible()
    expect(cell(page, "shop-1")).to_have_count(0)
    b.process.send_signal(signal.SIGCONT)
    expect(cell(page, "shop-1")).to_contain_text("12")
    expect(said).to_have_count(0)
    expect(cell(page, "shop-0")).to_contain_text("12")


@pytest.mark.parametrize(
    ("locale", "words", "size"), [("en-US", "Degraded: Redis at", DESK), ("zh-CN", "降级运行：", PHONE)]
)
def test_while_redis_cannot_be_used_each_page_says_so(many, visit, locale, words, size):
    a, b = many.fleet.monitors
    many.of[1].join("mail", locale, timeoutMs=SILENT_MS)
    until(lambda: a.find(locale), "it")
    one = visit(a, "/", size=size, failing=True, locale=locale)
    page = one.page
    expect(cell(page, "mail")).to_be_visible()
    with many.fleet.redis.stopped():
        expect(banner(page, words)).to_contain_text("it does not answer in time (redis.timeout)")
        many.of[1].stop("mail", locale)
        until(lambda: a.find(locale)["held"], "its loss is held")
        for path in ("/instances?cols=instance,reason&instance=" + locale, "/events", "/settings"):
            one.go(path)
            expect(banner(page, words)).to_have_count(1)
            assert one.overflow() == 0
        one.go(f"/instances/{a.find(locale)['id']}")
        expect(page.get_by_role("heading", name=locale)).to_be_visible()
        one.go("/instances?cols=instance,reason&instance=" + locale)
        expect(row(page, locale)).to_contain_text("Redis")
    until(lambda: a.find(locale)["state"] == "LOST", "its loss, once Redis is back")
    expect(banner(page, words)).to_have_count(0)
    assert b.request("DELETE", f"/api/v1/instances/{b.find(locale)['id']}").status == 204


def test_a_monitor_that_is_gone_is_named_and_its_instances_stay(three, visit):
    a, _, c = three.fleet.monitors
    page = visit(a, "/", size=DESK).page
    settings = visit(a, "/settings", size=DESK).page
    expect(cell(page, "shop-2")).to_contain_text("12")
    expect(settings.get_by_role("listitem")).to_have_count(3)
    name = next(one["address"] for one in c.json("/api/v1/stats")["monitors"] if one["asked"])
    c.process.kill()
    said = banner(page, f"({name}) left the fleet at")
    expect(said).to_be_visible()
    expect(page.locator(".tile", has_text="monitors")).to_contain_text("2")
    expect(settings.get_by_role("listitem")).to_have_count(2)
    expect(cell(page, "shop-2")).to_contain_text("12")
    expect(page.locator(".tile", has_text="instances")).to_contain_text("36")
    said.get_by_role("button", name="Close").click()
    expect(said).to_have_count(0)
