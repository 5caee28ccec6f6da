# SPDX-License-Identifier: MIT
"""Channels whose peers and secret come from a membership in a real Redis."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.channel import Channel, Input
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from heartfelt.monitor.cluster.membership import Membership, new_monitor_id
from tests.monitor.cluster.channels import LONG_S, QUICK, Heard, serve_samples, until
from tests.monitor.cluster.links import PlainLink

PLACEHOLDER = b"not known yet, not known yet"


class Monitor:
    """A channel and a membership, wired as a monitor has them."""

    def __init__(self, fleet):
        self.id = new_monitor_id()
        self.channel = Channel(self.id, PLACEHOLDER, "127.0.0.1", 0, timing=QUICK)
        self.heard = Heard(self.channel)
        serve_samples(self.channel)
        self.fleet, self.left = fleet, []
        self.channel.peers.on_undelivered = lambda peer, what: self.left.append((peer, what))

    async def start(self):
        await self.channel.start()
        address = f"127.0.0.1:{self.channel.port}"
        self.link = PlainLink(self.fleet.server)
        self.membership = Membership(self.link, self.fleet.keys, self.id, address, lease_s=0.8)
        self.membership.on_change = lambda living: self.channel.peers.set_peers(
            {id: member.address for id, member in living.items()}
        )
        self.membership.on_secret = self.channel.set_secret
        await self.membership.start()
        self.channel.set_secret(self.membership.secret)
        return self

    async def stop(self):
        await self.membership.stop()
        await self.channel.stop()
        self.link.close()


def test_monitors_find_each_other_and_lose_one(fleet):
    async def main():
        many = [await Monitor(fleet).start() for _ in range(3)]
        a, b, c = many
        await until(lambda: all(len(one.channel.peers.connected) == 2 for one in many), "all connections")
        assert len({one.membership.leader for one in many}) == 1
        a.channel.peers.forward(b.id, {7: monotonic_ms()})
        assert await a.channel.peers.drain(LONG_S)
        assert [id for _, id, _ in b.heard.beats] == [7]

        await c.channel.stop()  # it is gone, and says nothing
        c.membership._task.cancel()
        a.channel.peers.forward(c.id, {8: 99})
        a.channel.peers.forward_input(c.id, Input("json", b"x", "http", "10.0.0.1", 99))
        await until(lambda: c.id not in a.channel.peers and c.id not in b.channel.peers, "the loss of one")
        ((peer, left),) = a.left
        assert peer == c.id and left.beats == {8: 99} and len(left.inputs) == 1

        a.link.client.set(fleet.key("secret"), b"a new secret, by the operator")
        await until(lambda: {one.membership.secret for one in (a, b)} == {b"a new secret, by the operator"})
        d = await Monitor(fleet).start()
        await until(lambda: all(len(one.channel.peers.connected) == 2 for one in (a, b, d)), "the new one")
        for one in (a, b, d):
            await one.stop()
        await c.stop()

    asyncio.run(main())
