# SPDX-License-Identifier: MIT
"""Calls that a person waits for: a webhook is tried out, once, past the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from heartfelt.monitor.webhooks.caller import Answer
from heartfelt.monitor.webhooks.notices import Notice
from heartfelt.monitor.webhooks.targets import Target

__all__ = ["Trials"]

_BROKEN_OFF = Answer(ok=False, reached=False, error="not called to the end, for the monitor is stopping")


class Trials:
    """`call` is `Caller.call`. A target may take longer to answer than a stop may take: `end` breaks off what is under
    way, and whoever waits for it is answered so."""

    def __init__(self, call: Callable[[Target, Notice], Awaitable[Answer]]) -> None:
        self._call = call
        self._ended = False
        self.tasks: set[asyncio.Task[Answer]] = set()

    async def run(self, target: Target, notice: Notice) -> Answer:
        if self._ended:
            return _BROKEN_OFF
        task = asyncio.create_task(self._answer(target, notice), name=f"webhook test {target.id}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()  # if it is we who were cancelled
        return _BROKEN_OFF if task.cancelled() else task.result()

    async def _answer(self, target: Target, notice: Notice) -> Answer:
        return await self._call(target, notice)

    def end(self) -> None:
        """Does not wait. Idempotent."""
        self._ended = True
        for task in list(self.tasks):
            task.cancel()
