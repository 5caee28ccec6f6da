# SPDX-License-Identifier: MIT
"""Helpers of the tests of instances and their owners."""

from __future__ import annotations

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from tests.monitor.fleet.world import NO_HOLD
from tests.monitor.ingest.world import heartbeat

NAME = ("shop", "shop-1")
TIMEOUT = Policy(services={"shop": ServicePolicy(lease_timeout_ms=6000)}, lease_timeout_ms=6000, hold=NO_HOLD)


def text(number=1, *, at=1_700_000_000_000, name="shop-1", **more):
    return heartbeat(instance_id=name, at=at + number * 2000, number=number, intervalMs=2000, **more)


def joined(fleet, node, name="shop-1"):
    """An instance that is known well to its owner."""
    for n in range(1, 10):
        node.beat(text(n, name=name))
        fleet.settle()
    return node.registry.find("shop", name)
