# SPDX-License-Identifier: MIT
"""No target is told of a recovery without the loss: whatever was filtered, refused, merged or missed, over restarts."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, until
from tests.monitor.webhooks.test_service import crash, make, offer, running

LOST, FAILED, STUCK, UP = "LOST", "FAILED", "STUCK", "UP"


def heard(hook, name="new"):
    return [body.get(name) for body in hook.bodies]


async def play(hooks, store, clock, *steps):
    """steps: (old, new) or (old, new, more), one every ten seconds."""
    for seq, (old, new, *more) in enumerate(steps, len(store.stored_changes) + 1):
        offer(hooks, store, clock, seq, old=old, new=new, **(more[0] if more else {}))
        await clock.run(10)
        await until(lambda: "claimed" not in store.states())


def told_with(filter_, *steps):
    """The new states of which a target with this filter is told."""

    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url, "filter": filter_})
            await play(hooks, store, clock, *steps)
            return heard(hook)

    return asyncio.run(run())


NORMAL, IMPORTANT = {"level": "NORMAL"}, {"level": "IMPORTANT"}


@pytest.mark.parametrize(
    ("filter_", "steps", "told"),
    [
        ({}, [(UP, LOST), (LOST, UP)], [LOST, UP]),
        ({}, [(UP, STUCK, IMPORTANT), (STUCK, UP, IMPORTANT)], [STUCK, UP]),
        ({}, [(UP, STUCK, IMPORTANT), (STUCK, "LATE", NORMAL), ("LATE", UP, NORMAL)], [STUCK, UP]),
        ({}, [("LATE", UP, NORMAL)], []),
        ({}, [(UP, FAILED), (FAILED, LOST), (LOST, FAILED), (FAILED, UP)], [FAILED, LOST, FAILED, UP]),
        ({}, [(UP, LOST), (LOST, LOST), (LOST, UP)], [LOST, LOST, UP]),  # an acknowledgement ran out
        ({}, [(UP, LOST), (LOST, FAILED, NORMAL), (FAILED, UP)], [LOST, UP]),  # acknowledged
        ({}, [(UP, LOST, NORMAL), (LOST, UP)], []),  # paused
        ({}, [(UP, LOST), (LOST, "PAUSED", NORMAL), ("PAUSED", UP, IMPORTANT)], [LOST, UP]),
        ({}, [(UP, "PAUSED", NORMAL), ("PAUSED", UP, IMPORTANT)], []),
        ({}, [(UP, "LEFT", NORMAL), ("LEFT", UP, {"outage_ms": 5})], []),
        ({"states": ["LEFT", UP]}, [(UP, "LEFT", NORMAL), ("LEFT", UP, {"outage_ms": 5})], ["LEFT", UP]),
        ({}, [(UP, LOST), (LOST, "LEFT", NORMAL), ("LEFT", UP, {"outage_ms": 5})], [LOST, UP]),
        ({"levels": ["EMERGENCY"]}, [(UP, STUCK, IMPORTANT), (STUCK, UP, IMPORTANT)], []),
        ({"states": [LOST]}, [(UP, LOST), (LOST, UP), (UP, LOST)], [LOST, LOST]),
        ({"states": [UP]}, [(UP, LOST), (LOST, UP)], []),
        ({"states": [UP]}, [(UP, LOST), (LOST, UP)] * 9, []),  # flapping
        ({"states": [LOST, UP]}, [(UP, LOST), (LOST, FAILED), (FAILED, UP)], [LOST, UP]),
        ({}, [(UP, LOST), (LOST, "REMOVED", NORMAL), (None, "NEW", NORMAL), ("NEW", UP, {"outage_ms": 1})], [LOST]),
        ({"services": ["other"]}, [(UP, LOST), (LOST, UP)], []),
    ],
)
def test_who_is_told_of_a_recovery(filter_, steps, told):
    assert told_with(filter_, *steps) == told


def refusing(*states):
    """A robot that refuses messages of these states."""

    def answer(request):
        refused = json.loads(request["body"]).get("new") in states
        return (400 if refused else 200), {}, b""

    return answer


def accepted(hook):
    return [state for state in heard(hook) if hook.answer({"body": json.dumps({"new": state}).encode()})[0] == 200]


def test_a_loss_that_was_refused_has_no_recovery():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook(refusing(LOST)) as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url}, id="t")
            await play(hooks, store, clock, (UP, LOST))
            offer(hooks, store, clock, 2, old=LOST, new=UP)  # it waits for the message before it
            await clock.run(100, lambda: store.states() == ["failed", "failed"])
            await until(lambda: store.states() == ["failed", "failed"])
            assert UP not in heard(hook) and hooks.stats()["moot"] == 1 and hooks.stats()["refused"] == 1
            await play(hooks, store, clock, (UP, LOST))
            await clock.run(100, lambda: store.states()[2] == "failed")
            await play(hooks, store, clock, (LOST, UP))
            assert UP not in heard(hook) and hooks.stats()["untold"] == 1
            await clock.run(400)  # it does not count as flapping any more
            await play(hooks, store, clock, (UP, FAILED), (FAILED, LOST))
            await clock.run(100, lambda: store.states()[-1] == "failed")
            await play(hooks, store, clock, (LOST, UP))
            assert accepted(hook) == [FAILED, UP]  # it was told of the failure

    asyncio.run(run())


def test_a_recovery_that_is_refused_holds_up_nothing():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook(refusing(UP)) as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url})
            await play(hooks, store, clock, (UP, LOST), (LOST, UP))
            await play(hooks, store, clock, (UP, LOST, {"instance": "i2"}))
            assert accepted(hook) == [LOST, LOST]
            offer(hooks, store, clock, 4, old=UP, new=LOST)  # of the same instance: a minute at most
            await clock.run(62, lambda: len(accepted(hook)) == 3)
            await until(lambda: accepted(hook) == [LOST, LOST, LOST])

    asyncio.run(run())


def test_a_target_made_after_the_loss_is_not_told_of_its_end():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await play(hooks, store, clock, (UP, LOST))
            await hooks.create({"kind": "generic", "url": hook.url})
            await play(hooks, store, clock, (LOST, UP), (UP, LOST), (LOST, UP))
            assert heard(hook) == [LOST, UP]

    asyncio.run(run())


def test_what_happens_while_a_target_is_off_is_not_told_when_it_is_on_again():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook(lambda request: (503, {}, b"")) as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url}, id="t")
            await play(hooks, store, clock, (UP, LOST))
            await hooks.update("t", {"enabled": False})
            assert store.states() == ["failed"] and store.rows[0]["answer"] == "switched off"
            calls = len(hook.requests)
            hook.answer = lambda request: (200, {}, b"")
            await play(hooks, store, clock, (LOST, UP), (UP, LOST))
            await hooks.update("t", {"enabled": True})
            await play(hooks, store, clock, (LOST, UP))
            assert len(hook.requests) == calls
            await play(hooks, store, clock, (UP, LOST), (LOST, UP))
            assert heard(hook)[calls:] == [LOST, UP]

    asyncio.run(run())


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_what_was_told_outlives_a_restart(end):
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, Hook() as late:
            hooks = make(store, clock)
            await hooks.start()
            await hooks.create({"kind": "generic", "url": hook.url}, id="t")
            await play(hooks, store, clock, (UP, LOST))
            await hooks.create({"kind": "generic", "url": late.url}, id="late")
            await (hooks.stop() if end == "stop" else crash(hooks))
            clock.advance(30 * 86_400)
            async with running(store, clock) as hooks:
                await play(hooks, store, clock, (LOST, UP))
                assert (heard(hook), heard(late)) == ([LOST, UP], [])
            async with running(store, clock) as hooks:
                assert store.told_of["t"] == {}

    asyncio.run(run())


def test_of_many_recoveries_only_those_that_were_told_count():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            for n in range(5):
                offer(hooks, store, clock, n + 1, instance=f"before {n}")
            await clock.run(40)
            await hooks.create({"kind": "generic", "url": hook.url})
            for n in range(4):
                offer(hooks, store, clock, n + 6, instance=f"after {n}")
            await clock.run(40)
            names = [*(f"before {n}" for n in range(5)), *(f"after {n}" for n in range(4))]
            for seq, name in enumerate(names, 10):
                offer(hooks, store, clock, seq, instance=name, old=LOST, new=UP, outage_ms=seq * 1000)
            await clock.run(40, lambda: len(hook.requests) == 2)
            await until(lambda: len(hook.requests) == 2)
            lost, recovered = hook.bodies
            assert lost["counts"] == {LOST: 4}
            assert (recovered["counts"], recovered["count"], recovered["instances"]) == ({"RECOVERED": 4}, 4, 4)
            assert recovered["names"] == [f"after {n}" for n in range(4)] and recovered["outage_ms"] == 18_000
            assert hooks.stats()["untold"] == 5
            for seq, name in enumerate(names, 19):  # each once
                offer(hooks, store, clock, seq, instance=name, old=LOST, new=UP)
            await clock.run(40)
            assert len(hook.requests) == 2

    asyncio.run(run())


def test_a_recovery_waits_for_the_message_of_several_that_told_the_loss():
    async def run():
        clock, store = Clock(), MemoryStore()
        fails = True

        def answer(request):
            return (500 if fails and json.loads(request["body"])["event"] == "mass" else 200), {}, b""

        async with Hook(answer) as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url})
            for n in range(5):
                offer(hooks, store, clock, n + 1, instance=f"i{n}")
            await clock.run(5, lambda: hook.requests)
            await until(lambda: hook.requests)
            await clock.run(31)  # the service is not gathered for longer any more
            offer(hooks, store, clock, 6, instance="i1", old=LOST, new=UP)
            offer(hooks, store, clock, 7, instance="other")
            await clock.run(40, lambda: heard(hook, "instance_id").count("other") == 1)
            await clock.run(100)
            assert {body["instance_id"] for body in hook.bodies if "instance_id" in body} == {"other"}
            fails = False
            await clock.run(700, lambda: heard(hook)[-1] == UP)
            await until(lambda: heard(hook)[-1] == UP)
            assert [body["event"] for body in hook.bodies][-2:] == ["mass", "change"]

    asyncio.run(run())
