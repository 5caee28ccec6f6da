# SPDX-License-Identifier: MIT
"""Equal parts of the metadata of many instances are kept once."""

from __future__ import annotations

import msgspec

from heartfelt.monitor.fleet.shared_meta import MOST, SharedMeta
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


def test_what_is_known_to_be_shared_is_bounded():
    shared = SharedMeta()
    first = plugins("0")
    shared.share(first)
    for n in range(1, MOST + 1):
        shared.share(plugins(str(n)))
    again = plugins("0")
    own = again["pluginInfoMap"]
    shared.share(again)
    assert again["pluginInfoMap"] is own  # the first was forgotten
    assert len(shared) <= MOST
