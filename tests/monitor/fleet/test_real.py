# SPDX-License-Identifier: MIT
"""The registry in an event loop: its descriptors wake it, and a loop that was busy blames nobody for it."""

from __future__ import annotations

import asyncio
import select
import socket

import pytest

from heartfelt.monitor.fleet.expiry import NOTED, SLICE, TURN_S
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.fleet.polling import Polling
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import Beat, Limits, State

LONG_S = 40
POLICY = Policy(lease_timeout_ms=300, least_lease_ms=50, lease_cache_ms=700, hold=HoldPolicy(enable=False))


def beat(registry, name):
    return registry.beat(Beat(service="web", instance_id=name, via="http", peer="127.0.0.1"))


def test_an_event_loop_is_woken_until_all_is_done():
    async def run():
        done = asyncio.Event()
        registry = Registry(POLICY)
        told = []

        def on_change(change):
            told.append(change.new)
            if told.count(State.REMOVED) == 999:  # the last one of a service is kept
                done.set()

        registry.on_change.append(on_change)
        polling = Polling(registry)
        polling.start()
        try:
            for n in range(1000):  # many slices of losses, noted by few calls
                beat(registry, str(n))
            await asyncio.wait_for(done.wait(), LONG_S)
            assert told.count(State.LOST) == 1000
            assert len(registry) == 1
            assert registry.stats()["losses_read_late_ms"] >= 0
        finally:
            polling.stop()
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


class Work:
    """A counter that only work moves on: so much for each change."""

    def __init__(self, change_s):
        self.now_s = 0.0
        self._change_s = change_s

    def __call__(self):
        return self.now_s

    def changed(self, change):
        self.now_s += self._change_s


@pytest.mark.parametrize("change_s", [20e-6, 200e-6, 1e-9], ids=["usual", "slow listeners", "free"])
def test_a_poll_ends_when_its_time_is_up_and_comes_back_at_once(make_world, change_s):
    n, work = 3 * NOTED, Work(change_s)
    world = make_world(work_s=work, limits=Limits(instances=n))
    world.join(*(f"web/{k}" for k in range(n)), interval_ms=20_000)
    world.registry.on_change.append(work.changed)
    world.clock.advance(60)  # all are late, and their leases have run out
    turns = []
    while select.select(world.registry.filenos(), [], [], 0)[0]:
        before_s = work.now_s
        world.registry.poll()
        turns.append(work.now_s - before_s)
    assert len(world.lost()) == n
    assert max(turns) <= TURN_S + 4 * SLICE * change_s
    assert len(turns) <= 2 + sum(turns) / TURN_S * 1.5  # none ends before its time, but the last


def test_losses_that_just_fill_a_slice_are_not_left_until_something_else_happens(world):
    world.join(*(f"web/{k}" for k in range(NOTED)))
    world.beat("web/other", timeout_ms=120_000)
    world.clock.advance(60)
    while select.select(world.registry.filenos(), [], [], 0)[0]:
        world.registry.poll()
    assert len(world.lost()) == NOTED


def test_a_turn_of_the_loop_has_one_poll_however_many_descriptors_are_readable():
    pairs = [socket.socketpair() for _ in range(5)]
    for one, _ in pairs:
        one.send(b"x")  # nobody reads it: they stay readable
    turns, polls = 0, []

    class Polled:
        def filenos(self):
            return [other.fileno() for _, other in pairs]

        def poll(self):
            polls.append(turns)

    async def run():
        nonlocal turns
        polling = Polling(Polled())
        polling.start()
        for _ in range(50):
            turns += 1
            await asyncio.sleep(0)
        polling.stop()
        seen = len(polls)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(polls) == seen

    asyncio.run(run())
    assert len(polls) > 20
    assert len(polls) == len(set(polls))
    for one, other in pairs:
        one.close()
        other.close()


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
