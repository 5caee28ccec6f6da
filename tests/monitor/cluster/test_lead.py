# SPDX-License-Identifier: MIT
"""One monitor leads, with a growing fence, and one that was stopped knows that it leads no more; on a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.membership import new_monitor_id
from tests.monitor.cluster.channels import LONG_S, until
from tests.monitor.cluster.fleets import LEASE_S, living

ROOT = Path(__file__).parents[3]


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
