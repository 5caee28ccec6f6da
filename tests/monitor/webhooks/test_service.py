# SPDX-License-Identifier: MIT
"""Webhooks as the monitor uses them: from a change to a message, over restarts, and what the API does with targets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

import msgspec

from heartfelt.monitor.model import Level
from heartfelt.monitor.webhooks import TargetError, UnknownTarget, Webhooks, WebhookSettings
from tests.monitor.webhooks.parts import Clock, Hook, MemoryStore, make_change, make_event, until

SECRETS = ("the-secret", "path-key", "query-key")


def make(store, clock, **settings):
    return Webhooks(
        store,
        WebhookSettings(allow_private=True, **settings),
        wall_ms=clock.wall_ms,
        pause=clock.pause,
        rng=random.Random(1),
    )


@contextlib.asynccontextmanager
async def running(store, clock, **settings):
    hooks = make(store, clock, **settings)
    await hooks.start()
    try:
        yield hooks
    finally:
        await hooks.stop()


async def crash(hooks):
    """The process is killed: nothing is flushed, nothing is noted."""
    hooks._ticker.cancel()
    hooks._outbox._worker.cancel()
    calls = list(hooks._outbox._calls)
    for task in calls:
        task.cancel()
    await asyncio.gather(hooks._ticker, hooks._outbox._worker, *calls, return_exceptions=True)
    await hooks._caller.close()


def told(hook):
    return [body["key"] for body in hook.bodies]


def offer(hooks, store, clock, seq, **more):
    change = make_change(seq, time_ms=clock.ms, **more)
    store.put_change(change)
    hooks.offer(change)


def test_a_loss_and_a_recovery_are_told():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url, "secret": "the-secret"})
            offer(hooks, store, clock, 1)
            await clock.run(3)
            offer(hooks, store, clock, 2, old="LOST", new="UP", outage_ms=192_000, level="NORMAL")
            await clock.run(10, lambda: len(hook.requests) == 2)
            await until(lambda: len(hook.requests) == 2)
            assert [body["title"] for body in hook.bodies] == [
                "[EMERGENCY] shop / i1: LOST",
                "[NORMAL] shop / i1: recovered after 3 min 12 s",
            ]
            await until(lambda: hooks.stats()["delivered"] == 2)
            assert hooks.stats()["targets"] == 1 and hooks.stats()["open"] == 0

    asyncio.run(run())


def test_events_are_told_to_who_wants_them():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url, "filter": {"event_types": ["LOG"]}})
            hooks.offer_event(make_event(received_ms=clock.ms))
            hooks.offer_event(make_event(received_ms=clock.ms, type="STATE"))
            hooks.offer_event(make_event(received_ms=clock.ms, type="OPERATION"))
            offer(hooks, store, clock, 1)
            await clock.run(5)
            await until(lambda: len(hook.requests) == 1)
            assert hook.bodies[0]["event_name"] == "disk"

    asyncio.run(run())


@pytest.mark.parametrize("end", ["stop", "crash", "either"])
@pytest.mark.parametrize("seed", range(4))
def test_each_change_is_told_exactly_once_over_restarts(end, seed):
    """The monitor ends again and again, at any moment; each time the store is all that is left."""

    async def run():
        rng = random.Random(seed)
        clock, store, seq = Clock(), MemoryStore(), 0
        async with Hook() as hook:
            hooks = make(store, clock)
            await hooks.start()
            await hooks.create({"kind": "generic", "url": hook.url, "filter": {"states": []}}, id="t")
            for _ in range(12):
                for _ in range(rng.randrange(1, 8)):
                    seq += 1
                    offer(hooks, store, clock, seq, instance=f"i{seq}", service=rng.choice("abc"))
                    await clock.run(rng.choice((0, 0, 1, 4)))
                if end == "stop" or (end == "either" and rng.random() < 0.5):
                    await hooks.stop()
                else:
                    await crash(hooks)
                clock.advance(rng.choice((0, 130)))  # 130 s: the claims of deliveries have ended
                hooks = make(store, clock)
                await hooks.start()
            await clock.run(200)
            await until(lambda: set(store.states()) == {"done"})
            await hooks.stop()
            singles = [body["seq"] for body in hook.bodies if body["event"] == "change"]
            merged = sum({body["key"]: body["count"] for body in hook.bodies if body["event"] == "mass"}.values())
            keys = [row["key"] for row in store.rows]
            assert len(keys) == len(set(keys))
            assert len(set(singles)) + merged == seq  # a key may arrive twice if the end came before the store's note
            assert sorted(set(told(hook))) == sorted(keys)

    asyncio.run(run())


def test_what_was_held_back_when_the_monitor_was_killed_is_told_after_the_start():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:
            hooks = make(store, clock)
            await hooks.start()
            await hooks.create({"kind": "generic", "url": hook.url})
            for seq in range(1, 21):  # flaps
                old, new = ("UP", "LOST") if seq % 2 else ("LOST", "UP")
                offer(hooks, store, clock, seq, old=old, new=new)
                await clock.run(10)
            await until(lambda: store.states() == ["done"] * 6)
            await crash(hooks)
            clock.advance(7200)
            async with running(store, clock) as hooks:
                await clock.run(5)
                await until(lambda: len(hook.requests) == 7)
                await clock.run(400)
                assert hooks.stats()["replayed"] > 0
            assert [body["key"] for body in hook.bodies] == [*(f"change-{n}" for n in range(1, 7)), "flapping-change-7"]
            assert hook.bodies[-1]["title"].endswith("changed 20 times in 3 min 10 s, now UP")

    asyncio.run(run())


def test_what_is_held_back_when_the_monitor_stops_is_in_the_outbox_and_not_told_again():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:
            async with running(store, clock) as hooks:
                await hooks.create({"kind": "generic", "url": hook.url})
                for seq in range(1, 12):
                    offer(hooks, store, clock, seq, instance="a" if seq < 11 else "b")
                    await clock.run(3 if seq < 10 else 0)
            assert [row["key"] for row in store.rows][-2:] == ["change-11", "flapping-change-7"]
            async with running(store, clock) as hooks:
                offer(hooks, store, clock, 12, instance="a")
                await clock.run(90)
                await until(lambda: store.rows[-1]["state"] == "done")
            assert [row["key"] for row in store.rows][-2:] == ["flapping-change-7", "flapping-change-12"]
            hooks = make(store, clock)
            await hooks.start()
            offer(hooks, store, clock, 13, instance="a")
            await crash(hooks)  # before its position is noted: the store still says that all was flushed
            async with running(store, clock):
                await clock.run(90)
                await until(lambda: store.rows[-1]["state"] == "done")
            assert [row["key"] for row in store.rows][-2:] == ["flapping-change-12", "flapping-change-13"]

    asyncio.run(run())


def test_a_clean_stop_and_then_a_crash_lose_nothing_of_what_was_gathered_between():
    """A stop ends the time for which a service is gathered for long; the one that starts after a crash must know."""

    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:

            async def lose(hooks, seqs, seconds):
                for seq in seqs:
                    offer(hooks, store, clock, seq, instance=f"i{seq}")
                await clock.run(seconds)

            async with running(store, clock) as hooks:
                await hooks.create({"kind": "generic", "url": hook.url})
                await lose(hooks, range(1, 6), 5)  # several: from now on the service is gathered for 30 s
            hooks = make(store, clock)
            await hooks.start()
            await lose(hooks, range(6, 11), 4)
            await lose(hooks, range(11, 15), 4)
            await crash(hooks)
            async with running(store, clock):
                await clock.run(90)
                await until(lambda: store.rows[-1]["state"] == "done")
            keys = {row["key"]: row["payload"]["count"] for row in store.rows}
            assert keys == {"mass-change-1": 5, "mass-change-6": 5, "mass-change-11": 4}

    asyncio.run(run())


def test_changes_offered_before_the_start_wait_for_it():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:
            async with running(store, clock) as hooks:
                await hooks.create({"kind": "generic", "url": hook.url})
            hooks = make(store, clock)
            offer(hooks, store, clock, 1)
            hooks.offer_event(make_event())
            await hooks.start()
            await clock.run(3)
            await until(lambda: told(hook) == ["change-1"])
            await hooks.stop()
            await hooks.stop()

    asyncio.run(run())


def test_a_new_target_is_not_told_what_was_before_it():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook:
            hooks = make(store, clock)
            await hooks.start()
            await hooks.create({"kind": "generic", "url": hook.url, "filter": {"services": ["x"]}})
            offer(hooks, store, clock, 1)
            clock.advance(1)
            await hooks.create({"kind": "generic", "url": hook.url})
            await crash(hooks)
            async with running(store, clock):
                await clock.run(10)
            assert hook.requests == []

    asyncio.run(run())


def test_targets_can_be_made_changed_deleted_and_outlive_a_restart(caplog):
    async def run():
        clock, store = Clock(), MemoryStore()
        async with running(store, clock, levels=(Level.EMERGENCY,)) as hooks:
            made = await hooks.create({"kind": "feishu", "url": "https://open.feishu.cn/hook/path-key", "name": "ops",
                                       "secret": "the-secret"}, id="0")  # fmt: skip
            assert made["id"] == "0" and list(made["filter"]["levels"]) == ["EMERGENCY"] and made["breaker"] == "closed"
            with pytest.raises(TargetError, match="already"):
                await hooks.create({"kind": "slack", "url": "https://hooks.slack.com/x"}, id="0")
            clock.advance(1)
            await hooks.update("0", {"enabled": False, "url": made["url"]})
        async with running(store, clock) as hooks:
            [found] = hooks.targets()
            assert (found["enabled"], found["name"], found["secret"]) == (False, "ops", "***")
            assert store.document["webhook", "0"]["url"] == "https://open.feishu.cn/hook/path-key"
            await hooks.delete("0")
            assert hooks.targets() == []
            for call in (hooks.update("0", {}), hooks.delete("0"), hooks.test("0")):
                with pytest.raises(UnknownTarget, match="there is no webhook '0'"):
                    await call
            with pytest.raises(UnknownTarget):
                hooks.get("0")
        store.document["webhook", "bad"] = {"url": 5}
        async with running(store, clock) as hooks:
            assert hooks.targets() == [] and hooks.stats()["bad_documents"] == 1

    asyncio.run(run())
    assert "webhook bad in the store cannot be read" in caplog.text


def test_a_private_address_is_refused_unless_it_is_allowed():
    async def run():
        clock, store = Clock(), MemoryStore()
        hooks = Webhooks(store, wall_ms=clock.wall_ms, pause=clock.pause)
        await hooks.start()
        async with Hook() as hook:
            with pytest.raises(TargetError, match="allow_private"):
                await hooks.create({"kind": "generic", "url": hook.url})
            made = await hooks.create({"kind": "generic", "url": hook.url, "allow_private": True})
            assert (await hooks.test(made["id"]))["ok"]
            by_name = f"http://localhost:{hook.port}/"
            made = await hooks.create({"kind": "generic", "url": by_name})  # cannot be seen yet
            answer = await hooks.test(made["id"])
            assert not answer["ok"] and "allow_private" in answer["error"] and len(hook.requests) == 1
        await hooks.stop()

    asyncio.run(run())


def test_a_test_call_tells_what_came_of_it():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook(lambda request: (500, {}, b"no such robot")) as hook, running(store, clock) as hooks:
            made = await hooks.create({"kind": "dingtalk", "url": hook.url, "allow_private": True, "language": "zh"})
            answer = await hooks.test(made["id"])
            assert (answer["ok"], answer["status"], answer["excerpt"]) == (False, 500, "no such robot")
            assert answer["error"] == "status 500" and answer["duration_ms"] >= 0
            assert hook.bodies[0]["markdown"]["title"] == "heartfelt 测试消息"
            assert store.rows == []
            hook.answer = lambda request: (200, {}, b'{"errcode":0}')
            assert (await hooks.test(made["id"]))["ok"]

    asyncio.run(run())


def test_no_secret_is_in_any_answer_log_stored_message_or_count(caplog):
    async def run():
        clock, store = Clock(), MemoryStore()
        seen = []

        def echo(request):
            own = "" if b'"blocks"' in request["body"] else "the-secret"
            return 500, {}, f"{own} {request['line']} {request['headers']} {request['body']}".encode()

        async with Hook(echo) as hook, running(store, clock) as hooks:
            given = {"url": hook.url, "secret": "the-secret", "allow_private": True}
            for kind in ("generic", "dingtalk", "feishu"):
                made = await hooks.create({**given, "kind": kind})
                seen += [made, await hooks.test(made["id"])]
            made = await hooks.create({"kind": "slack", "url": hook.url, "allow_private": True})
            seen.append(await hooks.test(made["id"]))
            offer(hooks, store, clock, 1)
            await clock.run(3)
            await until(lambda: len(store.rows) == 4 and all(row["attempts"] for row in store.rows))
            await until(lambda: "claimed" not in store.states())
            seen += [hooks.targets(), hooks.stats(), await store.deliveries(None, None, 100), store.rows]
        return msgspec.json.encode(seen).decode()

    with caplog.at_level(logging.DEBUG):
        text = asyncio.run(run()) + caplog.text
    assert "attempt 1 failed: 500" in text
    for secret in SECRETS:
        assert secret not in text


def test_while_the_store_fails_changes_are_taken_all_the_same():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url})
            store.broken = True
            offer(hooks, store, clock, 1)
            await clock.run(30)
            assert hooks.stats()["store_errors"] > 1
            store.broken = False
            await clock.run(10)
            await until(lambda: told(hook) == ["change-1"])

    asyncio.run(run())


def test_a_mass_loss_does_not_hold_up_the_loop_for_long():
    """Counted, not timed: what one change costs does not grow with how many there were."""

    async def run():
        clock, store = Clock(), MemoryStore()
        async with Hook() as hook, running(store, clock) as hooks:
            await hooks.create({"kind": "generic", "url": hook.url})
            for seq in range(1, 20_001):
                hooks.offer(make_change(seq, time_ms=clock.ms, instance=f"i{seq}"))
            assert len(hooks._dampers[hooks.targets()[0]["id"]]._timers) == 1
            await clock.run(3)
            await until(lambda: len(hook.requests) == 1)
            assert hook.bodies[0]["counts"] == {"LOST": 20_000} and len(hook.bodies[0]["names"]) == 10

    asyncio.run(run())
