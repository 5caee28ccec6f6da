# SPDX-License-Identifier: MIT
"""The frames that real agents of Sermant wrote: each is understood as a whole, by the parser and at the port."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from heartfelt.monitor.ingest.decode import agent_event, decode_beat, decode_events
from heartfelt.monitor.model import Level
from heartfelt.wire import FrameDecoder
from heartfelt.wire.frames import EVENT, HEARTBEAT, TRACING, VISIBILITY
from tests.monitor.ingest.world import ingest
from tests.sermant_frames import ORDERS, STOPPED, STOPPED_MS, recorded

HOT = {"status": "started", "beats": "1", "中文": "值 <b>&\"'"}
PLUGINS = {
    "template": {"name": "template", "version": "1.2.0", "extInfo": HOT},
    "nover": {"name": "nover", "version": "unknown"},
    "flowcontrol": {"name": "flowcontrol", "version": "2.2.0"},
    "my_plugin-x": {"name": "my_plugin-x", "version": "0.0.1-SNAPSHOT"},
    "service-router": {"name": "service-router", "version": "2.2.0"},
}
BEATS = {
    "heartbeat_jdk17": ("order_service", "7814bc2a-2e88-4d94-8096-cbdf3f83b268", 1795319873305, 1795319872476),
    "heartbeat_plugins_ext_info": ("orders-svc", ORDERS, 1795983630352, 1795983627355),
    "heartbeat_utf8_underscore": (
        "订单_svc", "d3c02e41-39c4-4bf0-8ee8-eb6730b15f7c", 1795983667868, 1795983664888,
    ),
    "heartbeat_external_agent": ("orders-svc", STOPPED, 1795983672797, 1795983669805),
    "heartbeat_v1_1_0": ("old-svc", "91f3152e-f9f6-4007-963d-a142029243ba", 1795985042922, 1795985042607),
}  # fmt: skip


def messages(name):
    decoder = FrameDecoder()
    found = list(decoder.feed(recorded(name)))
    assert decoder.pending == 0
    return found


def beat_in(name):
    (message,) = messages(name)
    assert message.kind == HEARTBEAT
    return decode_beat(message.data, "sermant", "192.0.2.2", meta_bytes=1 << 16)


def events_in(name):
    (message,) = messages(name)
    assert message.kind == EVENT
    instance_id, texts = decode_events(message.data)
    return [agent_event(text, "orders-svc", instance_id, "192.0.2.2", STOPPED_MS, 1 << 16) for text in texts]


@pytest.mark.parametrize("name", BEATS)
def test_a_heartbeats_names_and_times(name):
    beat = beat_in(name)
    assert (beat.service, beat.instance_id, beat.agent_time_ms, beat.agent_last_time_ms) == BEATS[name]
    assert beat.meta["hostName"] == "vm"
    assert beat.meta["ip"] == ["192.0.2.2"]


@pytest.mark.parametrize("name", [name for name in BEATS if name not in ("heartbeat_jdk17", "heartbeat_v1_1_0")])
def test_plugins_with_what_they_say_of_themselves(name):
    assert beat_in(name).meta["pluginInfoMap"] == PLUGINS


def test_another_agent_in_the_process():
    assert beat_in("heartbeat_external_agent").meta["externalAgentInfoMap"] == {
        "OTHER": {"name": "OTHER", "version": "2.11.0"}
    }


def test_what_an_old_version_does_not_say_is_not_made_up():
    assert set(beat_in("heartbeat_v1_1_0").meta) == {"appType", "hostName", "ip", "pluginInfoMap", "version"}


def test_events_of_a_start():
    first, *others = events_in("events_start")
    assert (first.type, first.scope, first.name, first.level) == ("LOG", None, "WARNING", Level.IMPORTANT)
    assert first.info["logMessage"].startswith("Fail to read class name from file")
    assert [one.name for one in others] == [
        *["SERMANT_SERVICE_START"] * 2, *["SERMANT_PLUGIN_LOAD"] * 5, "SERMANT_START",
    ]  # fmt: skip
    assert {(one.type, one.scope, one.level) for one in others} == {("OPERATION", "framework", Level.NORMAL)}
    assert others[0].time_ms < first.time_ms < others[-1].time_ms


def test_events_of_a_stop():
    found = events_in("events_stop")
    assert [(one.instance_id, one.name, one.time_ms) for one in found] == [
        (STOPPED, "SERMANT_SERVICE_STOP", STOPPED_MS), (STOPPED, "SERMANT_STOP", STOPPED_MS),
    ]  # fmt: skip


def test_twelve_messages_of_all_kinds():
    found = messages("messages_12")
    assert Counter(one.kind for one in found) == dict.fromkeys((HEARTBEAT, EVENT, TRACING, VISIBILITY), 3)
    beat = decode_beat(found[2].data, "sermant", "", meta_bytes=1 << 16)
    assert (beat.service, beat.instance_id) == ("multi-extra", "extra-47545db8-8c72-438a-b809-4bbc214e050b")
    assert beat.meta == {"ip": ["192.0.2.77"], "pluginInfoMap": {}}


def test_all_of_them_at_the_port_one_after_the_other():
    async def test(world):
        _, writer = await world.connect()
        names = [*BEATS, "events_start", "messages_12"]
        writer.write(b"".join(map(recorded, names)))
        writer.close()
        await world.until(lambda: world.counters.events["sermant"] == 12)
        assert world.counters.refused == {}
        assert len(world.registry) == 6
        for service, instance_id, sent_ms, before_ms in BEATS.values():
            instance = world.find(instance_id, service)
            assert (instance.agent_time_ms, instance.agent_last_time_ms) == (sent_ms, before_ms)
        assert world.find("extra-47545db8-8c72-438a-b809-4bbc214e050b", "multi-extra").beats == 3
        assert Counter((one.service, one.type) for one in world.events) == {
            ("orders-svc", "OPERATION"): 8, ("orders-svc", "LOG"): 1, ("", "GOVERNANCE"): 3,
        }  # fmt: skip
        assert world.sermant.stats()["messages_ignored"] == 6

    async def main():
        async with ingest() as world:
            await test(world)

    asyncio.run(main())
