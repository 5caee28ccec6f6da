# SPDX-License-Identifier: MIT
"""Waiting and ending: no cancellation is lost, whenever it comes, and nothing is waited for without a bound."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor import tasks
from heartfelt.monitor.loop import run_loop
from heartfelt.monitor.stopping import Stopping
from heartfelt.monitor.tasks import Hung, TimedEvent, end_tasks, join_thread, run_in_thread, task_stack, within
from tests.monitor.stepped import SteppedLoop, orders

LONG_S = 60
withins = pytest.mark.parametrize("within", [within, tasks._within], ids=["of this version", "of Python 3.10"])


def play(loop, task, plan, steps=12):
    for n in range(steps):
        for action in plan.get(n, ()):
            with loop:
                action()
        loop.step()
    loop.settle(task.done)


def check(plan, task, was_cancelled, results):
    """A cancellation that was accepted ends the task as cancelled; without one it has one of the results."""
    assert task.done(), f"{plan}: it hangs"
    if was_cancelled == [True]:
        assert task.cancelled(), f"{plan}: the cancellation was swallowed"
    elif isinstance(task.exception(), asyncio.TimeoutError):
        assert "timeout" in results, plan
    else:
        assert task.result() in results, plan


def test_an_event_a_time_and_a_cancellation_in_each_order():
    async def wait(event):
        return await event.wait(5.0)

    for plan in orders(7, "set", "time", "cancel"):
        loop, event, was_cancelled = SteppedLoop(), TimedEvent(), []
        task = loop.start(wait(event))
        actions = {
            "set": event.set,
            "time": lambda loop=loop: loop.advance(5.0),
            "cancel": lambda task=task, done=was_cancelled: done.append(task.cancel()),
        }
        play(loop, task, {step: [actions[name] for name in names] for step, names in plan.items()})
        check(plan, task, was_cancelled, (True, False))
        assert not event._waiting and not loop.errors


@withins
def test_a_result_a_time_limit_and_a_cancellation_in_each_order(within):
    async def work(event):
        await event.wait()
        return "done"

    async def limited(event):
        return await within(5.0, work(event))

    for plan in orders(7, "set", "time", "cancel"):
        loop, event, was_cancelled = SteppedLoop(), asyncio.Event(), []
        task = loop.start(limited(event))
        actions = {
            "set": event.set,
            "time": lambda loop=loop: loop.advance(5.0),
            "cancel": lambda task=task, done=was_cancelled: done.append(task.cancel()),
        }
        play(loop, task, {step: [actions[name] for name in names] for step, names in plan.items()}, steps=20)
        check(plan, task, was_cancelled, ("done", "timeout"))
        assert not loop.errors


@withins
def test_within_gives_the_result_the_error_or_a_timeout(within):
    async def fails():
        raise ZeroDivisionError

    async def for_ever():
        await asyncio.Event().wait()

    async def cancelled():
        raise asyncio.CancelledError

    async def cleans_up():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2)

    async def answers_late():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"

    loop = SteppedLoop()
    assert loop.finish(within(1.0, asyncio.sleep(0.5, "result"))) == "result"
    for coroutine, error in ((fails, ZeroDivisionError), (for_ever, asyncio.TimeoutError)):
        with pytest.raises(error):
            loop.finish(within(1.0, coroutine()))
    with pytest.raises(asyncio.CancelledError):
        loop.finish(within(1.0, cancelled()))
    began = loop.now
    with pytest.raises(asyncio.TimeoutError):
        loop.finish(within(1.0, cleans_up()))
    assert loop.now == began + 3.0  # it was let clean up
    assert loop.finish(within(1.0, answers_late())) == "late"


class Stubborn:
    """Work that swallows its first cancellations."""

    def __init__(self, swallows):
        self.swallows = swallows
        self.release = asyncio.Event()

    async def work(self):
        while True:
            try:
                await self._sleep()
                return
            except asyncio.CancelledError:
                if not self.swallows:
                    raise
                self.swallows -= 1

    async def _sleep(self):
        await self.release.wait()


def test_a_task_that_survives_its_cancellation_is_cancelled_again():
    for swallows in range(tasks.AGAIN):
        loop = SteppedLoop()
        task = loop.start(Stubborn(swallows).work())
        loop.settle()
        assert loop.finish(end_tasks([task], seconds=1.0)) == []
        assert task.cancelled()
        assert loop.now == pytest.approx(swallows / tasks.AGAIN)


def test_a_task_that_does_not_end_is_logged_by_name_with_its_stack_and_left(caplog):
    loop, stubborn = SteppedLoop(), Stubborn(10**9)
    task, good = loop.start(stubborn.work(), "the stubborn one"), loop.start(asyncio.sleep(1000))
    loop.settle()
    assert loop.finish(end_tasks([task, good], seconds=1.0)) == [task]
    assert good.cancelled()
    assert 1.0 <= loop.now < 1.5
    (record,) = caplog.records
    text = record.getMessage()
    assert record.levelno == logging.ERROR
    assert "'the stubborn one' did not end within 1 s" in text
    assert "in work" in text and "in _sleep" in text and "await self.release.wait()" in text  # the whole chain
    stubborn.swallows = 0
    with loop:
        task.cancel()
    assert loop.settle(task.done)


def test_an_error_with_which_a_task_ended_is_logged(caplog):
    async def fails():
        raise ZeroDivisionError("of the work")

    loop = SteppedLoop()
    task = loop.start(fails(), "the worker")
    loop.settle()
    assert loop.finish(end_tasks([task], seconds=1.0)) == []
    assert "'the worker' ended with an error" in caplog.text and "of the work" in caplog.text


def test_a_stack_goes_through_generators_awaitables_and_tasks():
    class Awaitable:
        def __await__(self):
            return inner_of_awaitable().__await__()

    async def inner_of_awaitable():
        await asyncio.Event().wait()

    async def generates():
        await Awaitable()
        yield 1

    async def reads():
        async for _ in generates():
            pass

    async def waits_for_a_task():
        await asyncio.ensure_future(reads())

    loop = SteppedLoop()
    task = loop.start(waits_for_a_task())
    loop.settle()
    text = task_stack(task)
    names = ["in waits_for_a_task", "in the task", "in reads", "in generates", "in inner_of_awaitable", "in wait\n"]
    places = [text.find(name) for name in names]
    assert -1 not in places and places == sorted(places), text
    assert "which waits for <Future pending" in text
    with loop:
        task.cancel()
    assert loop.settle(task.done)


# -- threads


def test_what_runs_in_a_thread_gives_its_result_or_its_error():
    def fails():
        raise ZeroDivisionError

    async def scenario():
        assert await run_in_thread("t", threading.current_thread, seconds=LONG_S) is not threading.main_thread()
        assert (await run_in_thread("t", threading.current_thread)).daemon
        with pytest.raises(ZeroDivisionError):
            await run_in_thread("t", fails, seconds=LONG_S)

    asyncio.run(scenario())


def test_a_thread_that_does_not_end_is_logged_by_name_with_its_stack_and_left(caplog):
    go_on, ended = threading.Event(), threading.Event()

    def waits_for_the_disk():
        go_on.wait()
        ended.set()

    async def scenario():
        with pytest.raises(Hung):
            await run_in_thread("the store's", waits_for_the_disk, seconds=0.05)

    asyncio.run(scenario())
    assert '"the store\'s" did not end within 0.05 s' in caplog.text
    assert "in waits_for_the_disk" in caplog.text
    go_on.set()
    assert ended.wait(LONG_S)  # though the loop is closed
    caplog.clear()
    go_on.clear()
    thread = threading.Thread(target=waits_for_the_disk, name="another", daemon=True)
    thread.start()
    assert not join_thread(thread, 0.05)
    assert "'another' did not end" in caplog.text and "in waits_for_the_disk" in caplog.text
    go_on.set()
    assert join_thread(thread, LONG_S)


# -- the steps of a stop


def test_each_step_of_a_stop_has_a_bound_of_its_own_and_the_next_ones_are_done(caplog):
    loop, stubborn, done = SteppedLoop(), Stubborn(10**9), []

    async def fails():
        raise ZeroDivisionError("of a part")

    async def is_cancelled():
        raise asyncio.CancelledError

    with loop:
        stopping = Stopping()
    stopping.add("the first", lambda: done.append(1), seconds=0.0)
    stopping.add("the failing", fails, seconds=1.0)
    stopping.add("the cancelled", is_cancelled, seconds=1.0)
    stopping.add("the slow", lambda: asyncio.sleep(1000), seconds=1.0)
    stopping.add("the stubborn", stubborn.work, seconds=2.0)
    stopping.add("the last", lambda: asyncio.sleep(1.0), seconds=2.0)
    most = stopping.seconds
    loop.finish(stopping.run())
    assert done == [1]
    assert 1.0 + 2.0 + 1.0 <= loop.now <= most
    assert stopping.left_running == 2
    assert "the stubborn did not stop within 2 s" in caplog.text and "in _sleep" in caplog.text
    assert "'stop of the stubborn' did not end" in caplog.text
    assert "the slow did not stop within 1 s" in caplog.text
    assert "the failing failed to stop" in caplog.text and "of a part" in caplog.text
    assert "the stop of the cancelled was cancelled" in caplog.text
    assert "the last" not in caplog.text
    loop.finish(stopping.run())
    assert done == [1]
    stubborn.release.set()
    loop.settle()


def test_a_stop_that_is_cancelled_goes_on_with_the_next_call():
    loop, done = SteppedLoop(), []
    with loop:
        stopping = Stopping()
    stopping.add("the first", lambda: done.append(1), seconds=0.0)
    stopping.add("the last", lambda: asyncio.sleep(1.0), seconds=2.0)
    task = loop.start(stopping.run())
    loop.settle()
    with loop:
        task.cancel()
    assert loop.settle(task.done) and task.cancelled() and not done
    loop.finish(stopping.run())
    assert done == [1]


def test_a_step_that_blocks_is_named_and_left(caplog):
    go_on = threading.Event()

    def hangs():
        go_on.wait()

    async def scenario():
        stopping, done = Stopping(), []
        stopping.add("the first", lambda: done.append(1), seconds=LONG_S, blocks=True)
        stopping.add("the disk", hangs, seconds=0.05, blocks=True)
        await stopping.run()
        assert (done, stopping.left_running) == ([1], 1)

    asyncio.run(scenario())
    assert "'heartfelt stop of the disk' did not end within 0.05 s" in caplog.text and "in hangs" in caplog.text
    go_on.set()


# -- the process's loop


def test_the_end_of_the_loop_does_not_wait_for_a_task_that_does_not_end(caplog):
    stubborn, cleaned, left = Stubborn(10**9), [], []

    async def cleans_up():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(1)

    async def main():
        left.append(asyncio.create_task(stubborn.work(), name="of a library"))
        left.append(asyncio.create_task(cleans_up()))
        await asyncio.sleep(0)
        return "result"

    assert run_loop(main(), asyncio.new_event_loop, rest_s=0.1) == "result"
    assert cleaned == [1]
    assert "'of a library' did not end" in caplog.text and "in _sleep" in caplog.text
    left[0]._log_destroy_pending = False  # asyncio would say that it is still pending
    left[0].get_coro().close()


def test_an_error_and_an_interrupt_of_the_main_coroutine_get_through():
    cleaned = []

    async def fails():
        raise ZeroDivisionError

    async def interrupted():
        asyncio.get_running_loop().call_soon(interrupt)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(1)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError):
        run_loop(fails(), asyncio.new_event_loop)
    with pytest.raises(KeyboardInterrupt):
        run_loop(interrupted(), asyncio.new_event_loop)
    assert cleaned == [1]
