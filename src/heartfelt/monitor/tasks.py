# SPDX-License-Identifier: MIT
"""Waiting, and ending tasks and threads: the two operations in which the monitor could hang.

**Waiting.** `asyncio.wait_for` is not used anywhere in this package. Up to Python 3.11 it swallows a cancellation that
arrives in the same iteration of the loop as the result: the task continues as if it had not been cancelled, and code
that waits for its end waits forever. `TimedEvent` waits for an event or a time, `within` puts a time limit on anything
else. Neither loses a cancellation, in any version of Python.

**Ending.** `end_tasks`, `run_in_thread` and `join_thread` have a time limit. A task or thread that has not ended by
then is logged with its name and stack, and left running: a stop always ends.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import logging
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from heartfelt.monitor.metric import counter

__all__ = [
    "LEFT_RUNNING",
    "Hung",
    "TimedEvent",
    "end_tasks",
    "join_thread",
    "run_in_thread",
    "task_stack",
    "thread_stack",
    "within",
]

AGAIN = 4
"""How often a task that survives its cancellation is cancelled within the time limit."""
_DEEPEST = 100
LEFT_RUNNING = counter(
    "heartfelt_left_running", "Tasks and threads that did not end in time and were left running", labels=("part",)
)
T = TypeVar("T")
_logger = logging.getLogger("heartfelt.monitor")


class Hung(Exception):
    """A function did not end in time. It was logged, and still runs."""


# -- waiting


class TimedEvent:
    """An `asyncio.Event` whose `wait` has a time limit. Belongs to the loop's thread."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[asyncio.Future[bool]] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiting:
            _resolve(waiter, True)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Returns True when the event is set, False after the time limit. Never swallows a cancellation."""
        if self._is_set:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _resolve, waiter, False)
        self._waiting.add(waiter)
        try:
            return await waiter  # awaited by the task itself, so a cancellation cannot be mistaken for a result
        finally:
            self._waiting.discard(waiter)
            if timer is not None:
                timer.cancel()


def _resolve(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)


async def _within(seconds: float, awaitable: Awaitable[T]) -> T:
    """`within` for Python 3.10, whose tasks do not count their cancellations: the work is a task of its own, so that
    the cancellation by the time limit and one from outside reach different tasks."""
    task = asyncio.ensure_future(awaitable)
    cancelled = False
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        cancelled = True
    timed_out = not task.done()
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # marks it as retrieved for asyncio
        raise asyncio.CancelledError
    if timed_out and task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


if sys.version_info >= (3, 11):

    async def within(seconds: float, awaitable: Awaitable[T]) -> T:
        """Returns the awaitable's result. Cancels it after `seconds` and raises asyncio.TimeoutError. If the task is
        cancelled from outside, even at the same moment, raises CancelledError."""
        async with asyncio.timeout(seconds):
            return await awaitable

else:
    within = _within


# -- ending


async def end_tasks(
    tasks: Iterable[asyncio.Task[Any]], *, seconds: float, logger: logging.Logger = _logger
) -> list[asyncio.Task[Any]]:
    """Cancels the tasks and waits at most `seconds` for them to end. A task that survives its cancellation is cancelled
    again. Returns the tasks that still run, after logging each with its name and stack.

    Exceptions of tasks that ended are logged, too.
    """
    all_ = list(tasks)
    pending = {task for task in all_ if not task.done()}
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + seconds
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=seconds / AGAIN)
        if loop.time() >= ends_s:
            break
    for task in all_:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the task %r ended with an error", task.get_name(), exc_info=error)
    for task in pending:
        logger.error(
            "the task %r did not end within %g s of its cancellation, and is left running; it is at\n%s",
            task.get_name(),
            seconds,
            task_stack(task),
        )
    return list(pending)


async def run_in_thread(
    name: str, function: Callable[[], T], *, seconds: float | None = None, logger: logging.Logger = _logger
) -> T:
    """Runs a function that may block on a thread of its own and returns its result. Raises whatever it raises; raises
    Hung if it takes longer than `seconds`, after logging the thread's name and stack. The thread is then abandoned.

    The thread is a daemon: unlike an executor's threads, which Python joins at exit, it does not delay the end of the
    process.
    """
    loop = asyncio.get_running_loop()
    outcome: list[tuple[T | None, BaseException | None]] = []
    ended = TimedEvent()
    is_left = False

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))
        if is_left:
            logger.warning("the thread %r, which was left running, has ended", name, exc_info=outcome[0][1])
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:  # the loop was closed: nobody waits
            return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    await ended.wait(seconds)
    if not outcome:
        is_left = True
        assert seconds is not None
        _log_left(thread, seconds, logger)
        raise Hung(f"{name} did not end within {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def join_thread(thread: threading.Thread, seconds: float, logger: logging.Logger = _logger) -> bool:
    """Blocks at most `seconds` until the thread ends. Returns False if it did not: then it was logged with its name and
    stack, and is left running."""
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        _log_left(thread, seconds, logger)
        return False
    return True


def _log_left(thread: threading.Thread, seconds: float, logger: logging.Logger) -> None:
    text = "the thread %r did not end within %g s, and is left running; it is at\n%s"
    logger.error(text, thread.name, seconds, thread_stack(thread))


# -- stacks


def task_stack(task: asyncio.Task[Any]) -> str:
    """Formats where the task waits: the whole chain of coroutines, outermost first. `Task.get_stack` returns only the
    first."""
    lines: list[str] = []
    inner: Any = task.get_coro()
    for _ in range(_DEEPEST):
        if isinstance(inner, asyncio.Task):
            lines.append(f"  in the task {inner.get_name()!r}")
            inner = inner.get_coro()
        frame = _first(inner, _FRAMES)
        if frame is not None:
            code, line = frame.f_code, frame.f_lineno
            lines.append(f'  File "{code.co_filename}", line {line}, in {code.co_name}')
            if text := linecache.getline(code.co_filename, line).strip():
                lines.append(f"    {text}")
            inner = _first(inner, _AWAITED)
        else:
            inner = _wrapped(inner)
        if inner is None or (isinstance(inner, asyncio.Future) and not isinstance(inner, asyncio.Task)):
            break
    if inner is not None:
        lines.append(f"  which waits for {inner!r}"[:400])
    return "\n".join(lines) or "  (no stack: it runs at this moment)"


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def _first(what: Any, names: tuple[str, ...]) -> Any:
    return next((found for name in names if (found := getattr(what, name, None)) is not None), None)


def _wrapped(what: Any) -> Any:
    """Finds what an iterator without a frame waits for. Such iterators are those of a future and of a class's
    `__await__`, and the steps of an asynchronous generator."""
    for one in gc.get_referents(what):
        if isinstance(one, asyncio.Future) or _first(one, _FRAMES) is not None:
            return one
    return None


def thread_stack(thread: threading.Thread) -> str:
    """Formats the thread's current stack."""
    frame = None if thread.ident is None else sys._current_frames().get(thread.ident)
    return "  (no stack: it has ended)" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
