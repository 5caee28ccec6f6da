# SPDX-License-Identifier: MIT
"""on_event and hub.on. On a manual clock, advance returns when the callbacks have been called."""

import gc
import logging
import threading

import pytest

from heartfelt import EventType, HeartHub, HubClosed

LONG_S = 40
TIME_OUT, JOIN, HEART_BEAT = EventType.TIME_OUT, EventType.JOIN, EventType.HEART_BEAT


def test_on_event_gets_everything_in_order_and_events_gets_nothing(make_hub, clock, drained):
    seen = []
    hub = make_hub(1, subscribe=list(EventType), on_event=seen.append)
    hub.heartbeat("a")
    hub.heartbeat("a")
    clock.advance(1)
    assert [event.type.value for event in seen] == ["JOIN", "HEART_BEAT", "HEART_BEAT", "TIME_OUT"]
    assert drained(hub) == []


def test_on_takes_its_types_from_events_and_no_others(make_hub, clock, drained):
    hub = make_hub(1, subscribe=[JOIN, TIME_OUT])
    seen = []

    @hub.on(TIME_OUT)
    def told(event):
        seen.append(event)

    hub.heartbeat_many(["a", "b"])
    clock.advance(1)
    assert [event.key for event in seen] == ["a", "b"]
    assert [event.type for event in drained(hub)] == [JOIN, JOIN]


def test_on_subscribes_to_what_it_names(make_hub, clock, drained):
    hub = make_hub(1, subscribe=[])
    seen = []
    hub.on(JOIN, HEART_BEAT)(seen.append)
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("a")
    clock.advance(0)
    assert [event.type for event in seen] == [JOIN, HEART_BEAT] * 2
    assert drained(hub) == []


def test_a_key_that_beats_already_tells_its_beats_once_somebody_wants_them(hub, clock):
    hub.heartbeat("a")
    heart, seen = hub.heart("a"), []
    hub.on(HEART_BEAT)(seen.append)
    hub.heartbeat("a")
    heart.beat()
    clock.advance(0)
    assert len(seen) == 2


def test_on_without_a_type_is_all_that_are_subscribed(make_hub, clock, drained):
    hub = make_hub(1, subscribe=[JOIN, TIME_OUT])
    seen = []
    hub.on()(seen.append)
    hub.heartbeat("a")
    clock.advance(1)
    assert [event.type for event in seen] == [JOIN, TIME_OUT]
    assert drained(hub) == []


def test_on_gives_the_function_back(hub):
    def told(event):
        pass

    assert hub.on(TIME_OUT)(told) is told


@pytest.mark.parametrize("names", [["TIME_OUT"], ["TIME_OUT", "JOIN"]])
def test_on_takes_names(hub, clock, names):
    seen = []
    hub.on(*names)(seen.append)
    hub.heartbeat("a")
    clock.advance(10)
    assert {event.type.value for event in seen} == set(names)


def test_what_on_refuses(hub):
    with pytest.raises(TypeError, match="with parentheses"):
        hub.on(print)
    with pytest.raises(ValueError, match="not an event type"):
        hub.on("TIMEOUT")
    with pytest.raises(TypeError, match="callable"):
        hub.on(TIME_OUT)(None)


def test_several_callbacks_are_called_in_the_order_of_their_registration(make_hub, clock):
    seen = []
    hub = make_hub(on_event=lambda event: seen.append(1))
    hub.on(TIME_OUT)(lambda event: seen.append(2))
    hub.on(TIME_OUT)(lambda event: seen.append(3))
    hub.heartbeat_many(["a", "b"])
    clock.advance(10)
    assert seen == [1, 2, 3, 1, 2, 3]


def test_unread_verdicts_go_to_the_callback_that_comes_later(hub, clock, drained):
    hub.heartbeat("a")
    clock.advance(10)
    seen = []
    hub.on(TIME_OUT)(seen.append)
    clock.advance(0)
    assert [event.key for event in seen] == ["a"]
    assert drained(hub) == []


def test_all_run_on_one_thread_of_the_hub(make_hub, clock):
    threads = set()
    hub = make_hub(on_event=lambda event: threads.add(threading.current_thread()))
    hub.on(JOIN)(lambda event: threads.add(threading.current_thread()))
    hub.heartbeat_many(range(1000))
    clock.advance(10)
    assert len(threads) == 1
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_one_that_raises_is_logged_and_counted_and_the_next_still_come(make_hub, clock, caplog, error):
    seen = []

    def bad(event):
        raise error("mine")

    hub = make_hub(on_event=bad)
    hub.on(TIME_OUT)(seen.append)
    hub.heartbeat_many(["a", "b"])
    clock.advance(10)
    assert [event.key for event in seen] == ["a", "b"]
    assert hub.stats().callback_errors == 2
    assert [(record.name, record.levelname) for record in caplog.records] == [("heartfelt", "ERROR")] * 2
    assert caplog.records[0].exc_info[0] is error


