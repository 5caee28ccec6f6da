# SPDX-License-Identifier: MIT
"""`heartfelt top` on its screen, against a monitor that does as the test tells it."""

from __future__ import annotations

import pytest

pytest.importorskip("textual")

from rich.cells import cell_len
from textual.widgets import Input

from heartfelt.cli._top.detail import Detail, EventDetail
from heartfelt.cli._top.table import ORDERS
from tests.cli.fake_monitor import NOW_MS, FakeMonitor, change_of, view_of
from tests.cli.top_screen import on_screen, run, screen_of
from tests.monitor.serving import run_command


@pytest.fixture
def monitor():
    made = FakeMonitor()
    yield made
    made.close()


@on_screen()
async def test_the_grid_has_a_cell_an_instance_in_groups_with_counts(monitor, screen):
    await screen.shows("4 instances", "2 up", "1 lost", "1 stuck", "12 beats/s")
    shop = next(line for line in screen.lines if "shop" in line and "/2" in line)
    cart = next(line for line in screen.lines if "cart" in line and "/2" in line)
    assert shop.split()[:2] == ["shop", "1/2"]
    assert shop.split()[2:] == [".", "X"]
    assert cart.split()[1:] == ["1/2", "S", "."]
    assert screen.text.index("shop ") < screen.text.index("cart ")  # the lost one's first
    await screen.press("s")
    await screen.until(lambda: screen.text.index("cart ") < screen.text.index("shop "), "the order by service")


@on_screen()
async def test_what_failed_is_first_and_a_held_loss_is_counted_as_lost(monitor, screen):
    monitor.put(view_of(5, "nightly", "FAILED"), view_of(6, "alpha", "LATE", held=True))
    monitor.push("resync", {"reason": "gap"})
    await screen.shows("6 instances", "1 failed", "2 lost (H 1 held)", "1 stuck")
    assert " late" not in screen.lines[1]
    nightly = next(line for line in screen.lines if "nightly" in line and "/1" in line)
    assert nightly.split()[1:] == ["0/1", "F"]
    places = [screen.text.index(f"{name} ") for name in ("nightly", "shop", "alpha", "cart")]
    assert places == sorted(places)
    await screen.press("2")
    await screen.shows("STATE")
    header = next(n for n, line in enumerate(screen.lines) if line.split()[:2] == ["STATE", "SERVICE"])
    letters = [line.split()[:2] for line in screen.lines[header + 1 :]]
    assert letters[:4] == [["F", "failed"], ["X", "lost"], ["H", "held"], ["S", "stuck"]]
    await screen.press("/", *"failed", "enter")
    await screen.shows("F failed", "1/1")


@on_screen()
async def test_a_failed_job_has_its_runs_its_timeout_and_who_knows(monitor, screen):
    ack = {"by": "ann", "why": "disk ordered", "at_ms": NOW_MS, "until_ms": None}
    fields = {"ack": ack, "expected": True, "period_ms": 6000, "grace_ms": 4000, "lease_source": "learned"}
    monitor.put(view_of(1, state="FAILED", addresses=["10.0.0.1", "10.0.0.2"], **fields))
    run = {"number": 7, "rid": "7f3a", "begin_ms": NOW_MS - 61_000, "end_ms": NOW_MS, "result": "FAILED", "status": 3,
           "duration_ms": 61_000, "text": "no\x1b[31m", "deadline_ms": None}  # fmt: skip
    still = run | {"number": 8, "rid": "", "end_ms": None, "result": "RUNNING", "status": None, "duration_ms": None}
    monitor.runs = [still, run]
    await screen.press("l", "h", "enter")
    await screen.shows(
        "acknowledged by ann: disk ordered; nobody is notified again until it recovers",
        "its beats come from 2 addresses: 10.0.0.1, 10.0.0.2",
        "beats about each 6 s",
        "10 s (6 s + grace 4 s), learned",
        "it stays lost until it beats or is removed",
        "failed            after 61 s, exit status 3, 7f3a,",
        "no\N{REPLACEMENT CHARACTER}[31m",
        "running           after ",
    )


@on_screen()
async def test_a_loss_is_acknowledged_and_nothing_else_is(monitor, screen):
    await screen.press("2", "a")
    await screen.shows("Acknowledge shop/shop-2?", "until it recovers")
    await screen.press("y")
    await screen.until(lambda: ("POST", "/api/v1/instances/2/ack") in monitor.asked, "the acknowledgement")
    await screen.press("j", "a")
    await screen.shows("only a loss or a failure can be acknowledged")
    assert [path for _, path in monitor.asked if path.endswith("/ack")] == ["/api/v1/instances/2/ack"]


