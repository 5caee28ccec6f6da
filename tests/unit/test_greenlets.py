# SPDX-License-Identifier: MIT
"""Hubs in a process whose standard library gevent or eventlet has patched, before or after heartfelt was imported.

Each scenario is a process of its own, with a time limit: what these tests are about is a process that hangs for good.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

LIMIT_S = 90  # a scenario ends in about a second if nothing is wrong
PATCH = {
    "gevent": "import gevent as green; from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet as green; green.monkey_patch()",
}
IMPORT = "from heartfelt import EventType, HeartHub, HubClosed; from heartfelt.testing import ManualClock"
HEAD = """
import os, queue, sys, threading, time, warnings
from time import sleep as sleep_for_real
warnings.simplefilter("ignore")  # eventlet says that it is deprecated
"""
TOOLS = """
def eventually(holds):
    for _ in range(6000):
        if holds():
            return
        green.sleep(0.01)
    raise SystemExit("it did not come about")

turns = []
def take_turns():
    while True:
        turns.append(1)
        green.sleep(0.001)
"""

if not any(map(importlib.util.find_spec, PATCH)):
    pytest.skip("neither gevent nor eventlet for this Python", allow_module_level=True)


@pytest.fixture(params=PATCH)
def library(request):
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"no {request.param} for this Python")
    return request.param


def run(*parts):
    whole = "\n".join([HEAD, *parts])
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.splitlines()


@pytest.fixture(params=["patched, then imported", "imported, then patched"])
def in_either_order(library, request):
    """in_either_order(code): what this code writes, in which `green` is the library; it must end well."""
    order = [PATCH[library], IMPORT] if request.param.startswith("patched") else [IMPORT, PATCH[library]]
    return lambda code: run(*order, TOOLS, textwrap.dedent(code))


@pytest.fixture
def script(library):
    """script(code): the same, patched before heartfelt was imported."""
    return lambda code: run(PATCH[library], IMPORT, TOOLS, textwrap.dedent(code))


def test_on_event_is_called_on_a_real_thread(in_either_order):
    told = in_either_order("""
        seen = []
        hub = HeartHub(0.01, on_event=lambda event: (sleep_for_real(0.05), seen.append(event.key)))
        green.spawn(take_turns)
        hub.heartbeat("a")
        eventually(lambda: seen)
        hub.close()
        print(seen, len(turns) > 3)
    """)
    assert told == ["['a'] True"]


def test_on_is_called_on_a_real_thread(in_either_order):
    told = in_either_order("""
        seen = []
        hub = HeartHub(0.01)
        @hub.on(EventType.TIME_OUT)
        def told(event):
            seen.append(event.key)
        hub.heartbeat("a")
        eventually(lambda: seen)
        hub.close()
        print(seen, hub.stats().callback_errors)
    """)
    assert told == ["['a'] 0"]


def test_a_hub_made_before_the_patch_goes_on(library):
    before = """
seen = []
hub = HeartHub(0.01, on_event=lambda event: seen.append(event.key), stall_guard="gil", verbose=True)
readable = HeartHub(100, subscribe=[EventType.JOIN])
hub.heartbeat("before")
while not seen:
    sleep_for_real(0.001)
"""
    after = """
