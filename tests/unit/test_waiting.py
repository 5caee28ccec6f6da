# SPDX-License-Identifier: MIT
"""Waiting for events: in asyncio, with select, and in threads."""

import asyncio
import queue
import select
import sys
import threading

import pytest

from heartfelt import Events, HeartHub, HubClosed

LONG_S = 40
needs_poll = pytest.mark.skipif(sys.platform == "win32", reason="select.poll is not there")


@pytest.fixture
def soon():
    """A hub on the real clock with short timeouts."""
    with HeartHub(0.005) as hub:
        yield hub


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, LONG_S))


def test_get_blocks_until_one_comes(soon):
    soon.heartbeat("a")
    assert soon.events.get(timeout=LONG_S).key == "a"


def test_a_thread_that_waits_is_woken_by_an_event(hub, clock):
    found = []
    reader = threading.Thread(target=lambda: found.append(hub.events.get(timeout=LONG_S)))
    reader.start()
    hub.heartbeat("a")
    clock.advance(10)
    reader.join(LONG_S)
    assert [event.key for event in found] == ["a"]


def test_aget_takes_what_waits_and_waits_for_more(soon):
    async def main():
        soon.heartbeat("a")
        first = await soon.events.aget()
        soon.heartbeat("b")
        return first.key, (await soon.events.aget()).key

    assert run(main()) == ("a", "b")


def test_async_for_ends_when_the_hub_is_closed_and_all_is_read(hub, clock):
    hub.heartbeat_many(range(300))
    clock.advance(10)

    async def main():
        asyncio.get_running_loop().call_later(0.01, hub.close)
        return [event.key async for event in hub.events]

    assert sorted(run(main())) == list(range(300))


def test_aget_of_a_closed_hub_raises_hub_closed(hub):
    hub.close()
    with pytest.raises(HubClosed):
        run(hub.events.aget())


def test_tasks_of_two_events_of_one_hub_are_all_woken(hub, clock):
    """Two threads that ask for a hub's events at once may each get an Events; a loop watches the descriptor once."""

    async def main():
        tasks = [asyncio.create_task(Events(hub).aget()) for _ in range(2)]
        await asyncio.sleep(0)
        hub.heartbeat_many(["a", "b"])
        clock.advance(10)
        return sorted([(await task).key for task in tasks])

    assert run(main()) == ["a", "b"]


def test_the_loop_runs_while_aget_waits(hub, clock):
    async def main():
        task = asyncio.create_task(hub.events.aget())
        await asyncio.sleep(0)
        assert not task.done()
        hub.heartbeat("a")
        clock.advance(10)
        return (await task).key

    assert run(main()) == "a"


def test_a_cancelled_aget_loses_no_event(hub, clock):
    async def main():
        hub.heartbeat_many(range(100))
        tasks = [asyncio.create_task(hub.events.aget()) for _ in range(60)]
        await asyncio.sleep(0)
        clock.advance(10)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        taken = [one.key for one in done if not isinstance(one, BaseException)]
        return taken + [event.key for event in hub.events.get_many(1000, timeout=0)]

    assert sorted(run(main())) == list(range(100))


def test_an_aget_that_was_cut_off_by_a_timeout_leaves_the_next_one_well(hub, clock):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(hub.events.aget(), 0.01)
        hub.heartbeat("a")
        clock.advance(10)
        return (await hub.events.aget()).key

    assert run(main()) == "a"


def test_many_tasks_share_the_events(soon):
    async def main():
        tasks = [asyncio.create_task(soon.events.aget()) for _ in range(20)]
        await asyncio.sleep(0)
        soon.heartbeat_many(range(20))
        return [event.key for event in await asyncio.gather(*tasks)]

    assert sorted(run(main())) == list(range(20))


def test_one_hub_serves_several_loops_after_each_other(soon):
    for key in ("a", "b"):
        soon.heartbeat(key)
        assert run(soon.events.aget()).key == key


def test_one_hub_serves_loops_in_two_threads_at_once(soon):
    found = []

    def read():
        found.append(run(soon.events.aget()).key)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    soon.heartbeat_many(["a", "b"])
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(found) == ["a", "b"]


class NoReaders(asyncio.SelectorEventLoop):
    """A loop that cannot watch descriptors, as the usual one of Windows."""

    def add_reader(self, *args):
        raise NotImplementedError

    def remove_reader(self, *args):
        raise NotImplementedError


@pytest.fixture
def run_without_readers():
    loops = []

    def run(coroutine):
        loop = NoReaders()
        loops.append(loop)
        return loop.run_until_complete(asyncio.wait_for(coroutine, LONG_S))

    yield run
    for loop in loops:
        loop.close()


def helpers():
    return sum(thread.name == "heartfelt-events" for thread in threading.enumerate())


def test_where_a_loop_cannot_watch_descriptors_aget_works_all_the_same(soon, run_without_readers):
    async def main():
        tasks = [asyncio.create_task(soon.events.aget()) for _ in range(5)]
        await asyncio.sleep(0)
        soon.heartbeat_many(range(5))
        return sorted(event.key for event in await asyncio.gather(*tasks))

    assert run_without_readers(main()) == list(range(5))


def test_there_the_end_of_the_hub_ends_the_wait(hub, run_without_readers):
    async def main():
        asyncio.get_running_loop().call_later(0.01, hub.close)
        return [event async for event in hub.events]

    assert run_without_readers(main()) == []


def test_there_waits_that_are_cut_off_do_not_pile_up_threads(hub, run_without_readers, eventually):
    async def main():
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(hub.events.aget(), 0.001)
        return helpers()

    assert run_without_readers(main()) <= 2
    eventually(lambda: helpers() == 0)


def ready(descriptor, seconds=0.0):
    return bool(select.select([descriptor], [], [], seconds)[0])


def read_all(events):
    with pytest.raises(queue.Empty):
        while True:
            events.get_nowait()


def test_fileno_is_readable_while_an_event_waits(hub, clock):
    descriptor = hub.events.fileno()
    assert hub.events.fileno() == descriptor
    read_all(hub.events)
    assert not ready(descriptor)
    hub.heartbeat_many(["a", "b"])
    clock.advance(10)
    assert ready(descriptor)
    hub.events.get_nowait()
    assert ready(descriptor)
    read_all(hub.events)
    assert not ready(descriptor)


def test_fileno_asked_for_when_events_wait_already_is_readable(hub, clock):
    hub.heartbeat("a")
    clock.advance(10)
    assert ready(hub.events.fileno())


def test_select_wakes_when_an_event_comes(soon):
    descriptor = soon.events.fileno()
    read_all(soon.events)
    soon.heartbeat("a")
    assert ready(descriptor, LONG_S)
    assert soon.events.get(timeout=LONG_S).key == "a"


def test_fileno_stays_readable_once_the_hub_has_ended(hub, clock):
    descriptor = hub.events.fileno()
    hub.heartbeat("a")
    clock.advance(10)
    hub.close()
    assert ready(descriptor)
    assert hub.events.get().key == "a"
    for _ in range(3):
        with pytest.raises(HubClosed):
            hub.events.get_nowait()
        assert ready(descriptor)


@needs_poll
def test_the_descriptor_goes_with_the_hub(clock):
    hub = HeartHub(10, clock=clock)
    descriptor = hub.events.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    hub.close()
    del hub
    assert poll.poll(0) == [(descriptor, select.POLLNVAL)]
