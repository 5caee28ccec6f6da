# SPDX-License-Identifier: MIT
"""Who lives and who leads, on a real server; time is a manual clock where it matters."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.membership import FIGURES, Member, Membership, new_monitor_id
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.testing import ManualClock
from tests.monitor.cluster.channels import LONG_S, until
from tests.monitor.cluster.links import PlainLink

ROOT = Path(__file__).parents[3]
LEASE_S = 60.0
_prefixes = itertools.count()


@pytest.fixture
def fleet(redis_server):
    return Fleet(redis_server)


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


def test_each_finds_the_others(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a)
        assert living(a) == "a" and a.told == [a._fence]
        await fleet.renew(b, a)
        assert living(a) == living(b) == "ab"
        assert a.told[1:] == b.told == ["ab"]
        found = a.living["b" * 32]
        assert found.address == "10.0.0.98:9" and found.version and found.host and found.start_ms
        await fleet.renew(a, b)
        assert len(a.told) == 2, "nothing has changed"
        assert a.stats().keys() <= FIGURES.keys() and a.stats()["living"] == 2
        assert {metric.name for metric, _ in a.readings()} >= {"heartfelt_membership_monitors"}

    fleet.run(main())


def test_one_that_does_not_renew_any_more_is_gone_after_a_lease(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a, b, a)
        for _ in range(3):
            fleet.clock.advance(LEASE_S / 4)
            await fleet.renew(a)
        assert living(a) == "ab"
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a)
        assert living(a) == "a"
        await fleet.renew(b, a)
        assert living(a) == "ab"

    fleet.run(main())


def test_one_that_stops_is_gone_at_once_and_another_leads(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await a.start()
        await b.start()
        await fleet.renew(b)
        fence = a._fence
        assert a.leads() and not b.leads() and b.leader == a.own
        await a.stop()
        await a.stop()
        assert not a.leads()
        await fleet.renew(b)
        assert living(b) == "b" and b.leads() and b._fence > fence
        assert a.told[-1] is None and b.told[-2:] == [b._fence, "b"]

    fleet.run(main())


def test_nobody_dies_because_redis_was_away(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a, b, a)
        a._link.down = True
        with pytest.raises(Exception, match="it is down"):
            await fleet.renew(a)
        fleet.clock.advance(100 * LEASE_S)
        a._link.down = False
        await fleet.renew(a)
        assert living(a) == "ab"
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a, b, a)
        assert living(a) == "ab" and a.told.count("ab") == 1
        assert a.counts["failures"] == 1

    fleet.run(main())


def test_an_entry_of_a_monitor_that_died_before_is_not_alive(fleet):
    async def main():
        a, b = fleet.make("a", lease_s=0.001), fleet.make("b")
        await fleet.renew(b)
        pause = time.monotonic() + 0.01
        await until(lambda: time.monotonic() > pause)
        await fleet.renew(a)
        assert living(a) == "a", "its stamp is older than the lease"
        await fleet.renew(b, a)
        assert living(a) == "ab"

    fleet.run(main())


def test_entries_that_are_long_gone_are_deleted_and_odd_ones_left_out(fleet, caplog):
    async def main():
        a = fleet.make("a")
        client = a._link.client
        client.hset(fleet.key("mons"), "c" * 32, b"{")
        client.hset(fleet.key("stamps"), "c" * 32, int(time.time() * 1000))
        client.hset(fleet.key("mons"), "d" * 32, b'{"address":"x:1","zone":[1]}')
        client.hset(fleet.key("stamps"), "d" * 32, int(time.time() * 1000))
        client.hset(fleet.key("mons"), "e" * 32, b'{"address":"x:1"}')
        client.hset(fleet.key("stamps"), "e" * 32, int(time.time() * 1000) - 3_700_000)
        await fleet.renew(a, a)
        assert living(a) == "ad"
        assert a.living["d" * 32] == Member("x:1")
        assert a.counts["bad_entries"] == 2 and caplog.text.count("cannot be read") == 1
        assert sorted(id[:1] for id in client.hkeys(fleet.key("mons"))) == [b"a", b"c", b"d"]

    fleet.run(main())


def test_a_listener_that_fails_does_not_stop_the_renewals(fleet, caplog):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        a.on_lead = a.on_change = lambda what: 1 / 0
        await fleet.renew(a, b, a)
        assert a.counts["listener_errors"] == 2 and "ZeroDivisionError" in caplog.text

    fleet.run(main())


# -- the lead


def test_one_of_many_leads_and_fences_grow(fleet):
    async def main():
        many = [fleet.make(letter) for letter in "abcdefgh"]
        fences = []
        for _ in range(6):
            await asyncio.gather(*(one._renew() for one in many))
            (leader,) = [one for one in many if one.leads()]
            assert all(one.leader == leader.own for one in many)
            assert leader._link.client.get(fleet.key("lead")) == leader.lead_token
            fences.append(leader._fence)
            leader._link.client.delete(fleet.key("lead"))  # its time is over
            many.remove(leader)
        assert fences == sorted(set(fences))

    fleet.run(main())


def test_two_that_start_at_the_same_moment(fleet):
    """A race of threads, many times: each time one leads, and both know who."""

    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        last = 0
        for _ in range(40):
            a._link.client.delete(fleet.key("lead"))
            a._leads_no_more()
            b._leads_no_more()
            barrier = threading.Barrier(2)

            def call(one, barrier=barrier):
                barrier.wait()
                return one._call()

            answers = await asyncio.gather(asyncio.to_thread(call, a), asyncio.to_thread(call, b))
            assert answers[0].lead == answers[1].lead
            fence = int(answers[0].lead.split(":")[1])
            assert fence > last
            last = fence

    fleet.run(main())


def test_fences_grow_though_redis_was_emptied(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a)
        client, former = a._link.client, a._fence
        for name in ("mons", "stamps", "lead", "fence", "secret"):
            client.delete(fleet.key(name))
        pause = time.monotonic() + 0.005
        await until(lambda: time.monotonic() > pause)
        await fleet.renew(b)
        assert b.leads() and b._fence > former
        secret = b.secret
        await fleet.renew(a)
        assert not a.leads() and a.told[-2] is None
        assert a.secret == secret and secret in a.told

    fleet.run(main())


def test_a_leader_that_was_stopped_for_longer_than_its_lease_knows_that_at_once(fleet):
    async def main():
        a = fleet.make("a")
        await fleet.renew(a)
        token = a.lead_token
        assert a.leads() and token == f"{a.own}:{a._fence}".encode()
        fleet.clock.advance(0.89 * LEASE_S)
        assert a.leads()
        fleet.clock.advance(0.02 * LEASE_S)  # it was stopped: neither a timer nor a renewal has run
        assert not a.leads() and a.lead_token is None
        assert a.stats()["leads"] == 0
        await fleet.renew(a)
        assert a.leads() and a.lead_token == token, "nobody else has led"
        assert a.told[0] == a.told[2] == a._fence and a.told[1] is None

    fleet.run(main())


def test_an_answer_that_comes_too_late_is_no_lead(fleet):
    async def main():
        a = fleet.make("a")
        a._link.go.clear()
        task = asyncio.ensure_future(a._renew())
        await until(lambda: a._is_calling)
        fleet.clock.advance(LEASE_S)
        a._link.go.set()
        await task
        assert not a.leads() and a.told == []
        await fleet.renew(a)
        assert a.leads()

    fleet.run(main())


def test_a_call_that_hangs_is_not_repeated(fleet):
    async def main():
        a = fleet.make("a", lease_s=0.05)
        a._link.go.clear()
        with pytest.raises(Exception, match="did not end"):
            await a._renew()
        for _ in range(3):
            with pytest.raises(TimeoutError, match="still hangs"):
                await a._renew()
        a._link.go.set()
        await until(lambda: not a._is_calling)
        assert a._link.calls == 1

    fleet.run(main())


def test_it_renews_by_itself_and_soon_if_told_so(fleet):
    async def main():
        a, b = fleet.make("a", lease_s=0.4, clock=time.monotonic), fleet.make("b")
        await a.start()
        a._link.down = True
        await until(lambda: a.counts["failures"] > 1)
        await until(lambda: not a.leads(), "the end of its lead")
        a._link.down = False
        await until(a.leads)
        await b.start()
        count = b.counts["renewals"]
        b.renew_soon()
        await until(lambda: b.counts["renewals"] > count)
        assert living(b) == "ab"

    fleet.run(main())


# -- the secret


def test_the_secret_is_made_once(fleet):
    async def main():
        many = [fleet.make(letter) for letter in "abcdefgh"]
        await asyncio.gather(*(one._renew() for one in many))
        (secret,) = {one.secret for one in many}
        assert len(secret) == 64
        assert many[0]._link.client.get(fleet.key("secret")) == secret
        assert not any(isinstance(told, bytes) for one in many for told in one.told)

    fleet.run(main())


def test_another_secret_in_redis_is_taken_over_and_a_lost_one_put_back(fleet):
    async def main():
        a = fleet.make("a")
        await fleet.renew(a)
        client, former = a._link.client, a.secret
        client.delete(fleet.key("secret"))
        await fleet.renew(a)
        assert a.secret == former == client.get(fleet.key("secret"))
        client.set(fleet.key("secret"), b"another secret, of the operator")
        await fleet.renew(a)
        assert a.secret == b"another secret, of the operator" == a.told[-1]

    fleet.run(main())


def test_a_secret_from_a_file_stays_out_of_redis(fleet):
    async def main():
        a = fleet.make("a", secret=b"from a file, not from Redis")
        await fleet.renew(a)
        assert a.secret == b"from a file, not from Redis"
        assert a._link.client.get(fleet.key("secret")) is None

    fleet.run(main())


# -- processes


PROGRAM = """
import asyncio, sys, types
from heartfelt.monitor.cluster.membership import Membership
from heartfelt.monitor.store.redis.keys import Keys
from tests.monitor.cluster.links import PlainLink
async def main():
    prefix, port, id, lease = sys.argv[1:]
    link = PlainLink(types.SimpleNamespace(port=int(port)))
    one = Membership(link, Keys(prefix, 4), id, "h:1", lease_s=float(lease))
    one.on_lead = lambda fence: print("lead", fence, flush=True)
    await one.start()
    print("started", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(one.leads(), flush=True)
    await one.stop()
    link.close()
asyncio.run(main())
"""


def test_a_leader_stopped_for_longer_than_its_lease_and_another_that_leads_meanwhile(fleet):
    """By SIGSTOP: the first thing that it says of itself when it goes on is that it does not lead."""
    a_id = new_monitor_id()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, fleet.keys.prefix, str(fleet.server.port), a_id, "0.6"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    async def main():
        first = process.stdout.readline().split()
        assert first[0] == "lead"
        b = fleet.make("b", lease_s=0.6, clock=time.monotonic)
        await b.start()
        assert b.leader == a_id
        process.send_signal(signal.SIGSTOP)
        await until(b.leads, "the other one to lead")
        assert b._fence > int(first[1])
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        said = []
        while not said or said[-1] not in ("True", "False"):
            said.append(process.stdout.readline().strip())
        assert said[-1] == "False"
        assert b.leads()
        await until(lambda: a_id in b.living, "its return")

    try:
        fleet.run(main())
        process.stdin.close()
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