@on_screen()
async def test_what_happens_is_seen(monitor, screen):
    monitor.push("change", change_of(1, 1, "LOST"))
    counts = monitor.counts() | {"states": {"LOST": 2, "UP": 1, "STUCK": 1}}
    monitor.push("counts", {"all": counts, "applications": 1, "services": {"shop": counts}})
    await screen.shows("2 lost", "newest events that matter", "now LOST")
    shop = next(line for line in screen.lines if "shop" in line and "/2" in line)
    assert shop.split()[1:] == ["0/2", "X", "X"]
    monitor.push("change", change_of(2, 2, "REMOVED"))
    await screen.until(lambda: any(line.split()[:3] == ["shop", "0/1", "X"] for line in screen.lines), "one cell less")


@on_screen()
async def test_who_joins_is_seen_and_asked_for(monitor, screen):
    monitor.put(view_of(9, "cart", "NEW", version="9.9"))
    monitor.push("change", change_of(1, 9, "NEW", old=None, service="cart"))
    await screen.until(lambda: any(line.split()[:2] == ["cart", "2/3"] for line in screen.lines), "the cell")
    await screen.until(lambda: screen.app.fleet.rows[9].version == "9.9", "its version")
    await screen.press("2", "/", *"cart new", "enter")
    await screen.shows("cart-9", "1/1")


@on_screen()
async def test_brightness_falls_with_the_lease_and_rises_with_a_beat(monitor, screen):
    row = screen.app.fleet.rows[1]
    grid = screen.app.grid

    def fill():
        """The colour of the first cell, when the cursor is on another."""
        segments = [segment for y in range(grid.size.height) for segment in grid.render_line(y)]
        return next(one.style.bgcolor.name for one in segments if one.text == ". " and one.style.bgcolor)

    await screen.press("l")
    row.last_beat_ms = int(screen.app.now_ms())
    screen.app.draw()
    full = fill()
    row.last_beat_ms -= 9_000
    screen.app.draw()
    assert fill() != full
    monitor.push("beats", [[1, int(screen.app.now_ms())]])
    await screen.until(lambda: fill() == full, "the full brightness")


@on_screen()
async def test_the_table_sorts_filters_and_keeps_its_place(monitor, screen):
    await screen.press("2")
    await screen.shows("STATE", "shop-2", "cart-3", "1/4")
    table = screen.app.table
    assert [row.id for row in table.items] == [2, 3, 4, 1]  # the worst first
    await screen.press("j", "j")
    assert table.current.id == 4
    monitor.push("change", change_of(1, 1, "LOST"))
    await screen.until(lambda: [row.id for row in table.items] == [1, 2, 3, 4], "the new order")
    assert table.current.id == 4  # where the reader was
    await screen.press("k", "g")
    assert table.cursor == 0
    await screen.press("s")
    await screen.shows("by service")
    assert [row.id for row in table.items] == [3, 4, 1, 2]
    for _ in range(len(ORDERS) - 1):
        await screen.press("s")
    await screen.shows("worst first")
    await screen.press("/", *"LOST shop")
    await screen.until(lambda: [row.id for row in table.items] == [1, 2], "the filter")
    await screen.press("x")  # is text, while the filter is written
    await screen.shows("nothing matches the filter")
    await screen.press("escape")
    await screen.until(lambda: len(table.items) == 4, "no filter")
    assert screen.app.focused is table
    assert ("DELETE", "/api/v1/instances/1") not in monitor.asked


@on_screen()
async def test_events_stay_in_place_and_unfold(monitor, screen):
    for n in range(30):
        monitor.push("change", change_of(n, 1, "LATE", reason=f"reason {n}"))
    await screen.press("3")
    await screen.shows("reason 29", "1/30")
    await screen.press("j", "j")
    key = screen.app.feed.current.number
    monitor.push("event", {
        "time_ms": NOW_MS + 30, "received_ms": NOW_MS + 30, "service": "shop", "instance_id": "shop-1", "ip": "",
        "scope": "x", "level": "IMPORTANT", "type": "LOG",
        "info": {"logMessage": "disk full", "logThrowable": "one\ntwo\x1b[2J"},
    })  # fmt: skip
    await screen.shows("4/31")
    assert screen.app.feed.current.number == key
    await screen.press("g")
    await screen.shows("disk full")
    await screen.press("enter")
    await screen.until(lambda: isinstance(screen.app.screen, EventDetail), "the event")
    await screen.shows("logThrowable", "one", "two\N{REPLACEMENT CHARACTER}[2J")
    await screen.press("q")
    assert screen.app.screen is screen.app.base


