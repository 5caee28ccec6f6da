# SPDX-License-Identifier: MIT
"""`job`: a monitor is told when a run of a job starts, that it makes progress, and how it ends.

Nothing here blocks the job or raises into it because of the monitor: pings go through an outbox, `outbox.py`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
import traceback
import uuid
from collections.abc import Callable
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
from heartfelt.agent.jobs.outbox import Outbox, Ping, flush_all
from heartfelt.errors import ConfigError

__all__ = ["Job", "JobRun", "JobStats", "flush", "job"]

URL_VARIABLE, TOKEN_VARIABLE = "HEARTFELT_URL", "HEARTFELT_TOKEN"
BEAT_GAP_S = 1.0  # between two beats by JobRun.beat
TIMEOUT_INTERVALS = 3  # a timeout that is not given is so many intervals

Duration = float | timedelta
Function = TypeVar("Function", bound=Callable[..., Any])
logger = logging.getLogger("heartfelt.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """What became of the pings of a job's way to the monitor, which jobs with the same url, token and ca share.

    sent: taken by the monitor; failed: given up; retries: further tries; waiting: in the queue; merged: beats that a
    newer one of their run replaced while they waited; dropped: the queue was full.
    """

    sent: int
    failed: int
    retries: int
    waiting: int
    merged: int
    dropped: int
    last_error: str | None


class JobRun:
    """One run. Made by entering a job; `beat` from any thread."""

    def __init__(self, job: Job, outbox: Outbox | None) -> None:
        self.key = job.key
        self.rid = str(uuid.uuid4())  # tells runs of one key apart that overlap
        self.skipped = 0  # beats not sent: too soon after another, or not during the run
        self._outbox = outbox
        self._timeout_ms = job.timeout_ms
        self._interval_s = job.interval_s
        self._pid = os.getpid()
        self._began = 0.0
        self._last_beat = -BEAT_GAP_S
        self._lock = threading.RLock()  # a signal's handler may beat, too
        self._running = False

    def start(self) -> None:
        """Tells that the run starts. Its time counts from now."""
        self._began = monotonic()
        self._running = True
        self._put("start", timeout_ms=self._timeout_ms)
        if self._interval_s and self._outbox is not None:
            beat = Ping(key=self.key, event=None, rid=self.rid, timeout_ms=self._timeout_ms)
            self._outbox.beat_every(self._interval_s, beat)

    def beat(self, text: object = None) -> None:
        """Tells that the run goes on, with a word about how far it is. Never blocks, never raises.

        Beats less than a second after the one before are not sent, but counted in `skipped`; nor is one after the run.
        """
        if os.getpid() != self._pid:  # this lock may be another thread's, which did not come along
            return
        now = monotonic()
        with self._lock:
            if not self._running or now - self._last_beat < BEAT_GAP_S:
                self.skipped += 1
                return
            self._last_beat = now
            self._put(None, text=_text_of(text), timeout_ms=self._timeout_ms)

    def end(self, event: Event, text: str | None = None) -> None:
        """Tells how the run ended; only the first call counts, and none in a process forked from the run's own."""
        if os.getpid() != self._pid:
            return
        duration_ms = round((monotonic() - self._began) * 1000)
        with self._lock:
            if not self._running:
                return
            self._running = False
            if self._outbox is not None:
                self._outbox.stop_beating(self.rid)
            self._put(event, text=text, duration_ms=duration_ms)

    def _put(
        self, event: Event, *, text: str | None = None, duration_ms: int | None = None, timeout_ms: int | None = None
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


# The runs of this thread or task that were entered by `with job`, the innermost last. One variable for all jobs: a
# context keeps its variables for good.
_entered: ContextVar[tuple[JobRun, ...]] = ContextVar("heartfelt_job_runs", default=())


class Job:
    """A job; see `job`. One may run many times, nested, and in many threads and tasks at once."""

    def __init__(
        self,
        key: str,
        *,
        url: str | None = None,
        timeout: Duration | None = None,
        interval: Duration | None = None,
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
                f"the interval {shown(interval)} is not shorter than the timeout {shown(timeout)}, so that a run "
                f"in good health would be reported; give a shorter interval or a longer timeout"
            )
        self.timeout_ms = None if timeout_ns is None else -(-timeout_ns // 1_000_000)
        if client is not None and not (url is None and token is None and ca is None):
            raise ConfigError("a client has its own url, token and ca; give it, or them, not both")
        if url is not None:
            parse_url(url)
        if token is not None:
            checked_token(token)
        self._settings = (url, token, ca)
        self._outbox = None if client is None else Outbox(client)
        self._runs: list[JobRun] = []  # entered by `with`, in this process

    def new_run(self) -> JobRun:
        """A run that has not started: enter it, or call its `start` and `end`."""
        return JobRun(self, self._way())

    def stats(self) -> JobStats:
        """What became of the pings so far."""
        outbox = self._way()
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
                f"a job cannot decorate the generator function {shown(function)}: when it ends depends on who reads "
                f"it; write `with job({self.key!r}):` in it, or around the loop that reads it"
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
        return self._runs.pop()  # left in another task than entered: the last one

    def _way(self) -> Outbox | None:
        return self._outbox if self._outbox is not None else _shared_outbox(*self._settings)


job = Job  # the name to use: `@job("nightly")`, `with job("nightly") as run`


def flush(timeout: Duration = 5.0) -> bool:
    """Blocks until what the jobs of this process have told is sent or given up, for `timeout` (seconds) at most.

    False if that was too short. The end of the process does the same, for 5 s; os._exit does not.
    """
    return flush_all(duration_ns(timeout, "timeout") / 1e9)


_shared: dict[tuple[object, ...], Outbox] = {}
_env_error: str | None = None


def _shared_outbox(url: str | None, token: str | None, ca: str | os.PathLike[str] | None) -> Outbox | None:
    """The outbox for these settings and, where they are None, the environment's. None if the environment is wrong."""
    global _env_error
    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    settings = (url, token, ca)
    outbox = _shared.get(settings)
    if outbox is None:
        try:
            client = PingClient(url, token, ca)
        except ConfigError as error:  # what was given to the job is checked already, and a job must not fail by this
            text = f"{URL_VARIABLE} or {TOKEN_VARIABLE}: {error}"
            if _env_error != text:
                logger.error("jobs are not reported: %s", text)
            _env_error = text
            return None
        outbox = _shared.setdefault(settings, Outbox(client))
    return outbox


def _text_of(text: object) -> str | None:
    if text is None or isinstance(text, str):
        return text
    try:
        return str(text)
    except Exception as error:
        return f"a {type(text).__name__} whose str() raises {type(error).__name__}"
