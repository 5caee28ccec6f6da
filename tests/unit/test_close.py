# SPDX-License-Identifier: MIT
"""The end of a hub: closed by hand, by `with`, from elsewhere, by the collector, at exit."""

import asyncio
import contextlib
import gc
import queue
import signal
import sys
import threading
import weakref
from array import array
from pathlib import Path

import pytest

from heartfelt import EventType, HeartfeltError, HeartHub, HubClosed, KeyNotWatched

LONG_S = 40
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is not there")

BEATS = {
    "heartbeat": lambda hub, heart: hub.heartbeat("a"),
    "heartbeat with options": lambda hub, heart: hub.heartbeat("a", timeout=1),
    "heartbeat of a new key": lambda hub, heart: hub.heartbeat("new"),
    "heartbeat_many": lambda hub, heart: hub.heartbeat_many(["a", "b"]),
    "heartbeat_ids": lambda hub, heart: hub.heartbeat_ids(array("q", [1])),
    "heart": lambda hub, heart: hub.heart("a"),
    "heart.beat": lambda hub, heart: heart.beat(),
    "heart()": lambda hub, heart: heart(),
    "remove": lambda hub, heart: hub.remove("a"),
    "remove missing_ok": lambda hub, heart: hub.remove("none", missing_ok=True),
}


@pytest.mark.parametrize("name", BEATS)
def test_beats_and_removes_raise_hub_closed(hub, name):
    heart = hub.heart("a")
    hub.close()
    with pytest.raises(HubClosed, match="closed"):
        BEATS[name](hub, heart)
    assert issubclass(HubClosed, HeartfeltError)


def test_ids_raises_hub_closed(hub):
    pytest.importorskip("numpy")
    hub.close()
    with pytest.raises(HubClosed):
        hub.ids(["a"])


def test_what_is_known_can_still_be_asked(hub, clock):
    hub.heartbeat("a", extra="x")
    hub.close()
    assert (hub.closed, len(hub), list(hub), "a" in hub, hub["a"].extra) == (True, 1, ["a"], True, "x")
    assert hub.stats().keys == 1
    with pytest.raises(KeyNotWatched):
        hub["b"]


def test_the_other_methods_may_still_be_called(hub, clock):
    hub.close()
    hub.close()
    clock.advance(1)
    assert hub.on(EventType.JOIN)(print) is print
    assert (hub.events.qsize(), hub.events.empty()) == (0, True)
    assert hub.events.fileno() >= 0


def test_no_verdict_is_taken_any_more(hub, clock):
    hub.heartbeat("a")
    hub.close()
    clock.advance(100)
    assert list(hub.events) == []


def test_with_closes_also_when_it_is_left_by_an_error(clock):
    with pytest.raises(LookupError), HeartHub(1, clock=clock) as hub:
        assert not hub.closed
        raise LookupError
    assert hub.closed


@pytest.mark.parametrize("wait", ["get", "get_many", "iteration", "aget"])
def test_a_reader_that_waits_in_another_thread_is_freed(hub, wait):
    def read():
        try:
            if wait == "get":
                hub.events.get()
            elif wait == "get_many":
                hub.events.get_many(3)
            elif wait == "aget":
                asyncio.run(hub.events.aget())
            else:
                list(hub.events)
                freed.append(wait)
        except HubClosed:
            freed.append(wait)

    freed = []
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    hub.close()
    for thread in threads:
        thread.join(LONG_S)
    assert freed == [wait] * 3