@on_screen()
async def test_an_instance_is_opened_paused_and_removed(monitor, screen):
    await screen.press("2", "enter")
    await screen.until(lambda: isinstance(screen.app.screen, Detail), "the detail")
    await screen.shows("shop / shop-2", "host-2", "the last 2 times between beats", "missed 1")
    await screen.press("p")
    await screen.shows("Pause shop/shop-2?")
    await screen.press("n")
    await screen.press("p")
    await screen.shows("Pause shop/shop-2?")
    await screen.press("y")
    await screen.until(lambda: ("POST", "/api/v1/instances/2/pause") in monitor.asked, "the pause")
    assert monitor.asked.count(("POST", "/api/v1/instances/2/pause")) == 1  # not by n
    monitor.push("change", change_of(1, 2, "PAUSED", old="LOST"))
    await screen.until(lambda: screen.app.fleet.rows[2].state == "PAUSED", "the state")
    await screen.press("p")
    await screen.until(lambda: ("POST", "/api/v1/instances/2/resume") in monitor.asked, "its end")
    await screen.press("x")
    await screen.shows("Remove shop/shop-2?")
    await screen.press("enter")  # is no
    await screen.press("x", "y")
    await screen.until(lambda: ("DELETE", "/api/v1/instances/2") in monitor.asked, "the removal")
    await screen.press("escape")
    assert screen.app.screen is screen.app.base


@on_screen()
async def test_what_the_monitor_refuses_is_said(monitor, screen):
    await screen.press("2", "p")
    monitor.refuse = (403, "this token does not have scope admin")
    await screen.press("y")
    await screen.shows("this token does not have scope admin")
    await screen.press("j")
    await screen.until(lambda: "not for admin" not in screen.lines[-1], "the keys")


@on_screen()
async def test_a_hold_is_told_with_its_reason_and_released(monitor, screen):
    monitor.put(view_of(1, state="LATE", held=True))
    monitor.push("hold", {"state": "HOLDING", "reason": "a rack died", "scope": "", "held": 12, "since_ms": 0,
                          "until_ms": 0})  # fmt: skip
    monitor.push("counts", {"all": monitor.counts(), "applications": 1, "services": {}})
    await screen.shows("12 losses are held", "a rack died", "1 held")
    await screen.until(lambda: any(line.split()[:3] == ["shop", "0/2", "H"] for line in screen.lines), "the cell")
    await screen.press("R")
    await screen.shows("Release 12 held losses")
    await screen.press("y")
    await screen.until(lambda: ("POST", "/api/v1/hold/release") in monitor.asked, "the release")
    monitor.put(view_of(1))
    monitor.push("hold", {"state": "NONE", "held": 0, "reason": ""})
    monitor.push("counts", {"all": monitor.counts(), "applications": 1, "services": {}})
    await screen.until(lambda: "losses are held" not in screen.text and not screen.app.fleet.held, "its end")


@on_screen()
async def test_a_lost_connection_is_told_and_taken_up_again(monitor, screen):
    monitor.refuse = (503, "as many streams are open as http.viewers allows")
    monitor.drop()
    await screen.shows("CONNECTION LOST", "data is stale", "next try in")
    assert "4 instances" in screen.text
    monitor.push("change", change_of(1, 1, "LOST"))
    monitor.refuse = None
    await screen.until(lambda: screen.app.fleet.rows[1].state == "LOST", "what happened meanwhile")
    await screen.until(lambda: "CONNECTION LOST" not in screen.text, "the end of the notice")


@on_screen()
async def test_events_that_cannot_be_read_do_not_hide_the_rest(monitor, screen):
    monitor.put(view_of(9, "mail"))
    monitor.refused_path, monitor.refuse = "/api/v1/events", (503, "Redis at 127.0.0.1:6379 does not answer in time")
    monitor.changes = None
    monitor.push("resync", {"reason": "too slow", "epoch": "e", "seq": 0})
    await screen.shows("5 instances", "cannot read its events now")
    assert "CONNECTION LOST" not in screen.text
    await screen.press("2", "enter")
    await screen.shows("the monitor cannot read these now: changes, events", "host-")
    await screen.press("escape")
    monitor.refuse = None

    def is_whole():
        monitor.push("beats", [])  # everything is loaded again with the first message after some seconds
        return "cannot read its events" not in screen.text

    await screen.until(is_whole, "the events")


