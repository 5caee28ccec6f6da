# SPDX-License-Identifier: MIT
"""Metadata is kept as JSON, and equal parts of that of many instances are kept once."""

from __future__ import annotations

import json

import msgspec
import pytest

from heartfelt.monitor.store.rows import to_json
from heartfelt.monitor.store.shared_meta import MOST, SharedMeta
from tests.monitor.fleet.world import saved


def plugins(version="2.1.0"):
    return {"pluginInfoMap": {f"plugin-{n}": {"name": f"plugin-{n}", "version": version} for n in range(3)}}


def test_instances_share_plugins_that_are_alike(world):
    one = world.beat("web/1", meta={"hostName": "a"} | plugins())
    two = world.beat("web/2", meta={"hostName": "b"} | plugins())
    newer = world.beat("web/3", meta={"hostName": "c"} | plugins("2.2.0"))
    assert one.meta["pluginInfoMap"] is two.meta["pluginInfoMap"]
    assert [one.meta["hostName"], two.meta["hostName"]] == ["a", "b"]
    assert newer.meta == {"hostName": "c"} | plugins("2.2.0")


def test_a_beat_that_tells_other_plugins_changes_its_instance_alone(world):
    one = world.beat("web/1", meta=plugins())
    two = world.beat("web/2", meta=plugins())
    world.beat("web/1", meta=plugins("2.2.0"))
    assert one.meta == plugins("2.2.0")
    assert two.meta == plugins()


def test_so_do_those_that_are_restored(world, make_world):
    world.join("web/1", "web/2", meta=plugins())
    rows = [msgspec.structs.replace(row, meta=plugins()) for row in world.rows.values()]
    new = make_world()
    new.registry.restore(saved(rows, next_id=3))
    assert new.of("web/1").meta["pluginInfoMap"] is new.of("web/2").meta["pluginInfoMap"]
    assert new.of("web/1").meta == plugins()


def test_instances_have_the_names_of_service_and_application_in_common(world):
    one, two = (world.beat(key, meta={"appName": "".join(("sh", "op"))}) for key in ("web/1", "web/2"))
    assert one.service is two.service
    assert one.app is two.app
    world.beat("web/1", meta={"appName": "other"})
    assert (one.app, two.app) == ("other", "shop")
    assert dict(world.registry.applications()) == {"other": 1, "shop": 1}


def test_what_is_known_to_be_shared_is_bounded():
    shared = SharedMeta()
    first = shared.pack(plugins("0"))
    assert shared.pack(plugins("0")).parts is first.parts
    for n in range(1, MOST + 1):
        shared.pack(plugins(str(n)))
    assert shared.pack(plugins("0")).parts is not first.parts  # the first was forgotten
    assert len(shared) <= MOST


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"hostName": "a", "ip": ["10.0.0.1"], "dynamicInstall": False, "x": {"y": [1.5, -0.0, None]}},
        {"big": 10**30, "z": "\0é\U0001f600"},
        {"externalAgentInfoMap": {"otel": {"version": "1"}}} | plugins(),
        {"pluginInfoMap": {}, "externalAgentInfoMap": None},
        {"pluginInfoMap": "not a map"},
        {"a": 1, 'x"pluginInfoMap': {"b": 2}, 'y"pluginInfoMap"': 3, "z": '"pluginInfoMap":{}'} | plugins(),
    ],
)
def test_what_is_packed_says_what_it_said(meta):
    shared = SharedMeta()
    assert shared.pack(meta).meta() == meta
    text = to_json(shared.pack(meta).meta())
    for _ in range(2):  # the second time it is known
        assert shared.unpack(text).meta() == meta
    assert shared.unpack(to_json(meta)).meta() == meta


def test_parts_of_a_text_that_is_known_are_not_taken_for_those_of_an_object_within_it():
    shared = SharedMeta()
    first, tail = '{"a":1,', '"pluginInfoMap":{"x":{"name":"x"}}}'
    parts = [shared.unpack(first + tail).parts, shared.unpack('{"a":2,' + tail).parts]
    assert parts[0] is parts[1] is not None
    for text in ('{"a":{"b":1,' + tail + "}", '{"a":{"b":1},"c":{' + tail + "}", '{"a":"{,' + tail, '{"b":[{' + tail):
        try:
            expected = json.loads(text)
        except ValueError:
            with pytest.raises(ValueError):
                shared.unpack(text)
        else:
            assert shared.unpack(text).meta() == expected


@pytest.mark.parametrize(
    ("known", "text"),
    [
        # databases of monitors that stored metadata in the order in which agents sent it
        ('{"externalAgentInfoMap":[1],"pluginInfoMap":[1]}', '{"externalAgentInfoMap":[2],"pluginInfoMap":[1]}'),
        ('{"externalAgentInfoMap":[1],"pluginInfoMap":[1]}', '{"hostName":"b","pluginInfoMap":[1]}'),
        ('{"h":"a","pluginInfoMap":[1],"h":"a"}', '{"h":"b","pluginInfoMap":[1],"h":"a"}'),
        ('{"h":"a","pluginInfoMap":[1],"ip":[]}', '{"h":"b","ip":[1],"pluginInfoMap":[1],"ip":[]}'),
        ('{"h":1,"pluginInfoMap":[1]}', '{"pluginInfoMap":[2],"h":1,"pluginInfoMap":[1]}'),
        ('{"h":1,"pluginInfoMap":[1],"pluginInfoMap":null}', '{"h":2,"pluginInfoMap":[1],"pluginInfoMap":null}'),
        ('{"h":1,"pluginInfoMap":[1]}', '{"pluginInfoMap" : {"y":1}, "h":2,"pluginInfoMap":[1]}'),
        ('{"h":1,"pluginInfoMap":[1]}', '{"pluginInfoMap":{},"externalAgentInfoMap":[2],"pluginInfoMap":[1]}'),
    ],
)  # fmt: skip
def test_what_is_read_does_not_depend_on_what_was_read_before(known, text):
    shared = SharedMeta()
    for one in (known, text, known, text):
        assert shared.unpack(one).meta() == json.loads(one)


def test_metadata_of_which_parts_cannot_be_encoded_is_read_as_it_is():
    meta = {"appName": "shop", "pluginInfoMap": {"x": {"name": "\ud800"}}}
    packed = SharedMeta().unpack(to_json(meta))
    assert (packed.meta(), packed.app) == (meta, "shop")
