# SPDX-License-Identifier: MIT
"""The end of a monitor: a list of steps, each with its own time limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from heartfelt.monitor.tasks import Hung, end_tasks, run_in_thread, task_stack

__all__ = ["LEAVE_S", "Stopping"]

LEAVE_S = 0.5
"""How long a step whose time is up may take to be cancelled."""
_logger = logging.getLogger("heartfelt.monitor")


class _Step(NamedTuple):
    name: str
    stop: Callable[[], Any]
    seconds: float
    blocks: bool


class Stopping:
    """Steps that undo a start, the last one first. `run` does each of them, whatever happens to the others, and takes
    at most the sum of their times, and LEAVE_S for each that exceeds its time."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._lock = asyncio.Lock()
        self.left_running = 0
        """Steps that did not end in their time."""

    def add(self, name: str, stop: Callable[[], Any], *, seconds: float, blocks: bool = False) -> None:
        """`stop`: a function or coroutine function that may take `seconds`, 0 if it does not wait. blocks: it may
        block, and is called in a thread of its own."""
        self._steps.append(_Step(name, stop, seconds, blocks))

    @property
    def seconds(self) -> float:
        """The most that `run` takes."""
        return sum(step.seconds + (0 if step.blocks else LEAVE_S) for step in self._steps if step.seconds)

    async def run(self) -> None:
        """Idempotent. If it is cancelled, the next call goes on with the steps that are left."""
        async with self._lock:
            while self._steps:
                step = self._steps.pop()
                try:
                    await self._do(step)
                except Exception:
                    _logger.exception("%s did not stop as it should", step.name)

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
            await asyncio.wait({task}, timeout=step.seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            if task.cancelled():  # by somebody else than us; it must not look like a cancellation of `run`
                raise RuntimeError(f"the stop of {step.name} was cancelled")
            task.result()
            return
        self.left_running += 1
        text = "%s did not stop within %g s, and is given up; its stop is at\n%s"
        _logger.error(text, step.name, step.seconds, task_stack(task))
        await end_tasks([task], seconds=LEAVE_S)