@on_screen()
async def test_a_frozen_screen_stays_and_then_catches_up(monitor, screen):
    await screen.press("space")
    await screen.shows("frozen")
    monitor.push("change", change_of(1, 1, "LOST"))
    await screen.until(lambda: screen.app.fleet.rows[1].state == "LOST", "the change")
    screen.app.draw()
    assert any(line.split()[:3] == ["shop", "1/2", "."] for line in screen.lines)
    await screen.press("space")
    await screen.until(lambda: any(line.split()[:3] == ["shop", "0/2", "X"] for line in screen.lines), "the cells")


@on_screen()
async def test_timers_that_fire_while_the_widgets_are_removed_do_no_harm(monitor, screen):
    """As they may at the end of the application."""
    await screen.app.base.remove_children()
    screen.app.draw()
    screen.app.take()


@on_screen()
async def test_help_theme_and_end(monitor, screen):
    await screen.press("?")
    await screen.shows("filter by words and states", "A cell fades")
    await screen.press("escape")
    for name in ("heartfelt-light", "heartfelt-dark"):
        await screen.press("t")
        assert screen.app.theme == name
    await screen.press("tab", "tab")
    assert screen.app.view == "events"
    await screen.press("tab", "q")
    await screen.until(lambda: screen.app._exit, "the end")


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5), (200, 60)])
def test_hostile_texts_do_not_break_a_line_of_any_width(monitor, size):
    nasty = [
        "\x1b[2J\x1b]0;x\x07",
        "[bold]x[/bold][link=javascript:1]y",
        "\u4e2d" * 5000,
        "\u202e\u200b\u0301",
        "x" * 10_000,
    ]

    async def main():
        for n, text in enumerate(nasty):
            monitor.put(view_of(n, text, instance_id=text, version=text, ips=[text], host=text, reason=text, app=text))
            monitor.push("change", change_of(n, n, "LOST", service=text, instance_id=text, reason=text))
        monitor.hold["reason"] = nasty[0] + nasty[4]
        monitor.hold["state"] = "HOLDING"
        async with screen_of(monitor.url, size=size) as screen:
            await screen.until(lambda: screen.app.state.name == "live", "the link")
            for n, text in enumerate(nasty):
                monitor.push("change", change_of(100 + n, n, "LOST", service=text, instance_id=text, reason=text))
            await screen.until(lambda: len(screen.app.fleet.events) == 5, "the events")
            for view in "123":
                await screen.press(view, "j", "j", "k")
                for widget in (
                    screen.app.top,
                    screen.app.bottom,
                    getattr(screen.app, ["grid", "table", "feed"][int(view) - 1]),
                ):
                    for y in range(widget.size.height):
                        strip = widget.render_line(y)
                        assert strip.cell_length == widget.size.width
                        assert strip.text.isprintable(), strip.text
                assert all(cell_len(line) <= size[0] for line in screen.lines)
            await screen.press("enter")
            assert isinstance(screen.app.screen, EventDetail)
            await screen.press("escape", "2", "p")
            assert all(cell_len(line) <= size[0] for line in screen.lines)

    run(main())


def test_a_tick_while_the_screen_is_taken_down_does_nothing(monitor):
    """The timers still run while the program ends, and widgets are gone one by one."""

    async def main():
        async with screen_of(monitor.url) as screen:
            await screen.shows("live")
            await screen.app.base.query_one("#views").remove()
            screen.app.draw()
            screen.app.take()
            await screen.app.base.remove_children()
            screen.app.draw()
            screen.app.take()

    run(main())


def test_no_instance_says_what_to_do(monitor):
    async def main():
        async with screen_of(monitor.url) as screen:
            await screen.shows("no instances yet; try: heartfelt demo --monitor")
            await screen.press("j", "k", "enter", "p", "x", "R", "l", "h", "G")
            await screen.press("3", "j", "enter")
            assert screen.app.screen is screen.app.base
            await screen.shows("no events yet")
            assert not screen.app.query_one(Input).has_focus

    run(main())


def test_without_a_terminal_it_says_what_else_prints():
    done = run_command("top", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "heartfelt ls" in done.stderr
    assert run_command("top", "--token-env", "A", "--token-file", "b").returncode == 2
