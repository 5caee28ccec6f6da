# SPDX-License-Identifier: MIT
"""Memberships of several monitors in one Redis, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from heartfelt.monitor.cluster.membership import Membership
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET
from heartfelt.testing import ManualClock
from tests.monitor.cluster.links import PlainLink

LEASE_S = 60.0
_prefixes = itertools.count()


class Fleet:
    """Memberships in one Redis, renewed by hand: `await fleet.renew(a, b)`."""

    def __init__(self, server):
        self.server = server
        self.keys = Keys(f"mem{next(_prefixes)}", 4)
        self.clock = ManualClock()
        self.made = []

    def key(self, name):
        return self.keys.fleet(name)

    def make(self, letter, **options):
        options.setdefault("clock", self.clock.time)
        options.setdefault("lease_s", LEASE_S)
        one = Membership(PlainLink(self.server), self.keys, letter * 32, f"10.0.0.{ord(letter)}:9", **options)
        one.told = []
        one.on_change = lambda living: one.told.append("".join(sorted(id[0] for id in living)))
        one.on_lead = lambda fence: one.told.append(fence)
        one.on_secret = lambda secret: one.told.append(secret)
        self.made.append(one)
        return one

    def empty(self):
        """Has Redis forget the fleet."""
        link = PlainLink(self.server)
        try:
            link.call(FLEET, "DEL", *map(self.key, ("mons", "stamps", "lead", "fence", "secret")))
        finally:
            link.close()

    async def renew(self, *members):
        for one in members:
            await one._renew()

    @contextlib.asynccontextmanager
    async def ending(self):
        try:
            yield
        finally:
            for one in self.made:
                await one.stop()
                one._leads_no_more()
                one._link.close()

    def run(self, coroutine):
        async def main():
            async with self.ending():
                await coroutine

        asyncio.run(main())


def living(one):
    return "".join(sorted(id[0] for id in one.living))