def test_many_threads_may_close_while_others_beat():
    hub = HeartHub(0.01, parallelism=2)
    ended = []

    def beat():
        try:
            while True:
                hub.heartbeat_many(range(100))
        except HubClosed:
            ended.append(1)

    threads = [threading.Thread(target=beat) for _ in range(3)]
    closers = [threading.Thread(target=hub.close) for _ in range(3)]
    for thread in threads + closers:
        thread.start()
    for thread in threads + closers:
        thread.join(LONG_S)
    assert ended == [1, 1, 1]
    assert hub._check() is None


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="setitimer is not there")
@pytest.mark.parametrize("call", ["get", "get_many", "iteration"])
def test_ctrl_c_ends_a_reader_that_waits(hub, call):
    read = {"get": hub.events.get, "get_many": lambda: hub.events.get_many(1), "iteration": lambda: list(hub.events)}
    interrupted = []

    def interrupt(number, frame):
        if not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt

    kept = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            read[call]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    hub.heartbeat("a")
    assert "a" in hub


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="setitimer is not there")
def test_a_signal_whose_handler_raises_nothing_does_not_end_the_wait(hub):
    hits = []
    kept = signal.signal(signal.SIGALRM, lambda number, frame: hits.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(queue.Empty):
            hub.events.get(timeout=0.2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    assert len(hits) > 1


def workers():
    """The native threads of hubs, those of other tests that have not ended yet among them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            if (task / "comm").read_text() == "heartfelt\n":
                found.add(task.name)
    return found


@linux
def test_close_ends_the_workers():
    before = workers()
    hub = HeartHub(1, parallelism=5)
    assert len(workers() - before) == 5
    hub.close()
    assert workers() <= before


@linux
def test_a_hub_that_nobody_holds_ends_its_threads(eventually):
    before, python_before = workers(), set(threading.enumerate())
    hub = HeartHub(1, parallelism=3, on_event=print, verbose=True)
    hub.heartbeat("a")
    gone = weakref.ref(hub)
    del hub
    gc.collect()
    eventually(lambda: gone() is None)
    eventually(lambda: workers() <= before and set(threading.enumerate()) <= python_before)


def in_a_circle(through):
    """A hub that holds itself, and that nobody else holds: a weak reference to it."""
    hub = HeartHub(1000)
    if through == "attribute":
        hub.itself = hub
    elif through == "callback":
        hub.on(EventType.TIME_OUT)(lambda event: hub.heartbeat(event.key))
    else:
        hub.heart = hub.heart("a")
    return weakref.ref(hub)


@pytest.mark.parametrize("through", ["attribute", "callback", "heart"])
def test_a_hub_in_a_circle_of_references_is_collected(through, eventually):
    gone = in_a_circle(through)

    def collected():  # its thread for callbacks may hold it for the moment in which it starts
        gc.collect()
        return gone() is None

    eventually(collected)


def held_by(holder, clock):
    """Something that uses a hub, and a weak reference to the hub."""
    hub = HeartHub(1, clock=clock)
    hub.heartbeat("a")
    if holder == "heart":
        return hub.heart("a"), weakref.ref(hub)
    if holder == "events":
        return hub.events, weakref.ref(hub)
    clock.advance(1)
    iterator = iter(hub.events)
    next(iterator)
    return iterator, weakref.ref(hub)


@pytest.mark.parametrize("holder", ["heart", "events", "iterator"])
def test_whoever_still_uses_a_hub_keeps_it_alive(clock, holder):
    held, gone = held_by(holder, clock)
    gc.collect()
    assert gone() is not None
    del held
    gc.collect()
    assert gone() is None


def test_an_open_hub_is_closed_at_exit_and_its_callbacks_get_the_rest(run_python):
    found = run_python("""
        from heartfelt import EventType, HeartHub
        hub = HeartHub(100, subscribe=[EventType.JOIN], on_event=lambda event: print(event.key))
        hub.heartbeat_many(range(5))
    """)
    assert found.split() == ["0", "1", "2", "3", "4"]


def test_the_interpreter_ends_while_a_thread_waits_for_events(run_python):
    run_python("""
        import threading
        from heartfelt import HeartHub, HubClosed
        hub = HeartHub(100)
        waiter = threading.Thread(target=lambda: list(hub.events), daemon=True)
        waiter.start()
        hub.heartbeat("a")
    """)


@pytest.mark.parametrize(
    "use",
    [
        "hub.heartbeat('a')", "hub.heartbeat_many(['a'])", "'a' in hub", "hub['a']", "len(hub)", "list(hub)",
        "hub.closed", "hub.remove('a')", "hub.close()", "repr(hub)",
    ],
)  # fmt: skip
def test_a_hub_that_was_never_opened_does_not_crash(run_python, use):
    """A subclass that uses the hub before super().__init__(), or whose __init__ failed."""
    run_python(f"""
        from heartfelt import HeartHub, HubClosed, KeyNotWatched
        hub = HeartHub.__new__(HeartHub)
        try:
            {use}
        except (HubClosed, KeyNotWatched, AttributeError, RuntimeError):
            pass
    """)


def test_opening_twice_is_refused_and_changes_nothing(make_hub, clock):
    seen = []
    hub = make_hub(1, on_event=seen.append)
    with pytest.raises(RuntimeError, match="open already"):
        hub.__init__(2)
    hub.heartbeat("a")
    clock.advance(1)
    assert (len(seen), hub.stats().callback_errors) == (1, 0)
