# SPDX-License-Identifier: MIT
"""Uptime of a service whose instances are at several monitors: each adds up its own, one adds up the service's."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from tests.monitor.fleet.world import NO_HOLD, World

MIN_UP = Policy(services={"web": ServicePolicy(min_up=2, lease_timeout_ms=60_000)}, hold=NO_HOLD)


@pytest.fixture
def worlds():
    found = [World(policy=MIN_UP), World(policy=MIN_UP)]
    yield found
    for world in found:
        world.close()


def times(world):
    """watched, up, observed, available in seconds."""
    found = {}
    for metric, samples in world.registry.uptime.readings():
        found[metric.name] = samples.get(("web",), 0.0)
    return tuple(found.values())


def test_each_adds_up_its_own_instances_and_one_of_them_the_service(worlds):
    a, b = worlds
    a.join("web/1")
    b.join("web/2")
    a.registry.uptime.others("web", 1, 1)
    b.registry.uptime.others("web", 1, 1, counts=False)
    for world in worlds:
        world.advance(10.0)
    assert times(a) == (10.0, 10.0, 10.0, 10.0)
    assert times(b) == (10.0, 10.0, 0.0, 0.0)
    b.registry.pause(b.of("web/2").id)
    a.registry.uptime.others("web", 0, 0)
    for world in worlds:
        world.advance(10.0)
    assert times(a) == (20.0, 20.0, 20.0, 10.0)
    assert times(b) == (10.0, 10.0, 0.0, 0.0)


def test_a_service_with_no_instance_here_is_counted_here_and_then_forgotten(worlds):
    a, _ = worlds
    a.registry.uptime.others("web", 3, 2)
    a.advance(5.0)
    assert times(a) == (0.0, 0.0, 5.0, 5.0)
    assert a.registry.uptime.counts() == {}
    a.registry.uptime.others("web", 3, 1)
    a.advance(5.0)
    assert times(a) == (0.0, 0.0, 10.0, 5.0)
    a.registry.uptime.others("web", 0, 0)
    assert a.registry.uptime._services == {}


def test_the_last_instance_here_leaves_and_the_service_is_still_counted(worlds):
    a, _ = worlds
    a.join("web/1")
    a.registry.uptime.others("web", 2, 2)
    a.advance(5.0)
    a.registry.remove(a.of("web/1").id)
    a.advance(5.0)
    assert times(a) == (5.0, 5.0, 10.0, 10.0)
    a.registry.uptime.others("web", 2, 2, counts=False)
    assert a.registry.uptime._services == {}


def test_it_is_published_as_what_is_added(worlds):
    a, _ = worlds
    published = []
    a.registry.on_uptime.append(published.append)
    a.join("web/1")
    a.registry.uptime.others("web", 1, 1)
    a.advance(10.0)
    a.registry.uptime.publish(complete=True)
    (only,) = (one for times in published for (_, service), one in times.items() if service == "web")
    assert only == (10.0, 10.0, 10.0, 10.0)
