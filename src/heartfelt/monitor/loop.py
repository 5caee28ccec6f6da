# SPDX-License-Identifier: MIT
"""Runs the process's event loop, like asyncio.run, but with a time limit on its end.

`asyncio.run` cancels the remaining tasks at the end and waits for them without a limit: if one task of a library
swallows its cancellation, the process never ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from heartfelt.monitor.tasks import end_tasks, task_stack, within

__all__ = ["run_loop"]

MAIN_S = 30.0
"""How long the main coroutine may take to clean up after Ctrl-C; more than a stop of the monitor takes."""
REST_S = 1.0
"""How long the remaining tasks, and then the asynchronous generators, may take to end."""
T = TypeVar("T")
_logger = logging.getLogger("heartfelt.monitor")


def run_loop(
    main: Coroutine[Any, Any, T],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    main_s: float = MAIN_S,
    rest_s: float = REST_S,
) -> T:
    """Runs `main` to its end, then ends the tasks and asynchronous generators that it left, within `rest_s` for each of
    the two kinds. Tasks that do not end are logged with their names and stacks."""
    loop = new_loop()
    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main, name="main")
        try:
            return loop.run_until_complete(task)
        finally:
            loop.run_until_complete(_end(loop, task, main_s, rest_s))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _end(loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any], main_s: float, rest_s: float) -> None:
    if not main.done():  # Ctrl-C came while the loop itself ran; cancelled only once, so that it can clean up
        main.cancel()
        await asyncio.wait({main}, timeout=main_s)
        if not main.done():
            _logger.error("the main task did not end within %g s; it is at\n%s", main_s, task_stack(main))
    own = asyncio.current_task()
    await end_tasks([task for task in asyncio.all_tasks() if task is not own], seconds=rest_s)
    try:
        await within(rest_s, loop.shutdown_asyncgens())
    except asyncio.TimeoutError:
        _logger.error("asynchronous generators did not end within %g s and are abandoned", rest_s)
