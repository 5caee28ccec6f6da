# SPDX-License-Identifier: MIT
"""Monitors ask each other what they count, only while they need it, and within bounds."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster import census
from heartfelt.monitor.cluster.census import ANSWER, ASK, Census, CensusReply, Question
from heartfelt.monitor.fleet.others import CensusAnswer, CensusPart, Others
from tests.monitor.cluster.many import doing, fleet_of, until

SETTLE_S = 0.02


class Counted:
    """The numbers of a monitor without instances."""

    def __init__(self):
        self.others = Others()
        self.asked = []

    def answer(self, services):
        self.asked.append(list(services))
        return CensusAnswer(CensusPart(3, 4), {service: CensusPart(1, 2) for service in services})

    def took(self, monitor, answer):
        self.others.took(monitor, answer, 1000.0)

    def prune_others(self):
        self.others.prune(10_000.0)


class Two:
    """Two censuses; `send` is what is between them."""

    def __init__(self):
        self.now_s = 0.0
        self.reachable = True
        self.sent = []
        self.counted = [Counted(), Counted()]
        self.each = [
            Census(id, counted, lambda to, kind, what, own=id: self.send(own, to, kind, what), SETTLE_S)
            for id, counted in zip("ab", self.counted, strict=True)
        ]
        for one in self.each:
            one.set_living("ab")

    def send(self, own, to, kind, what):
        data = msgspec.msgpack.encode(what)
        if not self.reachable:
            return False
        self.sent.append(kind)
        census = self.each["ab".index(to)]
        if kind == ASK:
            census.asked(own, msgspec.msgpack.decode(data, type=Question))
        else:
            census.answered(own, msgspec.msgpack.decode(data, type=CensusReply))
        return True

    def stop(self):
        for one in self.each:
            one.stop()


def test_what_is_wanted_is_asked_for_a_few_times_and_then_nothing_is_sent(run):
    async def main():
        two = Two()
        a, others = two.each[0], two.counted[0].others
        others.want("shop")
        others.want("web")
        await until(lambda: a._is_idle or not a._wanted)
        assert two.sent[:2] == [ASK, ANSWER] and two.counted[1].asked[0] == ["shop", "web"]
        n = len(two.sent)
        assert 2 <= n <= 8
        assert [one.beating for one in others.counted("", 1000.0)] == [3]
        assert [one.watched for one in others.counted("shop", 1000.0)] == [2]
        assert others.counted("shop", 4000.0) == others.counted("other", 1000.0) == []
        assert others.watched("shop", 1000.0)["b"].beating == 1
        await until(lambda: others.is_empty, "what is old is forgotten")
        await until(lambda: a._timer is None)
        assert len(two.sent) == n
        others.want("shop")
        await until(lambda: len(two.sent) > n)
        two.stop()
        others.want("shop")
        assert a._timer is None

    run(main())


def test_a_question_after_a_pause_does_not_wait_for_its_end(run, monkeypatch):
    monkeypatch.setattr(census, "SLOW_S", 1000.0)

    async def main():
        two = Two()
        a, others = two.each[0], two.counted[0].others
        others.want("shop")
        two.counted[0].prune_others = lambda: None
        await until(lambda: a._is_idle)
        n = len(two.sent)
        others.want("shop")
        await until(lambda: len(two.sent) > n)
        two.stop()

    run(main())


def test_many_services_have_their_turns_and_too_many_are_counted(run, monkeypatch):
    monkeypatch.setattr(census, "MOST_WANTED", 10)

    async def main():
        two = Two()
        a = two.each[0]
        for n in range(50):
            a.want(f"s{n}")
        await until(lambda: not a._wanted)
        asked = {service for some in two.counted[1].asked for service in some}
        assert asked == {f"s{n}" for n in range(40)}
        assert max(map(len, two.counted[1].asked)) == 10
        assert a.stats()["left_out"] == 10
        two.stop()

    run(main())


def test_answers_that_are_late_or_of_a_stranger_and_names_that_cannot_be_sent(run):
    async def main():
        two = Two()
        a, others = two.each[0], two.counted[0].others
        two.reachable = False
        a.want("shop")
        await until(lambda: not a._wanted)
        assert a.stats()["not_sent"] >= 1 and others.is_empty
        a.answered("b", CensusReply(4711, CensusAnswer(CensusPart(1), {})))
        assert a.stats()["slow"] == 1 and others.is_empty
        two.counted[0].took("c", CensusAnswer(CensusPart(1), {}))
        assert others.is_empty
        two.reachable = True
        a.want("\ud800")
        n = a.stats()["not_sent"]
        await until(lambda: two.counted[1].asked == [[]], "a question about all")
        two.counted[1].answer = lambda services: CensusAnswer(CensusPart(1), {"\ud800": CensusPart(1)})
        a.want("shop")
        await until(lambda: two.each[1].stats()["not_sent"] == 1 and a.stats()["not_sent"] == n)
        two.counted[0].took("b", CensusAnswer(CensusPart(1), {}))
        a.set_living("a")
        assert others.is_empty
        two.stop()

    run(main())


def test_a_service_with_too_few_instances_on_each_monitor_is_held_by_all(tmp_path, redis_server):
    """By itself, each would tell its two losses."""

    async def scenario():
        async with fleet_of(3, tmp_path, redis_server, lease_timeout=3.0, hold_enable=True) as monitors:
            n = [0]

            async def beating(service, per_monitor):
                while True:
                    n[0] += 1
                    for k, one in enumerate(monitors):
                        for i in range(per_monitor):
                            one.beat(f"{service}-{k}-{i}", service, timeoutMs=3000)
                    await asyncio.sleep(0.3)

            def held():
                return [one.registry.hold().held for one in monitors]

            async with doing(beating("web", 20)):
                async with doing(beating("shop", 2)):
                    await until(lambda: n[0] > 12)
                await until(lambda: held() == [2, 2, 2], "the hold")
                assert {one.registry.hold().scope for one in monitors} == {"shop"}
                assert not any(one.registry.stats()["losses"] for one in monitors)
                assert all(one.member.census.stats()["taken"] for one in monitors)

                def untold():
                    return sum(one.member.leading.stats()["events_untold"] for one in monitors)

                await until(lambda: untold() == 2, "one message of the hold")

    asyncio.run(scenario())
