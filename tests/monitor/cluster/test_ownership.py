# SPDX-License-Identifier: MIT
"""A registry, its ownership and its store on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

pytest.importorskip("redis")
from heartfelt.monitor.cluster.ownership import Ownership
from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.intake import Intake
from heartfelt.monitor.model import Limits, State
from heartfelt.monitor.store.redis.keys import Keys
from tests.monitor.cluster.test_owned import NAME, TIMEOUT, text
from tests.monitor.fleet.world import NO_HOLD
from tests.monitor.redis.storing import SHARDS, a_prefix, all_changes, make_store, until
from tests.monitor.redis.test_store_outages import Losing


class NoPeers:
    """No other monitor is known."""

    own = "me"
    connected = ()

    def __init__(self):
        self.peers = self
        self.on_undelivered = None
        self.connected = ()

    def __contains__(self, id):
        return False

    def on_beats(self, handler):
        pass

    on_inputs = on_beats

    def on_notice(self, *_):
        pass

    async def drain(self, within_s, *, reachable):
        return True

    async def close_port(self):
        pass


class Monitor:
    def __init__(self, link, prefix, policy=TIMEOUT, **options):
        self.ownership = Ownership(
            settle_s=0.2, comeback_s=1.0, lease_s=5.0, link=link, keys=Keys(prefix, SHARDS),
            lease_ms_of=lambda row: 60_000, wall_ms=wall_ms,
        )  # fmt: skip
        self.store = make_store(link, prefix, listener=self.ownership, watch_s=0.1, **options)
        self.registry = Registry(policy, wall_ms=wall_ms, limits=Limits(), owners=self.ownership)
        self.intake = Intake(self.registry, Limits(), wall_ms=wall_ms, clock=time.monotonic)
        channel = NoPeers()
        channel.own = self.store.leases.monitor_id
        self.ownership.attach(self.registry, self.intake.foreign, self.store, channel)
        self.registry.on_change.append(self.store.put_change)
        self.registry.on_row.append(self.store.put_instance)

    @contextlib.asynccontextmanager
    async def running(self):
        self.store.open()
        self.ownership.start(1000.0)
        try:
            yield self
        finally:
            await self.ownership.stop()
            self.store.close()
            self.registry.close()

    def find(self):
        return self.registry.find(*NAME)

    async def joined(self):
        for n in range(3):
            self.intake.take(text(n), "http", "10.0.0.7")
            await until(self.find, "the instance")
        await self.store.flush()
        return self.find()

    async def states(self):
        return [one.new for one in await all_changes(self.store)][::-1]


def wall_ms():
    return time.time_ns() // 1_000_000


@pytest.fixture
def monitor(redis_server, link_to):
    return Monitor(link_to(redis_server.url), a_prefix())


def test_what_is_here_and_not_owned_goes_and_what_is_owned_and_not_here_comes(monitor):
    async def body():
        async with monitor.running():
            instance = await monitor.joined()
            await monitor.ownership._compare()
            await monitor.ownership._compare()
            assert monitor.find() is instance
            monitor.registry.owned.disown([instance.id])
            await monitor.ownership._compare()
            assert monitor.find() is None
            await monitor.ownership._compare()
            await until(monitor.find, "that it comes back")
            assert monitor.find().id == instance.id
            monitor.store._instances.own.pop(instance.id)
            await monitor.ownership._compare()
            assert monitor.find() is not None
            await monitor.ownership._compare()
            assert monitor.find() is None
            assert monitor.ownership.stats()["astray"] == 2
            assert await monitor.states() == [State.NEW, State.UP]

    asyncio.run(body())


@pytest.mark.parametrize("settle_s", [0.01, 0.05, 0.2, 2.0])
def test_beats_are_forwarded_twice_in_settle(settle_s):
    ownership = Ownership(
        settle_s=settle_s, comeback_s=1.0, lease_s=5.0, link=None, keys=Keys("hf", SHARDS), lease_ms_of=lambda row: 1,
        wall_ms=wall_ms,
    )  # fmt: skip
    assert ownership.forward_s <= settle_s / 2 and ownership.forward_s <= 0.1


def test_a_loss_whose_answer_is_lost_is_told_once_and_its_end_follows(redis_server, link_to):
    link = Losing(link_to(redis_server.url))
    policy = Policy(services={"shop": ServicePolicy(lease_timeout_ms=1000)}, hold=NO_HOLD)
    monitor = Monitor(link, a_prefix(), policy=policy)

    def comes_to(state):
        def found():
            monitor.registry.poll()
            return monitor.find().state is state and monitor.find()

        return found

    async def body():
        async with monitor.running():
            await monitor.joined()
            link.swallow = "change"
            await until(lambda: comes_to(State.LATE)() and monitor.find().held, "that its loss is held")
            link.swallow = ""
            await until(comes_to(State.LOST), "the loss")
            monitor.intake.take(text(9), "http", "10.0.0.7")
            await until(comes_to(State.UP), "its end")
            await monitor.store.flush()
            assert await monitor.states() == [State.NEW, State.UP, State.LOST, State.UP]
            assert monitor.registry.stats()["losses_unreachable"] == 0

    asyncio.run(body())
