# SPDX-License-Identifier: MIT
"""JSON -> beats and events: what is understood, and how everything else is refused."""

from __future__ import annotations

import json

import msgspec
import pytest

from heartfelt.monitor.ingest.decode import (
    BadInput,
    agent_event,
    decode_beat,
    decode_events,
    decode_goodbye,
    parse_duration_ms,
)
from heartfelt.monitor.model import Level
from heartfelt.wire import FrameDecoder
from tests.sermant_frames import recorded

VECTOR = recorded("heartbeat_jdk17")


def beat(text, meta_bytes=1 << 16):
    return decode_beat(
        text if isinstance(text, bytes) else json.dumps(text).encode(), "http", "::1", meta_bytes=meta_bytes
    )


def test_a_java_agents_frame():
    (message,) = FrameDecoder().feed(VECTOR)
    told = beat(message.data)
    assert (told.service, told.instance_id) == ("order_service", "7814bc2a-2e88-4d94-8096-cbdf3f83b268")
    assert told.agent_time_ms - told.agent_last_time_ms == 829
    assert told.meta["appName"] == "backend-demo" and told.meta["ip"] == ["192.0.2.2"]
    assert not {"service", "instanceId", "heartbeatTime", "lastHeartbeatTime"} & told.meta.keys()


def test_all_fields():
    told = beat(
        {
            "service": "s",
            "instanceId": "i",
            "intervalMs": 5000,
            "timeoutMs": 20000,
            "lagMs": 3,
            "beat": 7,
            "heartbeatTime": 10,
            "lastHeartbeatTime": 5,
            "goodbye": True,
            "pluginInfoMap": {"p": {"name": "p", "version": "1", "extInfo": {"a": "b"}}},
            "externalAgentInfoMap": {"o": {"name": "o", "version": "2"}},
            "hostName": None,
            "region": {"of": ["its", "own"]},
        }
    )
    assert (told.interval_ms, told.timeout_ms, told.lag_ms, told.number) == (5000, 20000, 3, 7)
    assert (told.agent_time_ms, told.agent_last_time_ms, told.goodbye) == (10, 5, True)
    assert set(told.meta) == {"pluginInfoMap", "externalAgentInfoMap", "region"}  # null: absent; unknown: kept


GOOD = {"service": "s", "instanceId": "i"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"no", "json"),
        (b"\xff\xfe{}", "json"),
        (b'{"service":"\xff","instanceId":"i"}', "json"),
        (b'{"service":"\\ud800","instanceId":"i"}', "json"),
        (b"[" * 60_000, "field"),
        (b"[" * 100_000, "meta_size"),
        (b'{"service":"s","instanceId":"i","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "json"),
        (b"[]", "field"),
        (b"3", "field"),
        ({}, "service_missing"),
        ({"service": "s"}, "instance_missing"),
        ({"service": "", "instanceId": "i"}, "service_missing"),
        ({"service": "s\n", "instanceId": "i"}, "key"),
        ({"service": "s", "instanceId": "\x00"}, "key"),
        ({"service": 3, "instanceId": "i"}, "field"),
        ({**GOOD, "ip": "10.0.0.1"}, "field"),
        ({**GOOD, "ip": [1]}, "field"),
        ({**GOOD, "pluginInfoMap": []}, "field"),
        ({**GOOD, "pluginInfoMap": {"a": {"name": 1}}}, "field"),
        ({**GOOD, "pluginInfoMap": {"a": {"extInfo": {"x": 1}}}}, "field"),
        ({**GOOD, "heartbeatTime": "now"}, "field"),
        ({**GOOD, "heartbeatTime": -1}, "field"),
        ({**GOOD, "heartbeatTime": 1 << 60}, "field"),
        ({**GOOD, "heartbeatTime": 10**400}, "field"),
        ({**GOOD, "timeoutMs": 0}, "field"),
        ({**GOOD, "timeoutMs": True}, "field"),
        ({**GOOD, "intervalMs": 1 << 50}, "field"),
        ({**GOOD, "lagMs": 0.5}, "field"),
        ({**GOOD, "x": "y" * 100_000}, "meta_size"),
    ],
)
def test_what_is_refused(text, reason):
    with pytest.raises(BadInput) as caught:
        beat(text)
    assert caught.value.reason == reason
    assert str(caught.value)


def test_events():
    text = {
        "metaHash": "i",
        "events": [
            {"time": 5, "scope": "framework", "eventLevel": "NORMAL", "eventType": "OPERATION", "metaHash": "i",
             "eventInfo": {"name": "SERMANT_START", "description": "..."}, "logInfo": None},
            {"time": 6, "eventLevel": "emergency", "eventType": "LOG", "logInfo": {"logMessage": "x"}},
        ],
    }  # fmt: skip
    instance_id, events = decode_events(json.dumps(text).encode())
    first, second = [agent_event(event, "s", instance_id, "ip", 9, 1000) for event in events]
    assert (first.time_ms, first.received_ms, first.scope, first.type) == (5, 9, "framework", "OPERATION")
    assert first.info["name"] == "SERMANT_START"
    assert (second.level, second.type, second.info) == (Level.EMERGENCY, "LOG", {"logMessage": "x"})


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"eventLevel": "LOUD"}, "field"),
        ({"scope": "x" * 101}, "field"),
        ({"eventInfo": {"a": "x" * 1000}}, "event_size"),
    ],
)
def test_events_that_are_refused(event, reason):
    _, events = decode_events(json.dumps({"events": [event]}).encode())
    with pytest.raises(BadInput) as caught:
        agent_event(events[0], "s", "i", "", 9, 1000)
    assert caught.value.reason == reason


def test_bounds_on_a_run_that_no_run_can_keep():
    fields = {"service": "s", "instanceId": "i", "minDurationMs": 2000}
    with pytest.raises(BadInput, match="minDurationMs 2000 is above maxDurationMs 1999; swap them"):
        beat(fields | {"maxDurationMs": 1999})
    assert beat(fields | {"maxDurationMs": 2000}).max_duration_ms == 2000


def test_too_many_events():
    with pytest.raises(BadInput, match="1001 events"):
        decode_events(json.dumps({"events": [{}] * 1001}).encode())


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90", 90_000), ("1.5", 1500), ("250ms", 250), ("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000),
     ("1d12h", 129_600_000), ("2w", 1_209_600_000), (" 5 M ".replace(" ", ""), 300_000)],
)  # fmt: skip
def test_durations(text, ms):
    assert parse_duration_ms("timeout", text) == ms


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "5x", "m", "1e5", "5m30", "30 5m", "400d", "0.0001s", "5 apples", "nan"]
)
def test_durations_that_cannot_be(text):
    with pytest.raises(BadInput, match="must be a duration"):
        parse_duration_ms("timeout", text)


def test_the_size_is_judged_before_the_text_is_read():
    """A text that is too large may be anything: it is refused for its size, not for its content."""
    for text in (b"[" * 200_000, b'{"service":' + b"\xff" * 200_000):
        with pytest.raises(BadInput) as refused:
            decode_beat(text, "http", "", meta_bytes=1 << 16)
        assert refused.value.reason == "meta_size"
        with pytest.raises(BadInput) as refused:
            agent_event(msgspec.Raw(text), "shop", "i", "", 0, 1 << 16)
        assert refused.value.reason == "event_size"
        with pytest.raises(BadInput) as refused:
            decode_goodbye(text)
        assert refused.value.reason == "meta_size"
