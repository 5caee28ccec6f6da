# SPDX-License-Identifier: MIT
"""Forks beside threads that use the hub in every way: the child finds it closed and hangs nowhere, and the parent goes
on as if nothing had been."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings

import pytest

from heartfelt import EventType, HeartHub, HubClosed, KeyNotWatched
from heartfelt.testing import ManualClock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

ROUNDS = int(os.environ.get("HEARTFELT_ENDS", "0")) or 60
CHILD_HANGS_AFTER_S = 30
PATIENCE_S = 40


def fork(run):
    """The pid of a child that runs it; 0 is its exit status if it ended well, and it is killed where it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of threads: ours are native, and stay behind
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(CHILD_HANGS_AFTER_S)
        faulthandler.dump_traceback_later(CHILD_HANGS_AFTER_S - 5)
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def must_end_well(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def each_method_answers_as_closed(hub, heart, ids):
    for use in (
        heart.beat,
        heart,
        lambda: hub.heartbeat("key"),
        lambda: hub.heartbeat("new", timeout=1, extra=2, disposable=False),
        lambda: hub.heartbeat_many(["key", "new"]),
        lambda: hub.heartbeat_ids(ids),
        lambda: hub.heart("key"),
        lambda: hub.ids(["key"]),
        lambda: hub.remove("key"),
        lambda: hub.remove("none", missing_ok=True),
        hub.events.get,
        hub.events.get_nowait,
        lambda: hub.events.get(timeout=30),
        lambda: hub.events.get_many(5),
        lambda: asyncio.run(hub.events.aget()),
    ):
        with pytest.raises(HubClosed):
            use()
    with pytest.raises(KeyNotWatched):
        hub["key"]
    assert (hub.closed, len(hub), list(hub), "key" in hub, len(hub.snapshot())) == (True, 0, [], False, 0)
    assert (list(hub.events), hub.events.qsize(), hub.events.empty()) == ([], 0, True)
    assert hub.stats().keys == hub.stats().waiting == 0
    assert hub.events.fileno() >= 0
    assert hub.on(EventType.TIME_OUT)(print) is print
    assert "closed" in repr(hub)
    assert hub._check() is None
    hub.close()
    with hub:
        pass


def own_hub_works():
    seen = []
    with HeartHub(0.01, on_event=seen.append, parallelism=2, verbose=True, stall_guard="gil") as own:
        own.heartbeat("of the child")
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline:
            time.sleep(0.001)
    assert [event.key for event in seen] == ["of the child"]


KINDS = {
    "plain": {},
    "shards": {"parallelism": 4, "subscribe": set(EventType), "event_buffer": 100},
    "callbacks": {"on_event": lambda event: None, "subscribe": set(EventType)},
    "verbose, gil guard": {"verbose": True, "stall_guard": "gil"},
    "boottime": {"clock": "boottime"},
}


def use_in_every_way(crowd, hub, ids):
    numbers = iter(range(10**9))

    def until_told(work):
        def run():
            while not crowd.stop.is_set():
                work()

        crowd.start(run)

    def join_and_remove():
        key = next(numbers)
        hub.heartbeat(key, timeout=0.002, extra=[key])
        hub.remove(key, missing_ok=True)

    def open_and_close():
        other = HeartHub(0.001, on_event=lambda event: None)
        other.heartbeat("a")
        other.on(EventType.JOIN)(print)
        other.close()

    until_told(lambda: (hub.heartbeat("key"), hub.heartbeat_many(list(range(-50, 0))), hub.heartbeat_ids(ids)))
    until_told(join_and_remove)
    until_told(open_and_close)
    until_told(
        lambda: (hub.stats(), len(hub), list(hub), hub.snapshot(), hub.on(EventType.RECOVER)(lambda event: None))
    )
    until_told(lambda: hub.events.get_many(100, timeout=0.001))


@pytest.mark.parametrize("kind", KINDS)
def test_fork_beside_threads_that_use_the_hub(crowd, kind, many_switches):
    with HeartHub(0.005, **KINDS[kind]) as hub:
        heart, ids = hub.heart("key", timeout=600), hub.ids([f"id/{n}" for n in range(20)])
        use_in_every_way(crowd, hub, ids)

        def child():
            each_method_answers_as_closed(hub, heart, ids)
            own_hub_works()

        for n in range(ROUNDS):
            must_end_well(fork(child if n % 4 == 0 else lambda: each_method_answers_as_closed(hub, heart, ids)))
            hub.heartbeat("key")
        crowd.end()
        assert hub._check() is None
        assert "key" in hub and not hub.closed


@pytest.fixture
def many_switches():
    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(kept)


def test_each_verdict_is_told_once_and_in_the_parent(crowd):
    told = os.pipe()
    with HeartHub(
        0.02, subscribe={EventType.TIME_OUT}, on_event=lambda event: os.write(told[1], b"%d\n" % event.key)
    ) as hub:
        children = []
        for n in range(40):
            hub.heartbeat(n)
            children.append(fork(lambda: time.sleep(0.1)))
        for pid in children:
            must_end_well(pid)
        deadline = time.monotonic() + PATIENCE_S
        while hub.stats().waiting_callbacks or len(hub):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    os.close(told[1])
    with os.fdopen(told[0]) as lines:
        assert sorted(map(int, lines)) == list(range(40))


def test_what_a_closed_hub_still_has_is_the_parents_alone():
    hub = HeartHub(60, subscribe={EventType.JOIN})
    hub.heartbeat_many(["a", "b", "c"])
    taken = hub.events.get_many(1)
    hub._give_back(taken)
    hub.close()

    def child():
        assert list(hub.events) == []

    must_end_well(fork(child))
    assert [event.key for event in hub.events] == ["a", "b", "c"]


def locks_of(hub, clock):
    return {
        "registering": sys.modules["heartfelt.hub"]._registering,
        "clock": clock._lock,
        "dispatcher": hub._dispatcher._changed,
        "reporter": hub._reporter._stop._cond,
    }


@pytest.mark.parametrize("name", ["registering", "clock", "dispatcher", "reporter"])
def test_a_lock_that_another_thread_holds_at_the_fork_does_not_matter(crowd, name):
    clock = ManualClock()
    with HeartHub(1, clock=clock, on_event=print, verbose=True) as hub:
        held, forked = threading.Event(), threading.Event()

        def hold():
            with locks_of(hub, clock)[name]:
                held.set()
                assert forked.wait(PATIENCE_S)

        crowd.start(hold)
        assert held.wait(PATIENCE_S)

        def child():
            hub.on(EventType.JOIN)(print)
            hub.close()
            clock.advance(5)
            seen = []
            with HeartHub(1, clock=clock, on_event=seen.append) as own:
                own.heartbeat("a")
                clock.advance(5)
            assert len(seen) == 1

        pid = fork(child)
        forked.set()
        must_end_well(pid)
        crowd.join()


def test_a_fork_while_asyncio_waits_for_events():
    async def main(hub):
        waiting = asyncio.ensure_future(hub.events.aget())
        await asyncio.sleep(0)

        def child():
            with pytest.raises(HubClosed):
                hub.events.get()
            with HeartHub(0.01) as own:
                own.heartbeat("own")
                assert own.events.get(timeout=20).key == "own"

        for _ in range(5):
            pid = fork(child)
            await asyncio.to_thread(must_end_well, pid)
        hub.heartbeat("a", timeout=0.01)
        return await asyncio.wait_for(waiting, PATIENCE_S)

    with HeartHub(60) as hub:
        assert asyncio.run(main(hub)).key == "a"


def test_prefork_servers():
    """The master makes a hub, each worker makes its own, and has it closed at exit; a worker's worker, too."""
    code = """
import os, sys
from heartfelt import HeartHub, HubClosed

master = HeartHub(0.05, on_event=lambda event: os.write(1, b"master m " ))
master.heartbeat("m")

def serve(depth):
    try:
        master.heartbeat("m")
        sys.exit("the hub of the master is open in a worker")
    except HubClosed:
        pass
    own = HeartHub(0.01, on_event=lambda event: os.write(1, b"worker %d " % event.key))
    own.heartbeat(depth)
    while len(own):
        pass
    if depth:
        pid = os.fork()
        if pid == 0:
            serve(depth - 1)
        assert os.waitpid(pid, 0)[1] == 0
    sys.exit(0)  # the hub is open, the callback may still have to be called, and the frame lets go of the hub first

pids = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        serve(1)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
while len(master):
    pass
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(re.findall(r"\w+ \w+", done.stdout)) == ["master m"] + ["worker 0"] * 4 + ["worker 1"] * 4


WITH_MULTIPROCESSING = """
import multiprocessing, pickle, sys
from heartfelt import EventType, HeartHub, HubClosed

hub = None

def child(method, told):
    if method == "fork":
        try:
            hub.heartbeat("a")
            sys.exit("the hub is open in the child")
        except HubClosed:
            pass
    with HeartHub(0.01, on_event=lambda event: told.put(event.key), stall_guard="gil") as own:
        own.heartbeat("own")
        while own.stats().waiting_callbacks or len(own):
            pass
    global left_open
    left_open = HeartHub(0.01, verbose=True)

if __name__ == "__main__":
    method = sys.argv[1]
    multiprocessing.set_start_method(method)
    hub = HeartHub(1000, subscribe={EventType.JOIN}, parallelism=2, verbose=True, stall_guard="gil")
    hub.on(EventType.TIME_OUT)(print)
    hub.heartbeat("a")
    told = multiprocessing.SimpleQueue()
    children = [multiprocessing.Process(target=child, args=(method, told)) for _ in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    assert [process.exitcode for process in children] == [0] * 3
    assert [told.get() for _ in children] == ["own"] * 3
    hub.heartbeat("b")
    assert [event.key for event in hub.events.get_many(9)] == ["a", "b"]
    for what in (hub, hub.heart("a"), hub.events):
        try:
            multiprocessing.Process(target=print, args=(what,)).start() if method != "fork" else pickle.dumps(what)
            sys.exit("it was pickled")
        except TypeError as error:
            assert "cannot be pickled" in str(error), error
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(WITH_MULTIPROCESSING)
    warnings = ["-W", "ignore::DeprecationWarning"] if method == "fork" else []
    done = subprocess.run(
        [sys.executable, "-W", "error", *warnings, str(program), method],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
