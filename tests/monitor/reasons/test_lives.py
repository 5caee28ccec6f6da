# SPDX-License-Identifier: MIT
"""Reasons as they come about: each can be read, said and stored. Where nothing changes, none is made."""

from __future__ import annotations

from heartfelt.monitor.fleet import reasons as of_fleet
from heartfelt.monitor.model import Hold, HoldState
from heartfelt.monitor.reasons import LANGUAGES, Reason, make, read, sentence, text_reason
from heartfelt.monitor.store.rows import hold_of, hold_text, reason_columns, reason_of
from tests.monitor.fleet.world import World
from tests.monitor.reasons import lives


def test_what_comes_about_can_be_read_said_and_stored():
    for reason in lives.lived():
        assert read(reason.code, reason.args) == reason
        assert reason_of(*reason_columns(reason)) == reason
        hold = Hold(state=HoldState.HOLDING, reason=reason, until_ms=7)
        assert hold_of(hold_text(hold)) == hold
        for language in LANGUAGES:
            assert sentence(reason, language)


def test_a_stored_reason_that_cannot_be_read_says_what_is_known_of_it():
    assert reason_of("", "of_the_future", '{"a": 1}') == text_reason("of_the_future")
    assert reason_of("its words", "lost", "{}") == text_reason("its words")
    assert reason_of("its words", "text", "{}") == text_reason("its words")
    assert reason_of("", "text", "{}") == Reason()


def test_a_beat_of_an_instance_that_is_up_makes_no_reason(monkeypatch):
    world = World()
    world.join("web/1", interval_ms=3000)
    world.beat("web/1")
    before = world.of("web/1").reason
    assert before == make("second_heartbeat", gap_ms=0)
    made = []
    for name in ("make", "Reason"):
        whole = getattr(of_fleet, name)
        monkeypatch.setattr(
            of_fleet, name, lambda *args, whole=whole, **more: made.append(args) or whole(*args, **more)
        )
    for _ in range(3):
        world.advance(1)
        world.beat("web/1")
    assert made == [] and world.of("web/1").reason is before
    world.advance(60)
    assert [args[0] for args in made] == ["late", "lost"]
    world.close()
