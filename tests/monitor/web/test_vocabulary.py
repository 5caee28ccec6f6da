# SPDX-License-Identifier: MIT
"""States, levels, webhook kinds and topics are known in every place that shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heartfelt.cli import ls
from heartfelt.monitor.model import DOWN, WORST_FIRST, Level, State
from heartfelt.monitor.web import panel
from heartfelt.monitor.web.stream import TOPICS
from heartfelt.monitor.webhooks import target_state
from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.payloads import make_request
from heartfelt.monitor.webhooks.targets import Kind, make_target
from heartfelt.monitor.webhooks.texts import title
from heartfelt.monitor.webhooks.verdicts import judge
from tests.monitor.webhooks.parts import START_MS, make_change

FOLDER = Path(panel.__file__).parent
LANGUAGES = ("en", "zh")
URLS = {Kind.DINGTALK: "https://oapi.dingtalk.com/robot/send?access_token=x"}


def read(name):
    return (FOLDER / name).read_text("utf-8")


def listed(text, start):
    """The strings of the JavaScript list that begins with `start`."""
    return re.findall(r'"([^"]+)"', text.split(start, 1)[1].split("]", 1)[0])


@pytest.mark.parametrize("state", [state.value for state in State])
def test_each_state_is_known_to_the_panel(state):
    assert re.search(rf"^  {state}: \{{ letter: \"\w\", colour: ", read("lib/state.js"), re.MULTILINE)
    assert f'[data-state="{state}"]' in read("style/parts.css")
    assert state in listed(read("parts/webhook-deliveries.js"), "const KNOWN = new Set([")
    for language in LANGUAGES:
        words = read(f"words/{language}/states.js")
        assert f"  {state}: " in words
        assert f"  {state}_means: " in words


def test_each_states_colour_is_defined():
    used = re.findall(r'colour: "(--\w+)"', read("lib/state.js"))
    assert len(used) == len(State)
    for name in used:
        assert f"  {name}: light-dark(" in read("style/base.css"), name


def test_the_order_of_states_is_the_same_everywhere():
    order = [state.value for state in WORST_FIRST]
    assert re.findall(r'^  (\w+): { letter: "', read("lib/state.js"), re.MULTILINE) == [*order, "REMOVED"]
    assert list(ls.STATES) == order
    marks = pytest.importorskip("heartfelt.cli._top.marks")
    assert [state for state in marks.MARKS if state != "HELD"] == order
    assert marks.DOWN - {"HELD"} == {state.value for state in DOWN}


@pytest.mark.parametrize("state", [state.value for state in State])
def test_each_state_has_a_chinese_word_in_webhooks(state):
    change = make_change(1, old=None, new=state)
    assert state in title(of_entry(of_change(change, False)), "en")
    assert state not in title(of_entry(of_change(change, False)), "zh")


def test_the_command_line_knows_all_states_of_instances():
    states = {state.value for state in State} - {"REMOVED"}
    assert set(ls.STATES) == states
    marks = pytest.importorskip("heartfelt.cli._top.marks")
    assert set(marks.MARKS) == states | {"HELD"}
    assert {mark.letter for mark in marks.MARKS.values()} > {"X"}
    assert len({mark.letter for mark in marks.MARKS.values()}) == len(marks.MARKS)


def test_each_level_is_known():
    levels = [level.value for level in Level]
    assert listed(read("parts/webhook-editor.js"), "const LEVELS = [") == levels
    for language in LANGUAGES:
        words = read(f"words/{language}/webhooks.js")
        assert all(f"  level_{level}: " in words for level in levels)
    assert pytest.importorskip("heartfelt.cli._top.marks").LEVELS.keys() == set(levels)


def test_each_kind_of_webhook_has_a_rate_and_can_be_chosen_in_the_panel():
    kinds = [kind.value for kind in Kind]
    assert set(target_state._PACE) == set(Kind)
    assert listed(read("parts/webhook-editor.js"), "const KINDS = [") == kinds
    for language in LANGUAGES:
        words = read(f"words/{language}/webhooks.js")
        assert all(f"  kind_{kind}: " in words for kind in kinds)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_webhook_has_a_message_and_a_verdict_of_its_own(kind):
    target = make_target({"kind": kind.value, "url": URLS.get(kind, "https://example.com/x")}, now_ms=0, id="t")
    request = make_request(target, of_entry(of_change(make_change(1), False)), START_MS)
    assert b"shop" in request.body
    assert not judge(kind, 500, b"").ok
    if kind is not Kind.GENERIC:
        bodies = {
            make_request(
                make_target({"kind": one.value, "url": URLS.get(one, "https://example.com/x")}, now_ms=0, id="t"),
                of_entry(of_change(make_change(1), False)),
                START_MS,
            ).body
            for one in Kind
        }
        assert len(bodies) == len(Kind)
        answer = {Kind.SLACK: b"no_text"}.get(kind, b'{"errcode":310000,"code":19024}')
        assert judge(kind, 200, answer).refused and judge(Kind.GENERIC, 200, answer).ok


def test_the_panel_subscribes_only_to_topics_that_exist():
    used = {topic for path in FOLDER.rglob("*.js") if "vendor" not in path.parts
            for topic in re.findall(r"\b(?:useLive|subscribe)\(\"(\w+)\"", path.read_text("utf-8"))}  # fmt: skip
    assert used
    assert used <= {*TOPICS, "resync"}
