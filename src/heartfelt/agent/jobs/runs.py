# SPDX-License-Identifier: MIT
"""`job`: reports to a monitor when a run of a job starts, that it makes progress, and how it ends.

A job is never delayed, and never gets an exception, because of the monitor: pings go through an outbox.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar, cast

from heartfelt._checks import duration_ns, shown
from heartfelt._net.token import checked_token
from heartfelt._net.url import DEFAULT_URL, parse_url
from heartfelt.agent.jobs.client import Event, PingClient, checked_key
from heartfelt.agent.jobs.outbox import Ping, PingOutbox, flush_all
from heartfelt.errors import ConfigError

__all__ = ["Job", "JobRun", "JobStats", "flush", "job"]

URL_VARIABLE, TOKEN_VARIABLE = "HEARTFELT_URL", "HEARTFELT_TOKEN"
BEAT_GAP_S = 1.0  # shortest time between two beats by JobRun.beat
TIMEOUT_INTERVALS = 3  # the default of the timeout, in intervals

Duration = float | timedelta
Function = TypeVar("Function", bound=Callable[..., Any])
logger = logging.getLogger("heartfelt.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """Counters of a job's pings. Jobs with the same url, token and ca share an outbox, and these counters.

    sent: accepted by the monitor; failed: given up; retries: further tries; waiting: in the queue; merged: beats that
    were replaced by a newer one of their run while they waited; dropped: the queue was full.
    """

    sent: int
    failed: int
    retries: int
    waiting: int
    merged: int
    dropped: int
    last_error: str | None


class JobRun:
    """One run of a job. Made by entering the job; `beat` may be called from any thread."""

    def __init__(self, job: Job, outbox: PingOutbox | None) -> None:
        self.key = job.key
        self.rid = str(uuid.uuid4())  # distinguishes overlapping runs of one key
        self.skipped = 0  # beats not sent: too soon after another, or outside the run
        self._outbox = outbox
        self._timeout_ms = job.timeout_ms
        self._terms = job.terms
        self._interval_s = job.interval_s
        self._pid = os.getpid()
        self._began = 0.0
        self._last_beat = -BEAT_GAP_S
        self._lock = threading.RLock()  # reentrant: a signal handler may beat, too
        self._running = False

    def start(self) -> None:
        """Reports that the run starts. Its duration counts from now."""
        self._began = monotonic()
        self._running = True
        self._put("start", timeout_ms=self._timeout_ms, terms=self._terms)
        if self._interval_s and self._outbox is not None:
            beat = Ping(key=self.key, event=None, rid=self.rid, timeout_ms=self._timeout_ms)
            self._outbox.beat_every(self._interval_s, beat)

    def beat(self, text: object = None) -> None:
        """Reports progress, with an optional text. Never blocks, never raises.

        A beat less than a second after the one before, or after the end of the run, is not sent but counted in
        `skipped`.
        """
        if os.getpid() != self._pid:  # in a forked child; the lock may be held by a thread that does not exist here
            return
        now = monotonic()
        with self._lock:
            if not self._running or now - self._last_beat < BEAT_GAP_S:
                self.skipped += 1
                return
            self._last_beat = now
            self._put(None, text=_text_of(text), timeout_ms=self._timeout_ms)

    def end(self, event: Event, text: str | None = None) -> None:
        """Reports how the run ended. Only the first call counts, and none in a forked child."""
        if os.getpid() != self._pid:
            return
        duration_ms = round((monotonic() - self._began) * 1000)
        with self._lock:
            if not self._running:
                return
            self._running = False
            if self._outbox is not None:
                self._outbox.stop_beating(self.rid)
            self._put(event, text=text, duration_ms=duration_ms, terms=self._terms)

    def _put(
        self,
        event: Event,
        *,
        text: str | None = None,
        duration_ms: int | None = None,
        timeout_ms: int | None = None,
        terms: Mapping[str, int] | None = None,
    ) -> None:
        if self._outbox is not None:
            self._outbox.put(
                Ping(
                    key=self.key,
                    event=event,
                    rid=self.rid,
                    text=text,
                    duration_ms=duration_ms,
                    timeout_ms=timeout_ms,
                    terms=terms,
                )
            )

    def __enter__(self) -> JobRun:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.end("ok")
        else:
            self.end("fail", "".join(traceback.format_exception_only(kind, error)).strip())


# The runs that this thread or task entered by `with job`, the innermost last. One variable for all jobs, because a
# context never gives its variables up.
_entered: ContextVar[tuple[JobRun, ...]] = ContextVar("heartfelt_job_runs", default=())


class Job:
    """A job; see `job`. It may run many times, nested, and in many threads and tasks at once.

    timeout: how long a run may be without a beat before it has failed; without it a run may take any time. interval:
    beats are sent by themselves, which shows that the process is alive; the timeout is then three intervals by default.
    every, grace: how often the job runs, and how much later it may be; without a run by then it is lost. max_duration,
    min_duration: a run that is longer or shorter has failed.
    """

    def __init__(
        self,
        key: str,
        *,
        url: str | None = None,
        timeout: Duration | None = None,
        interval: Duration | None = None,
        every: Duration | None = None,
        grace: Duration | None = None,
        max_duration: Duration | None = None,
        min_duration: Duration | None = None,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        client: PingClient | None = None,
    ) -> None:
        self.key = checked_key(key)
        self.interval_s = None if interval is None else duration_ns(interval, "interval") / 1e9
        timeout_ns = None if timeout is None else duration_ns(timeout, "timeout")
        if timeout_ns is None and self.interval_s is not None:
            timeout_ns = round(self.interval_s * TIMEOUT_INTERVALS * 1e9)
        if timeout_ns is not None and self.interval_s is not None and self.interval_s * 1e9 >= timeout_ns:
            raise ConfigError(
                f"the interval {shown(interval)} is not shorter than the timeout {shown(timeout)}, so that a "
                f"healthy run would be reported as lost; give a shorter interval or a longer timeout"
            )
        self.timeout_ms = None if timeout_ns is None else _ms(timeout_ns)
        given = {"every": every, "grace": grace, "max_duration": max_duration, "min_duration": min_duration}
        self.terms = {f"{name}_ms": _ms(duration_ns(value, name)) for name, value in given.items() if value is not None}
        if self.terms.get("min_duration_ms", 0) > self.terms.get("max_duration_ms", math.inf):
            raise ConfigError(
                f"the min_duration {shown(min_duration)} is longer than the max_duration {shown(max_duration)}, so "
                f"that every run would fail; swap them"
            )
        if client is not None and not (url is None and token is None and ca is None):
            raise ConfigError("a client has its own url, token and ca: give either the client or these")
        if url is not None:
            parse_url(url)
        if token is not None:
            checked_token(token)
        self._settings = (url, token, ca)
        self._outbox = None if client is None else PingOutbox(client)
        self._runs: list[JobRun] = []  # entered by `with`, in this process

    def new_run(self) -> JobRun:
        """Makes a run that has not started: enter it, or call its `start` and `end`."""
        return JobRun(self, self._find_outbox())

    def stats(self) -> JobStats:
        """Returns the counters of the job's pings."""
        outbox = self._find_outbox()
        if outbox is None:
            return JobStats(sent=0, failed=0, retries=0, waiting=0, merged=0, dropped=0, last_error=_env_error)
        client, queue = outbox.client.stats(), outbox.stats()
        return JobStats(
            sent=client.sent,
            failed=client.failed,
            retries=client.retries,
            waiting=queue.waiting,
            merged=queue.merged,
            dropped=queue.dropped,
            last_error=client.last_error,
        )

    def __call__(self, function: Function) -> Function:
        """Decorates a function or a coroutine function: each call is a run."""
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"a job decorates functions and coroutine functions, not {shown(function)}")
        call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
        if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in (function, call)):
            raise TypeError(
                f"a job cannot decorate the generator function {shown(function)}: it ends when its "
                f"reader decides; write `with job({self.key!r}):` in it, or around the loop that reads it"
            )
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with self.new_run():
                    return await function(*args, **kwargs)

            return cast("Function", run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.new_run():
                return function(*args, **kwargs)

        return cast("Function", run)

    def __enter__(self) -> JobRun:
        run = self.new_run()
        self._runs.append(run)
        _entered.set((*_entered.get(), run))
        run.start()
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave().__exit__(kind, error, trace)

    async def __aenter__(self) -> JobRun:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _leave(self) -> JobRun:
        entered = _entered.get()
        for at in reversed(range(len(entered))):
            run = entered[at]
            if run in self._runs:
                _entered.set(entered[:at] + entered[at + 1 :])
                self._runs.remove(run)
                return run
        return self._runs.pop()  # left in another task than it was entered in: the last run

    def _find_outbox(self) -> PingOutbox | None:
        return self._outbox if self._outbox is not None else _shared_outbox(*self._settings)


job = Job  # the name to use: `@job("nightly")`, `with job("nightly") as run`


def flush(timeout: Duration = 5.0) -> bool:
    """Blocks until all pings of this process's jobs are sent or given up, at most `timeout` (seconds).

    False if that was too short. The end of the process does the same, for at most 5 s; os._exit does not.
    """
    return flush_all(duration_ns(timeout, "timeout") / 1e9)


_shared: dict[tuple[object, ...], PingOutbox] = {}
_env_error: str | None = None


def _shared_outbox(url: str | None, token: str | None, ca: str | os.PathLike[str] | None) -> PingOutbox | None:
    """Returns the outbox for these settings, with the environment's for None; None if the environment is invalid."""
    global _env_error
    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    settings = (url, token, ca)
    outbox = _shared.get(settings)
    if outbox is None:
        try:
            client = PingClient(url, token, ca)
        except (
            ConfigError
        ) as error:  # the environment's: arguments are checked already; a job must not fail because of it
            text = f"{URL_VARIABLE} or {TOKEN_VARIABLE}: {error}"
            if _env_error != text:
                logger.error("jobs are not reported: %s", text)
            _env_error = text
            return None
        outbox = _shared.setdefault(settings, PingOutbox(client))
    return outbox


def _ms(ns: int) -> int:
    return -(-ns // 1_000_000)


def _text_of(text: object) -> str | None:
    if text is None or isinstance(text, str):
        return text
    try:
        return str(text)
    except Exception as error:
        return f"a {type(text).__name__} whose str() raises {type(error).__name__}"
