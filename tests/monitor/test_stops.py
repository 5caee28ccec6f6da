# SPDX-License-Identifier: MIT
"""The parts' stops: whatever comes at whatever moment of a stop, it ends; and what does not end is named and left."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor import MonitorConfig
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.stopping import Stopping
from heartfelt.monitor.store.sqlite import SqliteStore
from heartfelt.monitor.web.stream import TOPICS, Stream
from heartfelt.monitor.web.viewers import Queued
from heartfelt.monitor.webhooks import Webhooks, WebhookSettings
from heartfelt.monitor.webhooks.caller import Answer
from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.outbox import Ended, Outbox, Retry, StopLimits
from heartfelt.monitor.webhooks.targets import make_target
from tests.monitor.ingest.world import ingest
from tests.monitor.stepped import SteppedLoop
from tests.monitor.webhooks.parts import START_MS, MemoryStore, make_change

LONG_S = 60
FIRST, LAST = (
    18,
    28,
)  # how many steps a part runs before its stop, and at which step of the stop it is woken: 504 cycles


def cycles():
    return ((before, at) for before in range(FIRST) for at in range(LAST))


def stop_woken(loop, stop, wakes, at):
    """True: the stop ends, without any time passing. At its step `at` the part is woken in every way."""
    task = loop.start(stop)
    loop.steps(at)
    for wake in wakes:
        with loop:
            wake()
    ended = loop.settle(task.done)
    assert not ended or task.result() is None
    return ended and not loop.errors


def moves(loop):
    """Lets every time pass for which something waits."""
    return lambda: loop.advance(3600)


def target():
    return make_target(
        {"kind": "generic", "url": "http://127.0.0.1:1/hook"}, now_ms=0, id="t", private=True
    )  # fmt: skip


def test_webhooks_stop_at_every_moment_of_a_change():
    assert len(list(cycles())) >= 500
    hung = []
    for before, at in cycles():
        loop, store = SteppedLoop(), MemoryStore()
        with loop:
            hooks = Webhooks(store, wall_ms=lambda: START_MS)
        loop.finish(hooks.start())
        loop.settle()
        with loop:
            hooks.offer(make_change(1))
        loop.steps(before)
        if not stop_woken(loop, hooks.stop(), (hooks._wake.set, hooks._outbox.wake, moves(loop)), at):
            hung.append((before, at))
    assert not hung


@pytest.mark.parametrize("answers", [True, False], ids=["a target that answers", "one that hangs"])
def test_the_outbox_stops_at_every_moment_of_a_delivery(answers):
    called = []

    async def call(target, notice):
        called.append(target)
        await (asyncio.sleep(0) if answers else asyncio.Event().wait())
        return Answer(ok=True)

    hung = []
    for before, at in cycles():
        loop, store, one = SteppedLoop(), MemoryStore(), target()
        with loop:
            outbox = Outbox(store, {"t": one}, call, Retry(), wall_ms=lambda: START_MS)
            outbox.start()
        loop.settle()
        with loop:
            outbox.put(one, of_entry(of_change(make_change(1), False)))
        loop.steps(before)
        if not stop_woken(loop, outbox.stop(), (outbox.wake, moves(loop)), at):
            hung.append((before, at))
        assert outbox._calls == set()
    assert not hung and called


def test_a_stream_ends_at_every_moment_of_a_message():
    async def read(stream, viewer):
        async for _ in stream.read(viewer):
            pass

    wrong = []
    for before, at in cycles():
        for ends in ("cancelled", "closed"):
            loop = SteppedLoop()
            with loop:
                stream = Stream()
                viewer = stream.open(frozenset(TOPICS), None)
            reading = loop.start(read(stream, viewer))
            loop.settle()
            with loop:
                stream.publish("change", 1)
            loop.steps(before)
            with loop:
                (reading.cancel if ends == "cancelled" else stream.close)()
            loop.steps(at)
            with loop:
                viewer.offer(Queued(b"more"))
            loop.advance(0.0 if ends == "closed" else 3600)
            if not loop.settle(reading.done) or (reading.cancelled() != (ends == "cancelled")) or stream._viewers:
                wrong.append((ends, before, at))
    assert not wrong


def test_a_test_of_a_webhook_is_broken_off_by_the_stop():
    async def hangs(target, notice):
        await asyncio.Event().wait()

    loop, store = SteppedLoop(), MemoryStore()
    with loop:
        hooks = Webhooks(store, WebhookSettings(allow_private=True), wall_ms=lambda: START_MS)
    loop.finish(hooks.start())
    hooks.trials._call = hangs
    loop.finish(hooks.create({"kind": "generic", "url": "http://127.0.0.1:1/hook"}, id="t"))
    asker_gone, test = loop.start(hooks.test("t")), loop.start(hooks.test("t"))
    loop.settle()
    with loop:
        asker_gone.cancel()
    assert loop.settle(lambda: asker_gone.done() and len(hooks.trials.tasks) == 1) and asker_gone.cancelled()
    with loop:
        hooks.trials.end()
    assert loop.settle(test.done) and "is stopping" in test.result()["error"] and not hooks.trials.tasks
    assert "is stopping" in loop.finish(hooks.test("t"))["error"]  # one that comes a moment later
    loop.finish(hooks.stop())


# -- what does not stop


class Never:
    """Swallows every cancellation until it is released."""

    def __init__(self):
        self.released = asyncio.Event()

    async def wait(self, *args, **options):
        while not self.released.is_set():
            try:
                await self._hold_out()
            except asyncio.CancelledError:
                continue

    async def _hold_out(self):
        await self.released.wait()


def test_a_webhook_that_does_not_end_is_named_with_its_stack_and_left(caplog):
    never, loop, store, one = Never(), SteppedLoop(), MemoryStore(), target()
    limits = StopLimits(tasks_s=2.0, store_s=1.0)

    async def call(target, notice):
        await never.wait()
        return Answer(ok=True)

    with loop:
        outbox = Outbox(store, {"t": one}, call, Retry(), wall_ms=lambda: START_MS, stop_limits=limits)
        outbox.start()
        outbox.put(one, of_entry(of_change(make_change(1), False)))
    loop.settle()
    with loop:
        outbox.forget("t")  # the webhook is deleted meanwhile
    loop.finish(outbox.stop())
    assert 2.0 <= loop.now < 2.1
    assert "'webhook t' did not end within 2 s" in caplog.text
    assert "in _deliver" in caplog.text and "in call" in caplog.text and "in _hold_out" in caplog.text
    assert outbox.counts["left_running"] == 1
    never.released.set()
    assert loop.settle(lambda: not outbox._calls)


@pytest.mark.parametrize("which", ["put_document", "finish_delivery"])
def test_a_store_that_does_not_answer_holds_up_no_stop_of_the_webhooks(which, caplog):
    loop, store = SteppedLoop(), MemoryStore()
    settings = WebhookSettings(stop=StopLimits(tasks_s=1.0, store_s=2.0, sessions_s=1.0))
    with loop:
        hooks = Webhooks(store, settings, wall_ms=lambda: START_MS)
    loop.finish(hooks.start())
    loop.settle()

    async def hangs(*args, **options):
        await asyncio.Event().wait()

    setattr(store, which, hangs)
    if which == "finish_delivery":
        hooks._outbox._ended[1] = Ended(True, None, "200")
    with loop:
        hooks.offer(make_change(1))
    loop.settle()
    began = loop.now
    loop.finish(hooks.stop())
    assert 2.0 <= loop.now - began <= hooks.stop_s
    assert "within 2 s" in caplog.text
    assert hooks.stats()["store_errors"] == 1


def test_sessions_that_do_not_close_hold_up_no_stop(caplog):
    loop, store = SteppedLoop(), MemoryStore()
    with loop:
        hooks = Webhooks(store, WebhookSettings(stop=StopLimits(sessions_s=2.0)), wall_ms=lambda: START_MS)
        hooks._caller._sessions[True] = type("Session", (), {"close": lambda self: asyncio.Event().wait()})()
    loop.finish(hooks.start())
    loop.finish(hooks.stop())
    assert loop.now == 2.0
    assert "connections did not close within 2 s" in caplog.text
    assert hooks.stats()["left_running"] == 1


def monitor_of(tmp_path, **more):
    return Monitor(MonitorConfig(data=str(tmp_path / "data"), tcp_port=0, udp_port=0, **more))


def test_a_part_of_the_monitor_that_does_not_stop_is_left_and_the_others_stop(tmp_path, caplog):
    async def scenario():
        never = Never()
        monitor = monitor_of(tmp_path)
        await monitor.start()
        assert monitor.stopping.seconds == pytest.approx(21.5)  # as the docstring of `Monitor.stop` says
        monitor.upkeep.end_s = 0.1
        monitor.upkeep._tasks.append(asyncio.create_task(never.wait(), name="upkeep that hangs"))
        monitor.stopping.add("a part", never.wait, seconds=0.1)
        await asyncio.wait_for(monitor.stop(), LONG_S)
        assert monitor.stats()["upkeep"]["left_running"] == 2
        assert monitor.udp.stats()["waiting"] == 0 and monitor.tcp.stats()["connections"] == 0
        assert not monitor.store.health().ok  # it is closed
        never.released.set()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert "'upkeep that hangs' did not end within 0.1 s" in caplog.text
    assert "a part did not stop within 0.1 s" in caplog.text
    assert caplog.text.count("in _hold_out") >= 2


def test_two_stops_at_once_do_each_step_once(tmp_path, caplog):
    async def scenario():
        monitor = monitor_of(tmp_path)
        await monitor.start()
        await asyncio.gather(monitor.stop(), monitor.stop())
        await monitor.stop()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_connections_and_handshakes_that_do_not_end_are_counted_and_left(caplog):
    async def scenario():
        never = Never()
        async with ingest() as world:
            tcp = world.sermant
            tcp._end_s = 0.1
            _, writer = await world.connect()
            await world.until(lambda: tcp.connections)
            (connection,) = tcp.connections
            connection.abort, abort = (lambda: None), connection.abort
            tcp._joining.add(asyncio.create_task(never.wait(), name="tcp handshake"))
            await asyncio.sleep(0)
            await asyncio.wait_for(tcp.stop(), LONG_S)
            assert (tcp.counts["left_running"], tcp.counts["left_open"]) == (1, 1)
            never.released.set()
            abort()
            writer.close()
            await world.until(lambda: not tcp.connections)

    asyncio.run(scenario())
    assert "'tcp handshake' did not end" in caplog.text
    assert "1 connections did not close within 0.1 s" in caplog.text


def test_datagrams_that_are_not_handled_in_time_are_counted(caplog):
    async def scenario():
        async with ingest() as world:
            world.udp.stop_s = 0.0
            world.udp._waiting.extend([(b"key", "127.0.0.1")] * 3)
            await world.udp.stop()
            assert world.udp.counts["dropped_at_stop"] == 3

    asyncio.run(scenario())
    assert "3 datagrams were not handled" in caplog.text


# -- the store's threads


@pytest.mark.parametrize("which", ["write", "read"])
def test_a_thread_of_the_store_whose_disk_does_not_answer_is_named_and_left(which, tmp_path, caplog):
    answers, asked = threading.Event(), threading.Event()
    store = SqliteStore(tmp_path / "heartfelt.db", close_s=0.1 if which == "write" else LONG_S, answer_s=0.1)
    store.open()

    def waits_for_the_disk(connection):
        asked.set()
        answers.wait(LONG_S)

    async def scenario():
        do = store._writer.do if which == "write" else store._readers.read
        asking = asyncio.create_task(do(waits_for_the_disk))
        await asyncio.to_thread(asked.wait, LONG_S)
        others = [asyncio.create_task(do(lambda connection: 1)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(store.close), LONG_S)
        assert store.left_running >= 1  # the other threads may be slow on a busy machine
        name = "heartfelt-store-write" if which == "write" else "heartfelt-store-read-"
        assert name in caplog.text and "in waits_for_the_disk" in caplog.text
        answered = await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), LONG_S)
        assert all(one == 1 or "closed before" in str(one) for one in answered)
        answers.set()
        await asyncio.wait([asking], timeout=LONG_S)

    asyncio.run(scenario())


def test_no_thread_that_may_hang_holds_up_the_end_of_the_process(run_python):
    """Python joins the threads of executors at its exit, but not daemons."""
    code = """
        import asyncio, tempfile, threading
        from heartfelt.monitor import MonitorConfig
        from heartfelt.monitor.monitor import Monitor

        async def main():
            with tempfile.TemporaryDirectory() as folder:
                monitor = Monitor(MonitorConfig(data=folder, tcp_port=0, udp_port=0))
                await monitor.start()
                await monitor.store.documents("x")
                await monitor.store.flush()
                ours = [one for one in threading.enumerate() if "heartfelt" in one.name]
                assert len(ours) >= 3 and all(one.daemon for one in ours), ours
                await monitor.stop()

        asyncio.run(main())
    """
    run_python(code)


def test_a_second_signal_shortens_the_steps_that_wait_and_not_those_that_write(caplog):
    order = []

    async def hangs():
        order.append("hangs")
        await asyncio.Event().wait()

    async def ends():
        order.append("ends")

    async def scenario():
        stopping = Stopping()
        stopping.add("the store", lambda: order.append("writes"), seconds=5.0, blocks=True)
        stopping.add("another", hangs, seconds=30.0)
        stopping.add("one", hangs, seconds=30.0)
        stopping.add("a quick one", ends, seconds=30.0)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, stopping.hurry)
        began_s = loop.time()
        await stopping.run()
        assert loop.time() - began_s < 15.0  # of the 90 s
        assert stopping.left_running == 0

    asyncio.run(scenario())
    assert order == ["ends", "hangs", "hangs", "writes"]
    assert caplog.text.count("cut short") == 2