def test_what_is_raised_goes_to_the_hubs_own_logger(make_hub, clock, caplog):
    hub = make_hub(on_event=lambda event: 1 // 0, logger=logging.getLogger("mine"))
    hub.heartbeat("a")
    clock.advance(10)
    assert [record.name for record in caplog.records] == ["mine"]


def test_even_a_logger_that_raises_does_not_keep_the_next_from_coming(make_hub, clock, eventually):
    class Broken(logging.Logger):
        def exception(self, *args, **options):
            raise OSError("the disk is full")

    seen = []

    def bad(event):
        seen.append(event.key)
        raise ValueError

    hub = make_hub(on_event=bad, logger=Broken("broken"))
    threading.excepthook, kept = lambda args: None, threading.excepthook
    try:
        hub.heartbeat_many(["a", "b"])
        clock.advance(10)
    finally:
        threading.excepthook = kept
    assert seen == ["a", "b"]


def test_one_may_beat(make_hub, clock, drained):
    hub = make_hub(1)
    hub.on(TIME_OUT)(lambda event: hub.heartbeat(event.key, timeout=5))
    hub.heartbeat("a")
    clock.advance(1)
    assert (hub["a"].join_time, hub["a"].timeout) == (1, 5)


def test_one_may_remove(make_hub, clock):
    hub = make_hub(1, disposable=False)
    seen = []

    @hub.on(TIME_OUT)
    def told(event):
        seen.append(event.key)
        hub.remove(event.key)

    hub.heartbeat("a")
    clock.advance(1)
    clock.advance(10)
    assert (seen, len(hub)) == (["a"], 0)


def test_one_may_move_the_clock(make_hub, clock):
    hub = make_hub(1)
    seen = []

    @hub.on(TIME_OUT)
    def told(event):
        seen.append(event.key)
        if event.key == "a":
            clock.advance(5)

    hub.heartbeat("a")
    hub.heartbeat("b", timeout=3)
    clock.advance(1)
    clock.advance(0)
    assert seen == ["a", "b"]


def test_one_may_close_the_hub_and_the_rest_still_come(make_hub, clock, eventually):
    seen = []

    def told(event):
        seen.append(event.key)
        hub.close()

    hub = make_hub(on_event=told)
    hub.heartbeat_many(["a", "b", "c"])
    clock.advance(10)
    eventually(lambda: seen == ["a", "b", "c"])
    assert hub.closed
    with pytest.raises(HubClosed):
        hub.heartbeat("a")


def test_close_waits_until_what_waits_is_delivered(make_hub):
    seen = []
    hub = make_hub(subscribe=[JOIN], on_event=seen.append, clock="monotonic")
    hub.heartbeat_many(range(2000))
    hub.close()
    assert [event.key for event in seen] == list(range(2000))
    assert hub.stats().waiting_callbacks == 0


def test_one_may_register_another(make_hub, clock):
    hub = make_hub(1)
    seen = []

    @hub.on(TIME_OUT)
    def told(event):
        hub.on(JOIN)(seen.append)

    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("b")
    clock.advance(0)
    assert [event.key for event in seen] == ["b"]


def test_on_a_real_clock_they_come_by_themselves():
    came = threading.Event()
    with HeartHub(0.005, on_event=lambda event: came.set()) as hub:
        hub.heartbeat("a")
        assert came.wait(LONG_S)


def test_while_one_runs_what_comes_waits_and_is_counted(make_hub, clock):
    entered, gate = threading.Event(), threading.Event()
    hub = make_hub(subscribe=[JOIN], on_event=lambda event: (entered.set(), gate.wait(LONG_S)))
    hub.heartbeat("first")
    assert entered.wait(LONG_S)
    hub.heartbeat_many(range(5))
    assert hub.stats().waiting_callbacks == 5
    gate.set()
    clock.advance(0)
    assert hub.stats().waiting_callbacks == 0


def until_one_waits(hub, eventually):
    eventually(lambda: hub.stats().waiting_callbacks == 1)


@pytest.mark.parametrize("how", ["let go of", "in a circle"])
def test_verdicts_that_wait_for_callbacks_are_told_though_nobody_holds_the_hub(eventually, how):
    may_go_on, seen = threading.Event(), []

    def told(event):
        seen.append(event.key)
        may_go_on.wait(LONG_S)

    hub = HeartHub(0.005, on_event=told)
    if how == "in a circle":
        told.hub = hub
    hub.heartbeat("first")
    eventually(lambda: seen)
    hub.heartbeat("second")
    until_one_waits(hub, eventually)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "heartfelt-callbacks"]
    del hub, told
    may_go_on.set()
    eventually(lambda: (gc.collect(), thread.is_alive())[1] is False)
    assert seen == ["first", "second"]


def test_verdicts_are_told_at_exit_though_the_hub_was_collected_just_before(run_python):
    code = """
        import sys
        from heartfelt import HeartHub

        def serve():
            hub = HeartHub(0.005, on_event=lambda event: print("told of", event.key))
            hub.heartbeat("a")
            while len(hub):
                pass
            sys.exit(0)  # the hub goes with the frame, before anything else is ended

        serve()
    """
    for _ in range(20):
        assert run_python(code) == "told of a\n"


def test_exit_waits_for_a_callback_that_came_between_the_hub_and_its_end(run_python):
    code = """
        import sys, time
        from heartfelt import HeartHub

        class Hub(HeartHub):
            def _close(self, *arguments, **options):
                super()._close(*arguments, **options)
                give_up = time.monotonic() + 1  # where there is no GIL the thread cannot get hold of it any more
                while self.stats().waiting_callbacks and time.monotonic() < give_up:
                    time.sleep(0.001)  # the thread takes them while this is being collected

        def told(event):
            time.sleep(0.1)
            print("told of", event.key)

        def serve():
            hub = Hub(0.005, on_event=told)
            hub.heartbeat("a")
            while len(hub):
                pass
            sys.exit(0)

        serve()
    """
    for _ in range(5):
        assert run_python(code) == "told of a\n"
