# SPDX-License-Identifier: MIT
"""Before an owner asks for a loss, the others have sent on what they have heard, however late they are."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest

pytest.importorskip("redis")

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster import catching_up
from heartfelt.monitor.cluster.catching_up import CatchingUp
from heartfelt.monitor.cluster.channel.service import monotonic_ms
from heartfelt.monitor.model import State
from heartfelt.testing import ManualClock
from tests.monitor.cluster.channels import B, channels
from tests.monitor.cluster.channels import until as soon
from tests.monitor.cluster.many import doing, fleet_of, until
from tests.monitor.cluster.test_wiring import owned

LOSS, ANOTHER = object(), object()


class Side:
    """One monitor's part. `pause`: what it waits for before it has found everything out."""

    def __init__(self, channel, clock):
        self.channel, self.ready = channel, []
        self.pause = asyncio.Event()
        self.error = None
        self.to_send = {}
        self.part = CatchingUp(channel, self.ready.append, self._catch_up, clock.time)

    async def _catch_up(self):
        await self.pause.wait()
        for peer, heard_ms in self.to_send.items():
            self.channel.peers.forward(peer, heard_ms)
        self.to_send.clear()
        self.channel.peers.send_now()
        if self.error is not None:
            raise self.error

    def __getitem__(self, name):
        return self.part.counts[f"catching_up_{name}"]


@contextlib.asynccontextmanager
async def sides(*letters):
    clock = ManualClock()
    async with channels(*letters) as made:
        all_ = [Side(one, clock) for one in made]
        try:
            yield clock, *all_
        finally:
            for one in all_:
                one.part.end()
            await soon(lambda: not [one for one in all_ if one.part._answering is not None], "the end of the answers")


def test_what_another_has_heard_is_known_before_a_loss_is_asked_for(run):
    async def main():
        async with sides("a", "b") as (_, a, b):
            b.to_send = {a.channel.own: {7: monotonic_ms()}}
            heard = []
            a.part._ready = lambda losses: heard.append((losses, [id for _, id, _ in a.channel.heard.beats]))
            a.part.wait(LOSS)
            await soon(lambda: b.part._answering is not None, "the question")
            a.part.wait(ANOTHER)  # it came after the question
            assert not heard
            b.pause.set()
            await soon(lambda: len(heard) == 2, "both")
            assert heard == [([LOSS], [7]), ([ANOTHER], [7])]
            assert (a["asked"], b["answered"], a["unanswered"], b["incomplete"]) == (2, 2, 0, 0)

    run(main())


def test_a_monitor_alone_waits_for_nobody(run):
    async def main():
        async with sides("a") as (_, a):
            a.part.wait(LOSS)
            assert a.ready == [[LOSS]]

    run(main())


@pytest.mark.parametrize("how", ["silent", "gone", "ended"])
def test_who_does_not_answer_is_not_waited_for_without_end(run, how):
    async def main():
        async with sides("a", "b") as (clock, a, b):
            if how == "ended":
                b.part.end()
            a.part.wait(LOSS)
            await soon(lambda: a["asked"] == 1, "the question")
            if how == "gone":
                await b.channel.stop()
            else:
                assert not a.ready
                clock.advance(catching_up.ANSWER_S)
            await soon(lambda: a.ready == [[LOSS]], "the loss")
            assert a["unanswered"] == 1
            b.pause.set()

    run(main())


@pytest.mark.parametrize("error", [StoreError("Redis is away"), ValueError("a defect")])
def test_who_cannot_find_everything_out_answers(run, error, caplog):
    async def main():
        async with sides("a", "b") as (_, a, b):
            b.error = error
            b.pause.set()
            a.part.wait(LOSS)
            await soon(lambda: a.ready == [[LOSS]], "the loss")
            assert (b["incomplete"], a["unanswered"]) == (1, 0)

    run(main())
    assert ("a defect" in caplog.text) is isinstance(error, ValueError)


def test_both_may_ask_each_other_and_the_third_may_be_slow(run):
    async def main():
        async with sides("a", "b", "c") as (_, a, b, c):
            for one in (a, b):
                one.pause.set()
                one.part.wait(LOSS)
            await soon(lambda: a["asked"] == b["asked"] == 2, "the questions")
            await soon(lambda: a["answered"] == b["answered"] == 1, "their answers")
            assert not a.ready and not b.ready
            c.pause.set()
            await soon(lambda: a.ready == b.ready == [[LOSS]], "the losses")
            assert B in a.channel.peers.connected

    run(main())


async def _do_not_forward(one):
    """From now on it forwards only if it is asked."""
    (task,) = [task for task in one.member.ownership._tasks if task.get_name() == "forwarding"]
    task.cancel()
    await asyncio.wait([task])


def test_an_instance_is_not_lost_whose_beats_another_monitor_forwards_late(tmp_path, redis_server):
    async def main():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=1.5) as (a, b):
            a.beat("x")
            a.beat("silent")
            await until(lambda: a.find("x") and a.find("silent"), "both")
            b.beat("x")
            await until(lambda: len(b.monitor.registry.owned.ids) == 0 and b.counts["forwarded"], "a shadow")
            await _do_not_forward(b)
            async with doing(b.beating(0.1, "x")):
                await until(lambda: a.find("silent").state is State.LOST, "the loss of the other one")
                await until(lambda: b.counts["catching_up_answered"] > 2, "questions")
            assert await a.changes(State.LOST) == ["silent"]

    asyncio.run(main())


def test_a_former_owner_that_does_not_know_of_a_move_finds_it_out_and_sends_on_what_it_has_heard(
    tmp_path, redis_server
):
    async def main():
        async with fleet_of(2, tmp_path, redis_server, lease_timeout=600.0, cluster_lease=60.0) as (a, b):
            a.beat("x")
            await until(lambda: a.find("x"), "it")
            await a.monitor.store.flush()
            a.member.channel.on_notice("moved", lambda peer, entries: None, list[bytes])
            a.monitor.store._writer._renewing._watch_s = math.inf
            await a.monitor.store.look_for_moved()  # it will not look again by itself
            b.member.ownership._questions.move(("shop", "x"), await owned(b, "x"), consent=True)
            await until(lambda: b.find("x") is not None, "the move")
            n = b.find("x").beats
            a.beat("x")
            assert a.counts["disowned"] == 0
            assert b.member.channel.peers.notify(a.member.channel.own, catching_up.ASK, 1)
            await until(lambda: a.counts["catching_up_answered"] == 1, "the answer")
            assert a.counts["disowned"] == 1
            await until(lambda: b.find("x").beats > n, "the beat")

    asyncio.run(main())
