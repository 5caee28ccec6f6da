# SPDX-License-Identifier: MIT
"""The data of `heartfelt top` and its texts, tested without a terminal and without a monitor."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("textual")

from rich.cells import cell_len
from textual.color import Color

from heartfelt.cli._top.fleet import MOST_EVENTS, FleetState
from heartfelt.cli._top.marks import MARKS, STEPS, ago, cell_style, chip_style, fitted, step_of
from tests.cli.fake_monitor import NOW_MS, change_of, view_of


def make_fleet(*views):
    fleet = FleetState()
    counts = {"total": len(views), "up": len(views), "held": 0, "states": {}}
    services = {"all": counts, "applications": 1, "services": {"shop": counts}}
    fleet.load(views, services, {"state": "NONE"}, [])
    return fleet


def test_beats_renew_and_never_go_back():
    fleet = make_fleet(view_of(1))
    fleet.happen("beats", [[1, NOW_MS + 500], [99, NOW_MS]])
    fleet.happen("beats", [[1, NOW_MS + 200]])
    assert fleet.rows[1].last_beat_ms == NOW_MS + 500
    assert fleet.rows[1].share_left(NOW_MS + 5500) == pytest.approx(0.5)
    assert fleet.rows[1].share_left(NOW_MS + 99_000) == 0
    assert fleet.rows[1].share_left(NOW_MS) == 1  # a clock a little behind


def test_changes_told_twice_or_late_do_no_harm():
    fleet = make_fleet(view_of(1))
    fleet.happen("change", change_of(5, 1, "LOST"))
    fleet.happen("change", change_of(3, 1, "LATE"))
    assert fleet.rows[1].shown == "LOST"
    fleet.happen("change", change_of(9, 1, "REMOVED"))
    members = fleet.members
    fleet.happen("change", change_of(9, 1, "REMOVED"))
    assert (len(fleet.rows), fleet.members) == (0, members)


def test_who_joins_is_there_at_once_and_known_later():
    fleet = make_fleet(view_of(1))
    fleet.happen("change", change_of(1, 7, "NEW", old=None))
    assert fleet.rows[7].provisional
    assert fleet.rows[7].share_left(NOW_MS + 99_000) == 1  # its lease is not known
    assert fleet.newcomers == {7}
    fleet.happen("change", change_of(2, 8, "NEW", old=None))
    fleet.complete([view_of(7, host="here"), view_of(1, host="not again")])
    assert (fleet.rows[7].host, fleet.rows[1].host) == ("here", "host-1")
    assert not fleet.newcomers  # 8 is not asked for again and again


def test_who_came_back_is_read_anew_but_never_set_back():
    fleet = make_fleet(view_of(1, state="LOST"), view_of(2))
    fleet.happen("change", change_of(5, 1, "UP", old="LOST"))
    assert fleet.outdated == {1}
    fleet.happen("change", change_of(9, 1, "STUCK"))
    fleet.happen("beats", [[1, NOW_MS + 70]])
    fleet.renew([view_of(1, since_ms=NOW_MS + 5, version="2", lease_ms=99), view_of(77)])
    row = fleet.rows[1]
    assert (row.version, row.lease_ms, row.state, row.last_beat_ms) == ("2", 99, "STUCK", NOW_MS + 70)
    assert 77 not in fleet.rows
    fleet.renew([view_of(1, since_ms=NOW_MS + 10)])
    assert fleet.rows[1].state == "UP"


def test_held_is_a_state_of_its_own_until_the_next_change():
    fleet = make_fleet(view_of(1, state="LATE", held=True), view_of(2), view_of(3))
    assert [fleet.rows[n].shown for n in (1, 2)] == ["HELD", "UP"]
    fleet.set_held({1, 2, 77})
    assert [fleet.rows[n].shown for n in (1, 2, 3)] == ["HELD", "HELD", "UP"]
    fleet.happen("change", change_of(1, 1, "LOST", old="LATE"))
    assert fleet.rows[1].shown == "LOST"
    fleet.set_held(set())
    assert fleet.rows[2].shown == "UP"


def test_a_filter_needs_all_its_terms():
    fleet = make_fleet(view_of(1, "payment", "LOST"), view_of(2, "payment"), view_of(3, "upload"))
    assert {row.id for row in fleet.find("payment lost")} == {1}
    assert {row.id for row in fleet.find("UP")} == {2, 3}  # a state, and a part of a word
    assert {row.id for row in fleet.find("host-3")} == {3}
    assert len(fleet.find("  ")) == 3


def test_events_are_bounded_and_newest_first():
    fleet = make_fleet(view_of(1))
    for seq in range(MOST_EVENTS + 10):
        fleet.happen("change", change_of(seq, 1, "LATE" if seq % 2 else "UP"))
    found = fleet.find_events("")
    assert len(found) == MOST_EVENTS
    assert found[0].number > found[1].number
    assert len(fleet.find_events("instance_late")) == MOST_EVENTS // 2


def test_events_stand_in_the_order_of_their_times():
    fleet = make_fleet(view_of(1))
    given = {"service": "s", "instance_id": "i", "level": "NORMAL", "type": "LOG", "info": {}}
    for time_ms, received_ms in ((5, 6), (2, 7), (2, 8), (900, 9)):  # the last one's clock is ahead
        fleet.happen("event", {**given, "time_ms": NOW_MS + time_ms, "received_ms": NOW_MS + received_ms})
    fleet.happen("change", change_of(4, 1, "LATE"))
    assert [one.at_ms - NOW_MS for one in fleet.find_events("")] == [9, 5, 4, 2, 2]
    assert [one.event["received_ms"] - NOW_MS for one in fleet.find_events("")[-2:]] == [8, 7]


def test_counts_of_services_come_and_go():
    fleet = make_fleet(view_of(1))
    counts = {"total": 2, "up": 2, "held": 0, "states": {"UP": 2}}
    fleet.happen("counts", {"all": counts, "applications": 1, "services": {"cart": counts, "shop": None}})
    assert (fleet.counts["total"], list(fleet.services)) == (2, ["cart"])


def test_texts_of_others_fit_exactly_and_steer_nothing():
    seeded = random.Random(7)
    letters = "a \x1b[31m\x07\u202e\u200d\u0301\u4e2d\U0001f600\x9b\n[/]"
    for _ in range(3000):
        text = "".join(seeded.choice(letters) for _ in range(seeded.randrange(30)))
        width = seeded.randrange(1, 25)
        fit = fitted(text, width)
        assert cell_len(fit) == width, (text, width)
        assert fit.isprintable()
    assert fitted("heartfelt", 5) == "hear\N{HORIZONTAL ELLIPSIS}"
    assert fitted("heart", 5) == "heart"
    assert len(fitted("x" * 10_000_000, 9)) == 9


def contrast(style):
    def luminance(colour):
        parts = [part / 255 for part in Color.from_rich_color(colour).rgb]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(style.color), luminance(style.bgcolor)))
    return (light + 0.05) / (dark + 0.05)


def test_states_can_be_told_without_colour_and_read_at_each_brightness():
    assert len({mark.letter for mark in MARKS.values()}) == len(MARKS)
    for state in MARKS:
        assert contrast(chip_style(state)) >= 4.5, state
        for background in ("#101418", "#FFFFFF"):
            for step in range(STEPS + 1):
                if state != "UP":  # its sign is quiet on purpose; the lack of a letter tells it
                    assert contrast(cell_style(state, step, background)) >= 4.5, (state, step, background)


def test_a_cell_fades_step_by_step():
    steps = [step_of("UP", share / 100) for share in range(101)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, STEPS)
    assert step_of("LOST", 0.0) == STEPS
    fills = [Color.from_rich_color(cell_style("UP", step, "#101418").bgcolor).brightness for step in range(STEPS + 1)]
    assert fills == sorted(set(fills))


@pytest.mark.parametrize(
    ("ms", "text"), [(-5, "0.0 s"), (2340, "2.3 s"), (9960, "10 s"), (119_000, "119 s"), (120_000, "2 m"),
                     (7_100_000, "118 m"), (7_200_000, "2 h"), (10**11, "1157 d")],
)  # fmt: skip
def test_ages_are_short(ms, text):
    assert ago(ms) == text
