# SPDX-License-Identifier: MIT
"""The registry in an event loop: its descriptors wake it, and a loop that was busy blames nobody for it."""

from __future__ import annotations

import asyncio
import select

from heartfelt.monitor.model import Beat, State
from heartfelt.monitor.policy import HoldPolicy, Policy
from heartfelt.monitor.registry import Registry

LONG_S = 120
POLICY = Policy(effective_ms=300, least_lease_ms=50, cache_ms=700, hold=HoldPolicy(enabled=False))


def beat(registry, name):
    return registry.beat(Beat(service="web", instance_id=name, via="http", peer="127.0.0.1"))


def test_an_event_loop_is_woken_until_all_is_done():
    async def run():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        registry = Registry(POLICY)
        told = []

        def on_change(change):
            told.append(change.new)
            if told.count(State.REMOVED) == 1000:
                done.set()

        registry.on_change.append(on_change)
        for fileno in registry.filenos():
            loop.add_reader(fileno, registry.poll)
        try:
            for n in range(1000):  # many slices of losses, noted by few calls
                beat(registry, str(n))
            await asyncio.wait_for(done.wait(), LONG_S)
            assert told.count(State.LOST) == 1000
            assert len(registry) == 0
            assert registry.stats()["losses_read_late_ms"] >= 0
        finally:
            for fileno in registry.filenos():
                loop.remove_reader(fileno)
            registry.close()

    asyncio.run(run())


def test_as_long_as_more_is_to_be_done_a_descriptor_is_readable(world):
    names = [f"web/{n}" for n in range(1000)]
    world.join(*names)
    world.clock.advance(60)
    n_polls = 0
    while select.select(world.registry.filenos(), [], [], 0)[0]:
        world.registry.poll()
        n_polls += 1
    assert n_polls >= 10
    assert len(world.lost()) == 1000


def test_a_loop_that_was_busy_reads_the_beats_that_wait_before_it_decides(world, monkeypatch):
    world.join("web/alive", "web/dead")
    world.clock.advance(60)
    monkeypatch.setattr(world.registry._verdicts, "_lateness_ms", lambda event: 700.0)
    world.poll()
    assert world.lost() == []
    assert world.registry.stats()["losses_deferred"] == 1
    world.registry.renew(world.of("web/alive"))  # it waited in a socket
    world.advance(0.6)
    assert world.lost() == []
    world.advance(0.1)
    assert world.lost() == ["web/dead"]


def test_close_is_idempotent_and_leaves_no_descriptor_open():
    registry = Registry()
    beat(registry, "1")
    registry.close()
    registry.close()
