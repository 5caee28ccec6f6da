# SPDX-License-Identifier: MIT
"""Refusals: their texts and counts, and that refusing takes no memory."""

from __future__ import annotations

import tracemalloc

import pytest

from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.registry import REASONS, InputRefused
from heartfelt.monitor.model import Limits, State

LIMITS = Limits(instances=4, instances_of_client=2, key_bytes=10, meta_bytes=100)


@pytest.fixture
def world(make_world):
    return make_world(limits=LIMITS)


def refused(world, reason, match, *args, **fields):
    before = world.registry.stats()
    with pytest.raises(InputRefused, match=match) as caught:
        world.beat(*args, **fields)
    assert caught.value.reason == reason
    after = world.registry.stats()
    assert {name for name in after if after[name] != before[name]} <= {f"refused_{reason}", "beats"}
    assert after[f"refused_{reason}"] == before[f"refused_{reason}"] + 1


def test_names(world):
    refused(world, "service_missing", "must name its service", "/1")
    refused(world, "instance_missing", "must name its instanceId", "web/")
    refused(world, "key_size", r"service has 11 bytes; the limit is 10 \(limits\.key_bytes\)", "x" * 11 + "/1")
    refused(world, "key_size", r"instanceId has 12 bytes", "web/" + "\u00e4" * 6)
    world.beat("x" * 10 + "/" + "\u00e4" * 5)
    assert len(world.registry) == 1


def test_instances_of_one_client_and_in_all(world):
    world.beat("web/1", peer="a")
    world.beat("web/2", peer="a")
    refused(world, "instances_of_client", r"a has 2 instances.*\(limits\.instances_of_client\)", "web/3", peer="a")
    world.beat("web/3", peer="b")
    world.beat("web/4", peer="c")
    refused(world, "instances", r"4 instances are known.*limits\.instances", "web/5", peer="d")
    world.beat("web/1", peer="a")  # who is known is taken
    world.registry.remove(world.of("web/1").id, "")
    world.beat("web/5", peer="a")
    assert set(world.registry.stats()) >= {f"refused_{reason}" for reason in REASONS}


def test_an_instance_that_moves_counts_for_its_new_address(world):
    world.beat("web/1", peer="a")
    world.beat("web/2", peer="a")
    world.beat("web/2", peer="b")
    world.beat("web/3", peer="a")
    assert world.registry.stats()["clients"] == 2
    assert world.rows[world.of("web/2").id].peer == "b"


def test_metadata(world):
    refused(world, "meta_size", r"has 10\d bytes of JSON; the limit is 100 \(limits", meta={"a": "x" * 95})
    assert world.state() is None
    world.join("web/1", meta={"v": 1})
    world.advance(50)
    refused(world, "meta_size", "The previous metadata is kept", meta={"a": "x" * 95})
    assert world.of("web/1").meta == {"v": 1}
    world.advance(50)  # but it is alive
    assert world.state() is State.UP
    world.beat(meta={"v": 2, "appName": "shop"})
    assert world.rows[world.of("web/1").id].meta == {"v": 2, "appName": "shop"}
    assert world.registry.applications() == {"shop": 1}


def test_memory_is_flat_when_limits_are_hammered(make_world):
    world = make_world(limits=Limits(instances=50, instances_of_client=20), policy=Policy(lease_cache_ms=61_000))
    for listeners in (world.registry.on_change, world.registry.on_row, world.registry.on_event, world.registry.on_hold):
        listeners.clear()  # the world keeps what it is told

    def hammer(start):
        n_refused = 0
        for n in range(start, start + 3000):
            try:
                world.beat(f"s{n}/{n}", peer=f"10.0.{n % 100}.1", meta={"appName": f"a{n}"})
            except InputRefused:
                n_refused += 1
            if n % 300 == 0:  # and all that are known come and go
                world.advance(130)
                world.advance(130)
        return n_refused

    hammer(0)
    tracemalloc.start()
    hammer(3000)
    before, _ = tracemalloc.get_traced_memory()
    assert hammer(6000) > 2000
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000
    assert world.registry.stats()["instances"] <= 50
    assert len(world.registry._hold.windows.services) <= 100
