# SPDX-License-Identifier: MIT
"""job: what the monitor is told of a run, and that the monitor never matters to the run."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import re
import threading

import pytest

from heartfelt import ConfigError
from heartfelt.agent import job, jobs
from heartfelt.agent.jobs.client import MOST_TEXT, PingClient

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def clock(monkeypatch):
    """A list with the time that jobs see."""
    now = [100.0]
    monkeypatch.setattr("heartfelt.agent.jobs.runs.monotonic", lambda: now[0])
    return now


def told(monitor):
    assert jobs.flush(30)
    return [(one.key, one.event, one.text) for one in monitor.got]


class CallableGenerator:
    def __call__(self):
        yield


class TestRun:
    def test_body_of_a_with(self, monitor, clock):
        with job("nightly") as run:
            run.beat("half of it")
            clock[0] += 12.5
        assert told(monitor) == [("nightly", "start", ""), ("nightly", None, "half of it"), ("nightly", "ok", "")]
        start, beat, end = monitor.got
        assert {one.query["rid"] for one in monitor.got} == {run.rid}
        assert "duration_ms" not in start.query and "duration_ms" not in beat.query
        assert end.query["duration_ms"] == "12500"

    def test_a_period_and_bounds_are_sent_with_start_and_end(self, monitor):
        with job("nightly", every=86_400, grace=3600, max_duration=7200, min_duration=0.5) as run:
            run.beat()
        told(monitor)
        terms = {"every_ms": "86400000", "grace_ms": "3600000", "max_duration_ms": "7200000", "min_duration_ms": "500"}
        start, beat, end = monitor.got
        assert start.query == {"rid": run.rid, **terms} and beat.query == {"rid": run.rid}
        assert end.query.items() >= terms.items()

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"every": 0}, "every"),
            ({"max_duration": -1}, "max_duration"),
            ({"max_duration": 1, "min_duration": 2}, "swap"),
        ],
    )
    def test_a_period_or_bounds_that_cannot_be(self, options, word):
        with pytest.raises(ConfigError, match=word):
            job("nightly", **options)

    def test_function(self, monitor):
        @job("nightly")
        def work(a, *, b):
            """Works."""
            return a + b

        assert (work(1, b=2), work(3, b=4)) == (3, 7)
        assert (work.__name__, work.__doc__) == ("work", "Works.")
        assert [event for _, event, _ in told(monitor)] == ["start", "ok"] * 2
        assert len({one.query["rid"] for one in monitor.got}) == 2

    def test_coroutine_function(self, monitor):
        @job("nightly")
        async def work():
            await asyncio.sleep(0)
            assert "ok" not in monitor.events
            return 7

        assert inspect.iscoroutinefunction(work)
        assert asyncio.run(work()) == 7
        assert [event for _, event, _ in told(monitor)] == ["start", "ok"]

    def test_async_with_in_many_tasks(self, monitor):
        one = job("task")

        async def work(n):
            async with one as run:
                await asyncio.sleep(0)
                if n % 2:
                    raise LookupError(run.rid)

        async def main():
            return await asyncio.gather(*(work(n) for n in range(10)), return_exceptions=True)

        failures = {str(error) for error in asyncio.run(main()) if error}
        told(monitor)
        assert {got.query["rid"] for got in monitor.got if got.event == "fail"} == failures
        assert monitor.events.count("ok") == monitor.events.count("fail") == 5
        assert all(got.text == f"LookupError: {got.query['rid']}" for got in monitor.got if got.event == "fail")

    def test_nested_runs_of_one_job(self, monitor):
        one = job("nested")
        with one as outer, pytest.raises(ValueError), one as inner:
            raise ValueError("inner")
        told(monitor)
        assert [(got.query["rid"], got.event) for got in monitor.got] == [
            (outer.rid, "start"),
            (inner.rid, "start"),
            (inner.rid, "fail"),
            (outer.rid, "ok"),
        ]

    def test_left_in_another_order_than_entered(self, monitor):
        first, second = job("first"), job("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(ValueError, ValueError("x"), None)
        assert [(key, event) for key, event, _ in told(monitor)[2:]] == [("first", "ok"), ("second", "fail")]

    def test_many_threads_use_one_job(self, monitor):
        one = job("threads")
        barrier = threading.Barrier(8)

        def work(n):
            try:
                with one:
                    barrier.wait(30)
                    if n % 2:
                        raise KeyError(n)
            except KeyError:
                pass

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told(monitor)
        by_run = {}
        for got in monitor.got:
            by_run.setdefault(got.query["rid"], []).append(got.event)
        assert sorted(by_run.values()) == [["start", "fail"]] * 4 + [["start", "ok"]] * 4

    def test_left_in_another_context_than_entered(self, monitor):
        one = job("strange")
        contextvars.copy_context().run(one.__enter__)
        one.__exit__(None, None, None)
        assert [event for _, event, _ in told(monitor)] == ["start", "ok"]

    @pytest.mark.parametrize("made", [lambda: (yield), Exception, 7, CallableGenerator()])
    def test_what_has_no_clear_end_is_refused(self, made):
        with pytest.raises(TypeError, match="job"):
            job("nightly")(made)

    def test_async_generator_function_is_refused(self):
        async def numbers():
            yield 1

        with pytest.raises(TypeError, match="with job"):
            job("nightly")(numbers)


class TestFailure:
    def test_exception_is_told_and_is_the_same_outside(self, monitor):
        error = ValueError("no\nroom")
        with pytest.raises(ValueError) as raised, job("nightly"):
            raise error
        assert raised.value is error
        assert told(monitor)[-1] == ("nightly", "fail", "ValueError: no\nroom")

    def test_long_text_is_cut(self, monitor):
        with pytest.raises(ValueError), job("nightly"):
            raise ValueError("x" * 100_000)
        assert len(told(monitor)[-1][2]) == MOST_TEXT

    @pytest.mark.parametrize(
        ("error", "event", "text"),
        [
            (KeyboardInterrupt(), "fail", "KeyboardInterrupt"),
            (SystemExit(3), "fail", "SystemExit: 3"),
            (SystemExit("no disk"), "fail", "SystemExit: no disk"),
            (SystemExit(0), "ok", ""),
            (SystemExit(), "ok", ""),
            (asyncio.CancelledError(), "fail", "asyncio.exceptions.CancelledError"),
        ],
    )
    def test_other_ends(self, monitor, error, event, text):
        with pytest.raises(type(error)), job("nightly"):
            raise error
        assert told(monitor)[-1] == ("nightly", event, text)

    def test_exception_without_a_text(self, monitor):
        class Mean(Exception):
            def __str__(self):
                raise RuntimeError

        with pytest.raises(Mean), job("nightly"):
            raise Mean
        assert "Mean" in told(monitor)[-1][2]


class TestBeats:
    def test_beats_close_together_are_counted_instead(self, monitor, clock):
        with job("nightly") as run:
            run.beat(1)
            told(monitor)  # else the next would take its place
            clock[0] += 0.9
            run.beat(2)
            clock[0] += 0.2
            run.beat(3)
        run.beat("after the end")
        assert [text for _, event, text in told(monitor) if event is None] == ["1", "3"]
        assert run.skipped == 2

    def test_text_that_cannot_be_shown(self, monitor):
        class Mean:
            def __str__(self):
                raise RuntimeError

        with job("nightly") as run:
            run.beat(Mean())
        assert "RuntimeError" in told(monitor)[1][2]

    def test_timeout_is_told_while_it_runs(self, monitor):
        with job("nightly", timeout=1.5) as run:
            run.beat()
        told(monitor)
        assert [one.query.get("timeout_ms") for one in monitor.got] == ["1500", "1500", None]

    def test_interval_beats_by_itself(self, monitor):
        one = job("nightly", interval=0.01, client=PingClient(monitor.url))
        with one:
            monitor.wait_for(lambda got: len(got) >= 4)
        told(monitor)
        assert monitor.events[0] == "start" and monitor.events[-1] == "ok"
        assert set(monitor.events[1:-1]) == {None}
        assert monitor.got[1].query["timeout_ms"] == "30"
        assert not one._outbox._rhythms

    @pytest.mark.parametrize(("interval", "timeout"), [(10, 10), (10, 5), (0, None), (None, -1), (float("nan"), None)])
    def test_times_that_cannot_be_are_refused(self, interval, timeout):
        with pytest.raises(ConfigError):
            job("nightly", interval=interval, timeout=timeout)


class TestMonitorAway:
    def test_run_does_not_wait_for_a_slow_monitor(self, monitor):
        monitor.gate.clear()
        one = job("nightly")
        for _ in range(5):
            with one as run:
                run.beat()
        assert one.stats().sent == 0  # all is done, and nothing is answered yet
        assert not jobs.flush(0.01)
        monitor.gate.set()
        assert [event for _, event, _ in told(monitor)] == ["start", None, "ok"] * 5
        assert (one.stats().waiting, one.stats().failed) == (0, 0)

    def test_nobody_there(self, nobody, caplog):
        one = job("nightly", url=nobody)
        with one:
            pass
        assert jobs.flush(30)
        assert (one.stats().sent, one.stats().failed) == (0, 2)
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    @pytest.mark.parametrize(("name", "value"), [("HEARTFELT_URL", "nonsense"), ("HEARTFELT_TOKEN", "a b")])
    def test_wrong_environment_is_logged_and_not_raised(self, monkeypatch, caplog, name, value):
        monkeypatch.setenv(name, value)
        one = job("nightly")
        with one as run:
            run.beat()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert name in caplog.text
        assert name in one.stats().last_error

    @pytest.mark.parametrize("wrong", [{"url": "nonsense"}, {"token": "a b"}, {"client": PingClient(), "token": "t"}])
    def test_wrong_arguments_are_refused_at_once(self, wrong):
        with pytest.raises(ConfigError):
            job("nightly", **wrong)

    def test_environment_is_read_when_the_run_starts(self, make_monitor, monkeypatch):
        monkeypatch.setenv("HEARTFELT_URL", "http://127.0.0.1:9")
        one = job("nightly")
        there = make_monitor()
        monkeypatch.setenv("HEARTFELT_URL", there.url)
        monkeypatch.setenv("HEARTFELT_TOKEN", "s3cret")
        with one:
            pass
        assert jobs.flush(30)
        assert [got.headers["authorization"] for got in there.got] == ["Bearer s3cret"] * 2


class TestProcess:
    def test_what_waits_is_sent_at_the_end(self, monitor, run_python):
        run_python("""
            from heartfelt.agent import job
            with job("short"):
                pass
        """)
        assert monitor.events == ["start", "ok"]

    def test_job_in_an_atexit_handler(self, monitor, run_python):
        run_python("""
            import atexit
            from heartfelt.agent import job
            atexit.register(job("late")(print))
        """)
        monitor.wait_for(lambda got: got[-1:] and got[-1].event == "ok")

    def test_the_host_of_a_job_in_an_atexit_handler_is_looked_up(self, monitor, run_python, monkeypatch):
        """From Python 3.12 on no thread can be started then."""
        monkeypatch.setenv("HEARTFELT_URL", monitor.url.replace("127.0.0.1", "localhost"))
        run_python("""
            import atexit
            from heartfelt.agent import job
            atexit.register(job("late")(print))
        """)
        monitor.wait_for(lambda got: got[-1:] and got[-1].event == "ok")

    def test_uncaught_exception(self, monitor, run_python):
        with pytest.raises(AssertionError, match="exit status 1"):
            run_python("from heartfelt.agent import job\nwith job('short'): 1 / 0")
        assert told(monitor)[-1] == ("short", "fail", "ZeroDivisionError: division by zero")

    @forks
    def test_child_of_a_fork_tells_nothing_of_the_parents_run(self, monitor, run_python):
        out = run_python("""
            import os
            from heartfelt.agent import job, jobs
            with job("parent") as run:
                child = os.fork()
                if not child:
                    run.beat("child")
                    with job("child"):
                        pass
            if not child:
                jobs.flush(30)
                os._exit(0)
            print(os.waitpid(child, 0)[1])
        """)
        assert out == "0\n"
        by_key = {key: [got.event for got in monitor.got if got.key == key] for key in ("parent", "child")}
        assert by_key == {"parent": ["start", "ok"], "child": ["start", "ok"]}

    @forks
    def test_child_of_multiprocessing_sends_what_waits(self, monitor, run_python):
        run_python("""
            import multiprocessing
            from heartfelt.agent import job
            with job("parent"):
                child = multiprocessing.get_context("fork").Process(target=job("child")(abs), args=(1,))
                child.start()
                child.join()
        """)
        assert [got.event for got in monitor.got if got.key == "child"] == ["start", "ok"]

    def test_import_takes_the_standard_library_only(self, run_python):
        out = run_python("""
            import sys
            import heartfelt.agent
            print(sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names))
        """)
        assert not {"numpy", "requests", "cryptography"} & set(re.findall(r"\w+", out))
