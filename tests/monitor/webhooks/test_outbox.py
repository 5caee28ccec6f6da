# SPDX-License-Identifier: MIT
"""The outbox against a server that misbehaves: retries, order, the breaker, and who waits for whom. The clock stands
still but where a test moves it."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")


from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.target_state import Retry
from tests.monitor.webhooks.outbox_world import answers, instances, world
from tests.monitor.webhooks.parts import START_MS, Clock, Hook, MemoryStore, make_change, until

DAY_S = 86_400


def test_each_is_sent_once_and_in_order():
    async def run():
        async with world() as w:
            w.put("t", *range(1, 21), 5, 6)
            await w.settled("done", *range(1, 21))
            assert [body["seq"] for body in w.hook.bodies] == list(range(1, 21))
            assert w.outbox.counts["delivered"] == 20

    asyncio.run(run())


def test_one_that_fails_is_tried_again_later_and_later_and_holds_up_those_behind_it():
    async def run():
        fails = True
        async with world(lambda request: (500 if fails else 200, {}, b"")) as w:
            w.put("t", 1, 2, 3)
            waits = []
            await w.tried(1)
            for _ in range(12):
                row = w.store.rows[0]
                waits.append(row["next_ms"] - w.clock.ms)
                await w.retry()
            assert all(1000 * 2**n <= wait <= 2000 * 2**n for n, wait in enumerate(waits[:4]))
            assert waits[4:] and max(waits) <= 600_000 and min(waits[9:]) >= 300_000
            assert [body["seq"] for body in w.hook.bodies] == [1] * 13
            assert len({request["headers"]["idempotency-key"] for request in w.hook.requests}) == 1
            fails = False
            await w.retry()
            await w.settled("done", 1, 2, 3)
            assert [body["seq"] for body in w.hook.bodies[13:]] == [1, 2, 3]

    asyncio.run(run())


def test_after_a_day_one_is_given_up_and_counted_and_the_next_has_its_turn():
    async def run():
        async with world(lambda request: (503, {}, b"")) as w:
            w.put("t", 1)
            await w.tried(1)
            while w.state(1) == ["waiting"]:
                await w.retry()
            assert DAY_S - 700 < (w.clock.ms - START_MS) / 1000 <= DAY_S
            assert w.state(1) == ["failed"] and w.store.rows[0]["answer"].startswith("503")
            assert w.outbox.counts["given_up"] == 1 and w.outbox.counts["attempts"] > 100
            w.hook.answer = lambda request: (200, {}, b"")
            w.put("t", 2)
            await w.settled("done", 2)  # one message that fails again and again does not open the breaker

    asyncio.run(run())


def test_messages_about_one_instance_are_in_order_and_others_do_not_wait_for_it():
    async def run():
        async with world() as w:
            answers(w, slow=500)
            w.put("t", 1, 2, 3, instance="slow")
            w.put("t", 4, 5, instance="other")
            await w.settled("done", 4, 5)
            await w.clock.run(300)
            await w.settled("waiting", 1, 2, 3)
            assert set(instances(w)) == {"slow", "other"} and w.store.rows[1]["attempts"] == 0
            line = w.outbox.line(w.targets["t"])
            assert line.breaker.state(w.clock.ms) == "closed" and line.breaker.failures > 5
            w.put("t", 6, instance="new")
            await w.settled("done", 6)  # at once
            answers(w)
            await w.clock.run(700, lambda: w.state(1) == ["done"])
            await w.settled("done", 1, 2, 3)
            assert [body["seq"] for body in w.hook.bodies][-3:] == [1, 2, 3]

    asyncio.run(run())


def test_a_loss_overtakes_what_is_less_urgent():
    async def run():
        async with world(lambda request: (200, {}, b'{"errcode":0}')) as w:
            w.add("ding", w.hook.url, kind="dingtalk", allow_private=True)
            for n in range(1, 31):
                w.put("ding", n, instance=f"i{n}", level=("NORMAL", "IMPORTANT")[n % 2])
            await until(lambda: len(w.hook.requests) == 18)
            w.put("ding", 31, instance="lost", level="EMERGENCY")
            w.put("ding", 32, instance="i29")  # a loss behind a recovery of the same instance
            await w.clock.run(61, lambda: w.state(32) == ["done"])
            await w.settled("done", *range(1, 33))
            later = [body["markdown"]["title"] for body in w.hook.bodies[18:]]
            assert {title.split(" / ")[1] for title in later[:2]} == {"lost: LOST", "i29: LOST"}

    asyncio.run(run())


def test_what_is_refused_is_told_at_once_and_given_up_within_a_minute(caplog):
    async def run():
        async with world() as w:
            reported = []
            w.outbox._on_given_up = lambda *what: reported.append(what)
            w.hook.answer = lambda request: (
                200, {}, b'{"errcode":310000,"errmsg":"keywords not in content"}' if b"/ bad" in request["body"]
                else b'{"errcode":0}',
            )  # fmt: skip
            w.add("t", w.hook.url, kind="dingtalk", allow_private=True)
            w.put("t", 1, instance="bad")
            await w.tried(1)
            (record,) = caplog.records
            assert record.levelname == "WARNING" and "path-key" not in record.getMessage()
            for said in ("errcode 310000: keywords not in content", "set the robot's keyword to heartfelt", "/***"):
                assert said in record.getMessage()
            line = w.outbox.line(w.targets["t"])
            assert line.view(w.clock.ms)["refusing"] and not line.last_refusal.given_up
            w.put("t", 2, instance="good")
            await w.settled("done", 2)
            await w.clock.run(61, lambda: w.state(1) == ["failed"])
            await w.settled("failed", 1)
            assert w.store.rows[0]["attempts"] == 3 and w.outbox.counts["refused"] == 1
            view = line.view(w.clock.ms)
            assert (view["refused"], view["given_up"], view["breaker"]) == (1, 1, "closed")
            assert view["last_refusal"]["given_up"] and "keyword" in view["last_refusal"]["remedy"]
            ((target, notice, refusal),) = reported
            assert (target.id, notice.key, refusal) == ("t", "change-1", line.last_refusal)

    asyncio.run(run())


def test_refusals_of_single_messages_delay_no_other_but_a_wrong_address_is_called_less_often():
    async def run():
        for status, state in ((400, "closed"), (404, "open")):
            async with world(lambda request, status=status: (status, {}, b"")) as w:
                line = w.outbox.line(w.targets["t"])
                for n in range(1, 21):
                    w.put("t", n, instance=f"i{n}")
                await until(lambda line=line, w=w: line.failed >= 5 and "claimed" not in w.store.states())
                assert line.breaker.state(w.clock.ms) == state
                answers(w)
                w.outbox.line(w.targets["t"]).changed(w.targets["t"])  # the address is mended
                await w.store.hasten_deliveries("t", w.clock.ms)
                w.outbox.wake()
                await w.settled("done", *range(1, 21))

    asyncio.run(run())


def test_a_target_that_refuses_all_is_given_minutes_to_be_put_right():
    async def run():
        async with world(lambda request: (404, {}, b"")) as w:
            w.put("t", 1)
            await w.tried(1)
            while w.state(1) == ["waiting"]:
                await w.retry()
            assert w.store.rows[0]["attempts"] == 5
            assert 150_000 <= w.clock.ms - START_MS <= 300_000
            w.put("t", 2, instance="bad")
            await w.tried(2)
            answers(w, bad=404)
            w.put("t", 3, instance="good")
            await w.settled("done", 3)  # so it is about that message
            while w.state(2) == ["waiting"]:
                await w.retry()
            assert w.store.rows[1]["attempts"] == 3

    asyncio.run(run())


def test_a_target_that_hangs_delays_no_other():
    async def run():
        async with world(lambda request: "hang", total_s=60) as w, Hook() as good:
            for n in range(20):
                w.add(f"hangs{n}", w.hook.url)
                w.put(f"hangs{n}", 1)
            await until(lambda: w.hook.open == 20)
            w.add("good", good.url)
            w.put("good", *range(1, 6))
            await until(lambda: w.store.states()[20:] == ["done"] * 5)
            assert w.store.states()[:20] == ["claimed"] * 20

    asyncio.run(run())


def test_calls_in_progress_are_bounded_for_a_target_and_in_all():
    async def run():
        async with world(lambda request: "hang", total_s=60) as w:
            for id in ("t", *(f"t{n}" for n in range(19))):
                w.add(id, w.hook.url)
                for n in range(6):
                    w.put(id, n, instance=f"i{n}")
            retry = Retry()
            await until(lambda: w.hook.open == retry.calls)
            await w.clock.run(10)
            assert w.hook.open == retry.calls < 20 * 6
            assert max(w.outbox.line(target).calls for target in w.targets.values()) == retry.calls_of_target

    asyncio.run(run())


def test_a_target_that_keeps_failing_is_called_less_often_and_comes_back():
    async def run():
        async with world(lambda request: "close") as w:
            for n in range(1, 9):
                w.put("t", n, instance=f"i{n}")
            line = w.outbox.line(w.targets["t"])
            await until(lambda: line.breaker.state(w.clock.ms) == "open" and not line.calls)
            calls = len(w.hook.requests)
            assert 5 <= calls <= 8  # those in progress when it opened
            await w.clock.run(29)
            assert len(w.hook.requests) == calls
            for waits_s in (1, 60, 60):  # one probe each, of different messages
                await w.clock.run(waits_s)
                await until(lambda n=calls: len(w.hook.requests) == n + 1 and not line.calls)
                calls += 1
            assert len({body["seq"] for body in w.hook.bodies[-3:]}) == 3
            w.hook.answer = lambda request: (200, {}, b"")
            await w.clock.run(61, lambda: line.delivered)
            await w.clock.run(200, lambda: line.delivered == 8)
            await w.settled("done", *range(1, 9))
            assert line.breaker.state(w.clock.ms) == "closed"

    asyncio.run(run())


def test_a_chat_is_not_called_more_often_than_it_allows():
    async def run():
        async with world(lambda request: (200, {}, b'{"errcode":0}')) as w:
            w.add("ding", w.hook.url, kind="dingtalk", allow_private=True)
            w.put("ding", *range(1, 31))
            await until(lambda: len(w.hook.requests) == 18)
            await w.clock.run(59)
            assert len(w.hook.requests) == 18 and w.state(19) == ["waiting"]
            assert w.store.rows[18]["attempts"] == 0
            await w.clock.run(1)
            await w.settled("done", *range(1, 31))
            assert (w.clock.ms - START_MS) == 60_000

    asyncio.run(run())


def test_a_target_that_asks_to_wait_is_left_alone_for_so_long():
    async def run():
        async with world(lambda request: (429, {"Retry-After": "1234"}, b"")) as w:
            w.put("t", 1)
            await w.tried(1)
            assert w.store.rows[0]["next_ms"] == START_MS + 1_234_000

    asyncio.run(run())


def test_a_new_address_is_called_at_once_whatever_the_old_one_asked_for():
    async def run():
        async with world(lambda request: (429, {"Retry-After": "1234"}, b"")) as w, Hook() as new:
            w.put("t", 1)
            await w.tried(1)
            w.add("t", new.url)
            line = w.outbox.line(w.targets["t"])
            assert line.wait_ms(w.clock.ms) == 1_234_000
            line.changed(w.targets["t"])
            await w.store.hasten_deliveries("t", w.clock.ms)
            w.outbox.wake()
            await w.settled("done", 1)
            assert len(new.requests) == 1

    asyncio.run(run())


@pytest.mark.parametrize("late", [(404, {}, b""), (429, {"Retry-After": "1234"}, b""), (500, {}, b"")])
def test_a_late_answer_of_the_old_address_says_nothing_about_the_new_one(late):
    async def run():
        async with world() as w, Hook() as new:
            line = w.outbox.line(w.targets["t"])

            def answer(request):
                w.add("t", new.url)  # while the call is in progress
                line.changed(w.targets["t"])
                return late

            w.hook.answer = answer
            w.put("t", 1)
            w.store.rows[0]["attempts"] = 4  # so that this is the last attempt for a refused message
            await until(lambda: line.failed and w.state(1) != ["claimed"])
            assert line.wait_ms(w.clock.ms) == 0 and not line.refusing and line.breaker.failures == 0
            assert w.store.rows[0]["next_ms"] - w.clock.ms <= 2000
            await w.retry()
            await w.settled("done", 1)

    asyncio.run(run())


def test_while_the_store_fails_nothing_is_lost_nor_sent_twice():
    async def run():
        async with world() as w:

            def answer(request):
                w.store.broken = True  # before it can take note of the answer
                return 200, {}, b""

            w.hook.answer = answer
            w.put("t", 1, 2)
            await until(lambda: w.outbox.counts["store_errors"] > 0)
            await w.clock.run(30)
            assert w.state(1) == ["claimed"] and len(w.hook.requests) == 1
            w.store.rows[0]["next_ms"] = 0  # as if its claim had ended meanwhile
            w.hook.answer = lambda request: (200, {}, b"")
            w.store.broken = False
            await w.clock.run(10)
            await w.settled("done", 1, 2)
            assert [body["seq"] for body in w.hook.bodies] == [1, 2]

    asyncio.run(run())


def test_one_that_was_sent_is_not_sent_again_though_the_store_gives_it_again():
    async def run():
        async with world() as w:
            finish, calls = w.store.finish_delivery, 0

            async def refuse(number, **more):
                nonlocal calls
                calls += 1
                raise OSError("disk full")

            w.store.finish_delivery = refuse
            w.put("t", 1)
            await until(lambda: calls > 0)
            attempts = w.store.rows[0]["attempts"]
            await w.clock.run(200, lambda: w.store.rows[0]["attempts"] > attempts)  # its claim ends
            await w.clock.run(10)
            assert w.store.rows[0]["attempts"] == attempts + 1
            await until(lambda: not w.outbox.line(w.targets["t"]).calls)
            assert len(w.hook.requests) == 1
            w.store.finish_delivery = finish
            await w.clock.run(10)
            await w.settled("done", 1)
            assert len(w.hook.requests) == 1

    asyncio.run(run())


def test_what_waits_for_a_target_that_is_gone_or_switched_off_is_dropped():
    async def run():
        async with world() as w:
            w.add("off", w.hook.url, enabled=False)
            w.put("off", 1)
            w.add("gone", w.hook.url)
            gone = w.targets.pop("gone")
            w.outbox.put(gone, of_entry(of_change(make_change(2), False)))
            await w.settled("failed", 1, 2)
            assert w.outbox.counts["dropped"] == 2 and w.hook.requests == []

    asyncio.run(run())


def test_a_message_that_cannot_be_read_ends_nothing_but_itself():
    async def run():
        async with world() as w:
            w.store.put_delivery("t", "bad", {"time_ms": START_MS, "kind": 5})
            w.put("t", 2)
            await w.settled("failed", 1)
            await w.settled("done", 2)

    asyncio.run(run())


def test_a_monitor_that_ends_in_the_middle_of_a_call_makes_it_again():
    async def run():
        clock, store = Clock(), MemoryStore()
        async with world(lambda request: "hang", clock=clock, store=store, total_s=60) as w:
            w.put("t", 1)
            await until(lambda: len(w.hook.requests) == 1)
        assert store.states() == ["claimed"]
        clock.advance(200)
        async with world(clock=clock, store=store) as w:
            await w.settled("done", 1)
            assert [body["seq"] for body in w.hook.bodies] == [1]

    asyncio.run(run())
