# SPDX-License-Identifier: MIT
"""The fleet grid: what is drawn bit by bit is what would be drawn at once, and it is there for every reader."""

from __future__ import annotations

from operator import ne

import pytest

from tests.browser.fleet import LONG_MS, SHORT_MS
from tests.monitor.serving import until

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
    assert "timeout left" in spoken(page).inner_text()
    page.locator(".grid-tip").get_by_text("shop-0").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/instances/{monitor.find('shop-0')['id']}")


def cell(page, key, words):
    """The ink of the cell that the key leads to, once that is said of it: what is left of it without any colour."""

    def is_said():
        for one in ("Escape", "ArrowRight", key):  # it is said when a key comes to it
            page.keyboard.press(one)
        return words in spoken(page).inner_text()

    page.locator(GROUND).focus()
    until(is_said, words)
    return page.evaluate("""async () => {
      for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame); // so it is drawn, too
      const canvas = document.querySelector('.grid-frame canvas');
      const mark = document.querySelector('.grid-mark');
      const scale = canvas.width / canvas.getBoundingClientRect().width;
      const here = [mark.offsetLeft + 2, mark.offsetTop + 2, mark.offsetWidth - 4];
      const [x, y, size] = here.map((one) => Math.round(one * scale));
      const { data } = canvas.getContext('2d').getImageData(x, y, size, size);
      const grey = Array.from({ length: size * size }, (_, i) =>
        0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2]);
      const ground = grey[0];
      const most = Math.max(...grey.map((one) => Math.abs(one - ground)));
      return grey.map((one) => Math.abs(one - ground) > most / 2);
    }""")


def differ(one, other):
    """The share of pixels that are ink in one of them only."""
    return sum(map(ne, one, other)) / len(one)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_is_held_has_a_shape_of_its_own(serve, visit, fleet_of, scheme):
    monitor = serve(hold_window="20s", hold_longest="600s", hold_leak="0.9")  # a busy machine loses beats
    fleet = fleet_of(monitor)
    fleet.join_many("shop", 12, timeoutMs=2 * SHORT_MS)
    fleet.join("alone", "late-1")
    page = visit(monitor, scheme=scheme, motion="no-preference").page
    wait_for_blocks(page, shop=12, alone=1)
    fleet.stop("alone", "late-1")
    for n in range(12):
        fleet.stop("shop", f"shop-{n:04}")
    until(lambda: monitor.json("/api/v1/hold")["held"] == 12, "all of them are held")
    until(lambda: monitor.find("late-1")["state"] == "LATE", "one is late")
    late = cell(page, "Home", "alone, 1 of 1: late, ")
    held = cell(page, "PageDown", "shop, 1 of 12: late (loss held), ")
    assert differ(late, held) > 0.2
    page.locator(".grid-tip").get_by_text("late (loss held)").wait_for()
    page.locator(".legend").get_by_text("framed: loss held").wait_for()

    page.keyboard.press("Escape")
    other = visit(monitor, scheme=scheme, motion="no-preference").page  # which was not told, but has read it
    wait_for_blocks(other, shop=12, alone=1)
    assert differ(cell(other, "PageDown", "shop, 1 of 12: late (loss held), "), held) < 0.05

    fleet.join("shop", "shop-0000", timeoutMs=LONG_MS)
    for one in (page, other):
        assert differ(cell(one, "PageDown", "shop, 1 of 12: up, "), held) > 0.2
        assert differ(cell(one, "Home", "alone, 1 of 1: late, "), late) < 0.05
