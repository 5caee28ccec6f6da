# SPDX-License-Identifier: MIT
"""The end of a monitor: a list of steps, each with its own time limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from heartfelt.monitor.tasks import Hung, end_tasks, run_in_thread, task_stack

__all__ = ["HURRY_S", "LEAVE_S", "Stopping"]

HURRY_S = 0.5
"""The time limit of each step that waits, after `Stopping.hurry`."""
LEAVE_S = 0.5
"""How long the cancellation of a step that exceeded its time limit may take."""
_logger = logging.getLogger("heartfelt.monitor")


class _Step(NamedTuple):
    name: str
    stop: Callable[[], Any]
    seconds: float
    blocks: bool


class Stopping:
    """Steps that undo a start, in reverse order. `run` executes each of them, whatever happens to the others. It takes
    at most the sum of their time limits, plus LEAVE_S for each step that exceeds its limit."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._lock = asyncio.Lock()
        self._hurry = asyncio.Event()
        self.has_begun = False
        """The stop was announced: nothing new shall be sent here."""
        self.left_running = 0
        """Number of steps that exceeded their time limits."""

    def add(self, name: str, stop: Callable[[], Any], *, seconds: float, blocks: bool = False) -> None:
        """Adds a step. `stop`: a function or coroutine function that may take `seconds`, 0 if it does not wait. blocks:
        it may block, and is called in its own thread."""
        self._steps.append(_Step(name, stop, seconds, blocks))

    @property
    def seconds(self) -> float:
        """The longest that `run` can take."""
        return sum(step.seconds + (0 if step.blocks else LEAVE_S) for step in self._steps if step.seconds)

    def hurry(self) -> None:
        """Gives each step that waits HURRY_S at most, from now on, and also the one that is being executed. Steps that
        block keep their time limits: they write what must not be lost. Idempotent."""
        self._hurry.set()

    async def run(self) -> None:
        """Executes the steps. Idempotent. If it is cancelled, the next call continues with the remaining steps."""
        async with self._lock:
            while self._steps:
                step = self._steps.pop()
                try:
                    await self._do(step)
                except Exception:
                    _logger.exception("%s failed to stop", step.name)

    async def _do(self, step: _Step) -> None:
        if step.blocks:
            try:
                await run_in_thread(f"heartfelt stop of {step.name}", step.stop, seconds=step.seconds)
            except Hung:
                self.left_running += 1
            return
        result = step.stop()
        if not inspect.isawaitable(result):
            return
        task: asyncio.Task[Any] = asyncio.ensure_future(result)
        task.set_name(f"stop of {step.name}")
        try:
            await self._wait(task, step.seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            if task.cancelled():  # by other code; it must not look like a cancellation of `run`
                raise RuntimeError(f"the stop of {step.name} was cancelled")
            task.result()
            return
        if self._hurry.is_set():
            _logger.warning("%s had not stopped when a second signal came, and is cut short", step.name)
        else:
            self.left_running += 1
            text = "%s did not stop within %g s and is abandoned; its stop is at\n%s"
            _logger.error(text, step.name, step.seconds, task_stack(task))
        await end_tasks([task], seconds=LEAVE_S)

    async def _wait(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Waits for the task's end, for at most `seconds`, or HURRY_S after a call of `hurry`."""
        ends_s = asyncio.get_running_loop().time() + seconds
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({task, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            left_s = min(HURRY_S, ends_s - asyncio.get_running_loop().time())
            if not task.done() and left_s > 0:
                await asyncio.wait({task}, timeout=left_s)
        finally:
            hurry.cancel()
