# SPDX-License-Identifier: MIT
"""Targets: the fields a user may set, what is shown of them, and what is sent to them."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor.model import Level
from heartfelt.monitor.webhooks.targets import TargetError, is_recovery, make_target, masked, updated_target
from tests.monitor.webhooks.parts import make_change, make_event

GOOD = {"kind": "generic", "url": "https://example.com/path-key?token=query-key", "secret": "the-secret"}


def target(**fields):
    return make_target({**GOOD, **fields}, now_ms=5)


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    [
        ({"kind": "carrier-pigeon"}, "kind", "must be one of generic, dingtalk, feishu, slack"),
        ({"kind": None}, "kind", "missing"),
        ({"kind": []}, "kind", "missing"),
        ({"kind": {"a": 1}}, "kind", "must be one of"),
        ({"url": ""}, "url", "missing"),
        ({"url": 5}, "url", "must be text, not int"),
        ({"url": "ftp://example.com/"}, "url", "not an address such as"),
        ({"url": "https:///x"}, "url", "not an address such as"),
        ({"url": "https://example.com:99999/"}, "url", "not an address such as"),
        ({"url": "https://u:p@example.com/"}, "url", "user or password"),
        ({"url": "https://example.com/#x"}, "url", "# part"),
        ({"url": "https://example.com/" + "x" * 3000}, "url", "at most 2048 characters"),
        ({"url": "https://exämple.com/"}, "url", "xn--"),
        ({"url": "https://127.0.0.1/"}, "url", "allow_private"),
        ({"kind": "slack", "url": "http://example.com/x", "secret": None}, "url", "must begin with https:"),
        ({"kind": "slack"}, "secret", "must be empty for Slack"),
        ({"secret": ""}, "secret", "null for none"),
        ({"secret": ["the-secret"]}, "secret", "must be text, not list"),
        ({"name": " "}, "name", "printable"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"enabled": "yes"}, "enabled", "bool"),
        ({"colour": "red"}, "colour", "is not a field"),
        ({"id": "x"}, "id", "is not a field"),
        ({"language": "fr"}, "language", "must be one of en, zh"),
        ({"filter": {"states": ["DEAD"]}}, "filter.states", "DEAD"),
        ({"filter": {"state": []}}, "filter.state", "state"),
        ({"filter": {"services": [""]}}, "filter.services", "services"),
        ({"filter": {"services": ["x"] * 101}}, "filter.services", "services"),
        ({"filter": {"event_types": ["log"]}}, "filter.event_types", "'log' is not an event type"),
        ({"kind": "feishu", "template": "{}"}, "template", "generic only"),
    ],
)
def test_each_refusal_names_the_field_and_the_remedy_and_no_secret(fields, field, text):
    with pytest.raises(TargetError) as caught:
        target(**fields)
    assert caught.value.field == field and text in str(caught.value)
    assert "the-secret" not in str(caught.value) and "query-key" not in str(caught.value)


def test_what_is_shown_has_no_secrets():
    made = target()
    shown = masked(made)
    assert (shown["url"], shown["secret"]) == ("https://example.com/***", "***")
    for text in (str(shown), repr(made), str(made)):
        assert "the-secret" not in text and "path-key" not in text and "query-key" not in text
    assert masked(target(secret=None))["secret"] is None


def test_what_was_masked_can_be_sent_back():
    made = target()
    shown = masked(made)
    changed = updated_target(made, {"url": shown["url"], "secret": shown["secret"], "name": "new"}, now_ms=9)
    assert (changed.url, changed.secret, changed.name, changed.changed_ms) == (made.url, made.secret, "new", 9)
    assert (changed.id, changed.created_ms) == (made.id, 5)
    assert updated_target(made, {"secret": None}, now_ms=9).secret is None


def test_another_host_does_not_inherit_the_secret():
    with pytest.raises(TargetError, match="secret: must be given again"):
        updated_target(target(), {"url": "https://evil.example/"}, now_ms=9)
    with pytest.raises(TargetError, match="secret: must be given again"):
        updated_target(target(), {"url": "https://evil.example/", "secret": "***"}, now_ms=9)
    assert updated_target(target(), {"url": "https://example.com/other"}, now_ms=9).secret == "the-secret"
    assert updated_target(target(), {"url": "https://evil.example/", "secret": "new"}, now_ms=9).secret == "new"


@pytest.mark.parametrize(
    ("which", "old", "new", "more", "told"),
    [
        ({}, "UP", "LOST", {}, True),
        ({}, "LOST", "UP", {"level": "NORMAL"}, True),
        ({}, "LOST", "UP", {"outage_ms": 5}, True),
        ({}, "NEW", "UP", {}, False),
        ({}, None, "NEW", {}, False),
        ({}, "LATE", "UP", {}, False),
        ({}, "UP", "LATE", {}, False),
        ({}, "UP", "LEFT", {}, False),
        ({}, "PAUSED", "UP", {}, False),
        ({"states": []}, "NEW", "UP", {}, True),
        ({"states": ["LATE", "UP"]}, "LATE", "UP", {}, True),
        ({"states": ["LATE", "UP"]}, "LOST", "UP", {}, True),  # if it was told of the loss: told.py
        ({"states": ["LOST", "UP"]}, "FAILED", "UP", {}, True),
        ({}, "UP", "FAILED", {}, True),
        ({}, "LOST", "LOST", {}, True),  # an acknowledgement ran out
        ({}, "LOST", "FAILED", {"level": "NORMAL"}, False),  # acknowledged
        ({"levels": ["NORMAL"]}, "LOST", "FAILED", {"level": "NORMAL"}, True),
        ({"states": ["LEFT"]}, "UP", "LEFT", {"level": "NORMAL"}, True),
        ({}, "UP", "STUCK", {"level": "IMPORTANT"}, True),
        ({}, "STUCK", "UP", {"level": "IMPORTANT"}, True),
        ({}, "STUCK", "LATE", {"level": "NORMAL"}, False),  # not yet a recovery
        ({"states": ["LOST"]}, "LOST", "UP", {}, False),
        ({"states": ["NEW"]}, None, "NEW", {}, True),
        ({"states": ["STUCK", "UP"]}, "STUCK", "UP", {}, True),
        ({"levels": ["EMERGENCY"]}, "UP", "LOST", {}, True),
        ({"levels": ["EMERGENCY"]}, "UP", "LOST", {"level": "NORMAL"}, False),
        ({"levels": ["EMERGENCY"]}, "LOST", "UP", {"level": "NORMAL"}, True),
        ({"services": ["sh*"]}, "UP", "LOST", {}, True),
        ({"services": ["SH*", "x"]}, "UP", "LOST", {}, False),
        ({"services": ["[a-z]hop"]}, "UP", "LOST", {}, True),
        ({"event_types": ["LOG"]}, "UP", "LOST", {}, False),
        ({"event_types": ["*"]}, "UP", "LOST", {}, True),
    ],
)
def test_which_changes_are_told(which, old, new, more, told):
    change = make_change(1, old=old, new=new, **more)
    assert target(filter=which).wants_change(change, is_recovery(change)) is told


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ({}, False),
        ({"event_types": ["LOG"]}, True),
        ({"event_types": ["OPERATION"]}, False),
        ({"event_types": ["*"]}, True),
        ({"event_types": []}, True),
        ({"event_types": ["LOG"], "levels": ["NORMAL"]}, False),
        ({"event_types": ["LOG"], "services": ["other"]}, False),
        ({"event_types": ["LOG"], "states": ["NEW"]}, True),
    ],
)
def test_which_events_are_told(which, told):
    assert target(filter=which).wants_event(make_event(level=Level.EMERGENCY)) is told


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ({}, True),
        ({"levels": ["EMERGENCY"]}, True),
        ({"levels": ["NORMAL"]}, True),
        ({"levels": ["IMPORTANT"]}, False),
        ({"event_types": ["HOLD"]}, True),
        ({"event_types": ["LOG"]}, False),
        ({"services": ["other"]}, False),
    ],
)
def test_who_is_told_of_losses_is_told_that_a_hold_has_ended(which, told):
    assert target(filter=which).wants_event(make_event(type="HOLD", level=Level.NORMAL)) is told


def test_events_that_repeat_a_change_are_not_told():
    assert not target(filter={"event_types": ["*"]}).wants_event(make_event(type="STATE"))
