# SPDX-License-Identifier: MIT
"""Reading a hub's events: from a queue, in a loop, or in asyncio.

Events stay in the hub's core until they are taken; taking one is the only way to remove it. Any number of threads and
event loops may read; each event goes to one of them. A reader that has to wait waits for a file descriptor (the hub's
bell), which is not readable while there is nothing to read: no polling, no thread per call, and a signal such as Ctrl-C
is handled at once. Events that had already been taken when it arrives are put back. (Between the return of a call and
the use of its result the interpreter decides: up to Python 3.10 it may raise there, and the call's result is lost.)

In a process patched by gevent or eventlet a reader waits by their means, and other greenlets run meanwhile.

In asyncio a waiting task is a future in `_Waiting.tasks`; the loop watches the descriptor while there is one. If a loop
cannot watch descriptors (Windows' proactor), one helper thread per hub waits instead.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from heartfelt._checks import duration_or_zero_ns
from heartfelt._event import Event
from heartfelt._greenlets import wait_for
from heartfelt._numbers import STREAMS
from heartfelt._threads import Thread
from heartfelt._types import EventType
from heartfelt.errors import HubClosed

if TYPE_CHECKING:
    import asyncio

    from heartfelt._core import Hub

__all__ = ["Event", "EventType", "Events"]

READERS, CALLBACKS = STREAMS.index("readers"), STREAMS.index("callbacks")


class _Waiting:
    """Tasks that wait in event loops for the events of one hub. A hub has one, although two threads that ask for its
    events at once may each get an Events. Only a loop's own thread touches what belongs to that loop."""

    def __init__(self) -> None:
        self.tasks: dict[asyncio.AbstractEventLoop, set[asyncio.Future[None]]] = {}
        self.helped: set[asyncio.AbstractEventLoop] = set()  # loops served by a helper thread


class Events:
    """The events of one hub that have no callback. Obtained from `hub.events` only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._bell = hub._bells[READERS]
        self._waiting: _Waiting = hub.__dict__.setdefault("_waiting_in_loops", _Waiting())

    def get(self, block: bool = True, timeout: float | timedelta | None = None) -> Event:
        """Returns the oldest waiting event.

        Blocks until there is one, for at most `timeout` seconds; does not block with block=False or timeout=0. Raises
        queue.Empty after that time, HubClosed when the hub is closed and everything has been read. O(1). In a process
        patched by gevent or eventlet, other greenlets run meanwhile. Without a patch they do not: call
        `gevent.socket.wait_read(hub.events.fileno())` and then `get_nowait`, until that does not raise Empty.
        """
        found = self._take(1, _deadline(timeout) if block else 0.0)
        if not found:
            raise queue.Empty
        return found[0]

    def get_nowait(self) -> Event:
        """Does the same as get(block=False)."""
        return self.get(block=False)

    def get_many(self, max: int, timeout: float | timedelta | None = None) -> list[Event]:
        """Returns up to `max` events, oldest first, as soon as there is at least one.

        Blocks as `get` does; returns an empty list after `timeout` seconds (0: does not block). Raises HubClosed when
        the hub is closed and everything has been read. O(events returned): the cheapest way to read many.
        """
        if isinstance(max, bool) or not isinstance(max, int):
            raise TypeError(f"max must be an int, not {max!r}")
        if max < 1:
            raise ValueError(f"max must be at least 1; got {max}")
        return self._take(max, _deadline(timeout))

    def qsize(self) -> int:
        """Number of waiting events. O(shards)."""
        return self._hub._waiting(READERS)

    def empty(self) -> bool:
        """Whether no event waits. O(shards)."""
        return self.qsize() == 0

    def fileno(self) -> int:
        """Returns a descriptor for select, poll and event loops, readable while an event waits or the hub has ended.

        It may be readable when no event waits: call get_nowait and expect queue.Empty. Do not read from it or close
        it; it lives as long as the hub. An event loop in which a task awaits aget() watches it already.
        """
        return self._bell.fileno()

    def __iter__(self) -> Iterator[Event]:
        """Yields every event as it comes; ends when the hub is closed and everything has been read."""
        while True:
            try:
                event = self.get()
            except HubClosed:
                return
            yield event

    async def aget(self) -> Event:
        """Like get(), without blocking the event loop. Cancelling it loses no event."""
        import asyncio  # not at the top: importing it takes longer than everything else

        loop = asyncio.get_running_loop()
        while True:
            found = self._take(1, 0.0)
            if found:
                return found[0]
            await self._wait_in(loop)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Like iteration, in asyncio."""
        while True:
            try:
                event = await self.aget()
            except HubClosed:
                return
            yield event

    def _take(self, most: int, deadline: float | None) -> list[Event]:
        taken: list[Event] = []
        try:
            while True:
                ended = self._hub._has_ended()
                if self._hub._drain(READERS, most, taken):
                    return taken
                if ended:  # read before draining, so nothing can have come later
                    raise HubClosed("the hub is closed, and all of its events have been read")
                if deadline is None:
                    wait_for(self._bell)
                    continue
                left = deadline - time.monotonic()
                if left <= 0:
                    return taken
                wait_for(self._bell, int(left * 1e9) + 1)
        except BaseException:
            if taken:  # Ctrl-C between taking and returning
                self._hub._give_back(taken)
            raise

    async def _wait_in(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = self._waiting.tasks.setdefault(loop, set())
        if not tasks:
            self._watch(loop)
        future = loop.create_future()
        tasks.add(future)
        try:
            await future
        finally:
            tasks.discard(future)
            if not tasks and self._waiting.tasks.get(loop) is tasks:
                self._unwatch(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.add_reader(self.fileno(), self._wake, loop)
        except NotImplementedError:
            if loop not in self._waiting.helped:
                self._waiting.helped.add(loop)
                Thread(self._help, (loop,), "heartfelt-events").start()

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        del self._waiting.tasks[loop]
        with contextlib.suppress(NotImplementedError):  # the helper thread ends by itself
            loop.remove_reader(self.fileno())

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = self._waiting.tasks.get(loop)
        if not tasks:
            return
        for future in tasks:
            if not future.done():
                future.set_result(None)
        self._unwatch(loop)

    def _help(self, loop: asyncio.AbstractEventLoop) -> None:
        # Checks now and then whether anybody still waits; if not, it ends.
        while loop in self._waiting.tasks and not self._bell.wait(1_000_000_000):
            pass
        self._waiting.helped.discard(loop)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits in it
            loop.call_soon_threadsafe(self._wake, loop)


def _deadline(timeout: float | timedelta | None) -> float | None:
    if timeout is None:
        return None
    ns = duration_or_zero_ns(timeout, "timeout")
    return time.monotonic() + ns / 1e9 if ns else 0.0