hub.heartbeat("a")
eventually(lambda: "a" in seen)
hub.on(EventType.JOIN)(lambda event: seen.append(event.type.value))
hub.heartbeat("b")
eventually(lambda: "JOIN" in seen)
green.spawn(lambda: (green.sleep(0.01), readable.heartbeat("c")))
print(readable.events.get().key)
hub.close()
"""
    assert run(IMPORT, before, PATCH[library], TOOLS, after) == ["c"]


def test_the_guard_for_the_gil_lets_verdicts_through(in_either_order):
    told = in_either_order("""
        with HeartHub(0.05, stall_guard="gil") as hub:
            hub.heartbeat("a")
            print(hub.events.get(timeout=60).key)
    """)
    assert told == ["a"]


def test_get_lets_other_greenlets_run(in_either_order):
    """Without a time limit, it waits for what only another greenlet can bring about."""
    told = in_either_order("""
        hub = HeartHub(100, subscribe=[EventType.JOIN])
        green.spawn(lambda: (green.sleep(0.02), hub.heartbeat("a"), green.sleep(0.02), hub.heartbeat_many(["b", "c"])))
        print(hub.events.get().key)
        print(sorted(event.key for event in hub.events.get_many(1, timeout=60) + [hub.events.get()]))
    """)
    assert told == ["a", "['b', 'c']"]


def test_keys_that_greenlets_beat_do_not_time_out_while_another_waits(script):
    told = script("""
        hub = HeartHub(2)
        def beat():
            while True:
                hub.heartbeat_many(range(100))
                turns.append(1)
                green.sleep(0.02)
        green.spawn(beat)
        try:
            print(hub.events.get(timeout=4))
        except queue.Empty:
            print("empty", len(turns) > 20)
        print(hub.events.get_many(1, timeout=0.01), hub.stats().timeouts, len(hub))
    """)
    assert told == ["empty True", "[] 0 100"]


def test_greenlets_that_wait_together_get_each_event_once(script):
    told = script("""
        hub = HeartHub(100, subscribe=[EventType.JOIN])
        seen = []
        def read():
            for event in hub.events:
                seen.append(event.key)
        for _ in range(5):
            green.spawn(read)
        for n in range(50):
            hub.heartbeat(n)
            green.sleep(0)
        eventually(lambda: len(seen) == 50)
        hub.close()
        print(sorted(seen) == list(range(50)))
    """)
    assert told == ["True"]


def test_iteration_ends_when_another_greenlet_closes_the_hub(in_either_order):
    told = in_either_order("""
        hub = HeartHub(100, subscribe=[EventType.JOIN])
        def work():
            for key in "abc":
                green.sleep(0.01)
                hub.heartbeat(key)
            green.sleep(0.01)
            hub.close()
        green.spawn(work)
        print([event.key for event in hub.events])
    """)
    assert told == ["['a', 'b', 'c']"]


def test_a_greenlet_that_is_killed_while_it_waits_loses_no_event(script):
    told = script("""
        for attempt in range(100):
            hub = HeartHub(100, subscribe=[EventType.JOIN])
            seen = []
            reader = green.spawn(lambda: seen.append(hub.events.get()))
            green.sleep(0.01)
            hub.heartbeat("a")
            reader.kill()
            green.sleep(0.01)
            if not seen:  # otherwise it had read the event before it was killed, as on a busy machine
                break
        print(seen, hub.events.get(timeout=60).key)
    """)
    assert told == ["[] a"]


def test_a_timeout_of_the_librarys_own_ends_a_get(script):
    told = script("""
        hub = HeartHub(100)
        try:
            with green.Timeout(0.05):
                hub.events.get(timeout=1e9)
        except green.Timeout:
            print("over")
    """)
    assert told == ["over"]


def test_close_lets_greenlets_run_while_it_waits_for_a_callback(in_either_order):
    told = in_either_order("""
        go_on, began = [], []
        def told(event):
            began.append(1)
            while not go_on:
                sleep_for_real(0.001)
        hub = HeartHub(0.01, on_event=told)
        hub.heartbeat("a")
        eventually(lambda: began)
        green.spawn(lambda: (green.sleep(0.02), go_on.append(1)))
        hub.close()
        print(go_on, hub.stats().waiting_callbacks)
    """)
    assert told == ["[1] 0"]


def test_a_process_ends_though_its_hubs_are_not_closed(in_either_order):
    told = in_either_order("""
        hubs = [HeartHub(0.01, on_event=lambda event: print(event.key), stall_guard="gil", verbose=True),
                HeartHub(0.01)]
        for hub in hubs:
            hub.heartbeat("a")
        hubs[1].events.get()
        eventually(lambda: not len(hubs[0]))
    """)
    assert told == ["a"]


def test_a_collected_hub_still_tells_its_callbacks(script):
    told = script("""
        seen, go_on = [], []
        def told(event):
            seen.append(event.key)
            while not go_on:
                sleep_for_real(0.001)
        hub = HeartHub(0.01, on_event=told)
        hub.heartbeat("a")
        eventually(lambda: seen)
        hub.heartbeat("b")
        eventually(lambda: not len(hub))
        del hub
        go_on.append(1)
        eventually(lambda: len(seen) == 2)
        print(seen)
    """)
    assert told == ["['a', 'b']"]


def test_advance_returns_when_callbacks_were_called(script):
    told = script("""
        clock, seen = ManualClock(), []
        hub = HeartHub(1, clock=clock, on_event=lambda event: (sleep_for_real(0.02), seen.append(event.key)))
        hub.heartbeat_many(range(5))
        green.spawn(take_turns)
        clock.advance(1)
        print(len(seen), len(turns) > 3)
    """)
    assert told == ["5 True"]


def test_a_callback_may_use_its_hub_and_a_callback_that_raises_is_logged(script):
    told = script("""
        import logging
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        hub, other = HeartHub(0.01), HeartHub(100, subscribe=[EventType.JOIN])
        done = []
        @hub.on(EventType.TIME_OUT)
        def told(event):
            hub.heartbeat("b", timeout=100)
            other.heartbeat("c")
            done.append(other.events.get().key)
            done.append(other.events.get_many(1, timeout=0.01))
            hub.on(EventType.REMOVE_KEY)(lambda event: None)
            raise LookupError("mine")
        hub.heartbeat("a")
        eventually(lambda: hub.stats().callback_errors)
        hub.close()
        print(done)
    """)
    assert told[0].startswith("callback <function")
    assert told[-2:] == ["LookupError: mine", "['c', []]"]


def test_verbose_is_told(script):
    told = script("""
        import logging
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.DEBUG)
        with HeartHub(100, verbose=True) as hub:
            hub.heartbeat("a")
    """)
    assert told[0].startswith("shard 0: 1 keys")


def test_real_threads_beside_the_greenlets_may_read_too(library, script):
    run = "green.get_hub().threadpool.apply" if library == "gevent" else "__import__('eventlet.tpool').tpool.execute"
    told = script(f"""
        hub = HeartHub(100, subscribe=[EventType.JOIN])
        green.spawn(lambda: (green.sleep(0.02), hub.heartbeat("a")))
        print({run}(hub.events.get).key)
    """)
    assert told == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_leaves_the_parent_as_it_was(script):
    told = script("""
        seen = []
        hub = HeartHub(0.01, on_event=lambda event: seen.append(event.key), stall_guard="gil")
        readable = HeartHub(100, subscribe=[EventType.JOIN])
        pid = os.fork()
        if pid == 0:
            fresh = HeartHub(0.01, on_event=lambda event: seen.append(event.key))
            fresh.heartbeat("child")
            eventually(lambda: seen)
            os._exit(0 if hub.closed and readable.closed and seen == ["child"] else 1)
        hub.heartbeat("a")
        eventually(lambda: seen)
        green.spawn(lambda: (green.sleep(0.02), readable.heartbeat("b")))
        print(os.waitpid(pid, 0)[1], seen, readable.events.get().key)
    """)
    assert told == ["0 ['a'] b"]


def test_without_a_patch_a_greenlet_waits_for_the_descriptor(library):
    wait = {
        "gevent": "import gevent as green, gevent.socket; wait = gevent.socket.wait_read",
        "eventlet": "import eventlet as green, eventlet.hubs as hubs; wait = lambda fd: hubs.trampoline(fd, read=True)",
    }
    code = """
hub = HeartHub(100, subscribe=[EventType.JOIN])
green.spawn(lambda: (green.sleep(0.02), hub.heartbeat("a")))
while True:
    wait(hub.events.fileno())
    try:
        print(hub.events.get_nowait().key)
        break
    except queue.Empty:
        pass
"""
    assert run(IMPORT, wait[library], code) == ["a"]
