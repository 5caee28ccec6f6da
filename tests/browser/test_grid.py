# SPDX-License-Identifier: MIT
"""The fleet grid: what is drawn bit by bit is what would be drawn at once, and it is there for every reader."""

from __future__ import annotations

import pytest
from serving import until

GROUND = ".grid-frame"
PIXELS = """() => {
  const canvas = document.querySelector('.grid-frame canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (const one of data) sum = (sum * 31 + one) >>> 0;
  return [canvas.width, canvas.height, sum];
}"""


@pytest.fixture
def monitor(serve):
    return serve()


def spoken(page):
    return page.locator("main [role=status].only-read")


def wait_for_blocks(page, **sizes):
    for service, size in sizes.items():
        page.locator(".grid-label", has_text=service).locator("i", has_text=str(size)).wait_for()


def test_what_changed_in_place_is_as_if_drawn_anew(monitor, visit, fleet_of):
    fleet = fleet_of(monitor)
    fleet.join_many("shop", 60)
    fleet.join_many("mail", 50)  # three rows, as the other: with 46 there are two, and nothing else moves
    page = visit(monitor, motion="no-preference").page
    wait_for_blocks(page, shop=60, mail=50)
    ids = [one["id"] for one in monitor.json("/api/v1/instances", service="mail", limit=100)["instances"]]
    fleet.end()  # nobody beats: who is removed stays so
    for id_ in ids[10:14]:
        assert monitor.request("DELETE", f"/api/v1/instances/{id_}").status == 204
    assert monitor.post(f"/api/v1/instances/{ids[30]}/pause", {}).status == 200
    wait_for_blocks(page, shop=60, mail=46)
    other = visit(monitor, motion="no-preference").page
    wait_for_blocks(other, shop=60, mail=46)
    until(lambda: page.evaluate(PIXELS) == other.evaluate(PIXELS), "the same picture")


def test_it_goes_from_nobody_to_somebody_and_back(monitor, visit):
    page = visit(monitor).page
    page.get_by_text("heartfelt beat demo").wait_for()
    monitor.beat("shop", "one")
    page.locator(".grid-label", has_text="shop").wait_for()
    assert page.get_by_text("heartfelt beat demo").count() == 0
    id_ = monitor.find("one")["id"]
    assert monitor.request("DELETE", f"/api/v1/instances/{id_}").status == 204
    page.get_by_text("heartfelt beat demo").wait_for()


def test_keys_move_tell_and_open(monitor, visit):
    monitor.beats(30, "mail")
    monitor.beats(30, "shop")
    page = visit(monitor).page
    page.locator(".grid-label", has_text="shop").wait_for()
    page.locator(GROUND).focus()
    for key, words in (
        ("ArrowRight", "mail, 1 of 30"), ("ArrowRight", "mail, 2 of 30"), ("End", "mail, 30 of 30"),
        ("ArrowRight", "shop, 1 of 30"), ("ArrowLeft", "mail, 30 of 30"), ("PageDown", "shop, 1 of 30"),
        ("Home", "shop, 1 of 30"),
    ):  # fmt: skip
        page.keyboard.press(key)
        spoken(page).get_by_text(words).wait_for(state="attached")
    assert "lease left" in spoken(page).inner_text()
    page.locator(".grid-tip").get_by_text("shop-0").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/instances/{monitor.find('shop-0')['id']}")
