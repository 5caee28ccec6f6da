# SPDX-License-Identifier: MIT
"""Callbacks: one thread for a hub takes the events that have a callback, and calls it.

The thread holds the hub only while it calls, so a hub that nobody else holds is collected, and the thread ends. It
also ends when the hub has ended and everything is delivered. An exception in a callback is logged and counted, and
nothing else.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from heartfelt._event import Event
from heartfelt._types import EventType
from heartfelt.events import CALLBACKS

if TYPE_CHECKING:
    from heartfelt._core import Bell
    from heartfelt.hub import HeartHub

Callback = Callable[[Event], object]
BATCH = 256


class Dispatcher:
    """Owned by its hub. `add` and `flush` from any thread."""

    def __init__(self, hub: HeartHub) -> None:
        self.errors = 0  # callbacks that raised; written by the thread alone
        self._callbacks: dict[EventType, tuple[Callback, ...]] = {}
        self._changed = threading.Condition()
        self._idle = True  # under _changed: nothing taken that is not delivered
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(hub), hub._bells[CALLBACKS]), name="heartfelt-callbacks", daemon=True
        )

    def add(self, types: frozenset[EventType], callback: Callback) -> None:
        with self._changed:
            for event_type in types:
                self._callbacks[event_type] = (*self._callbacks.get(event_type, ()), callback)
            if self._thread.ident is None:
                self._thread.start()

    def flush(self, hub: HeartHub) -> None:
        """Blocks until all that waits is delivered; returns at once in a callback."""
        if threading.current_thread() is self._thread or self._thread.ident is None:
            return
        with self._changed:
            while self._thread.is_alive() and not (self._idle and hub._waiting(CALLBACKS) == 0):
                self._changed.wait(0.1)

    def join(self, seconds: float) -> bool:
        """Waits for the end of the thread after the hub has ended; False if it is still in a callback."""
        if self._thread.ident is None or threading.current_thread() is self._thread:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def deliver(self, hub: HeartHub) -> int:
        """Takes what waits, at most BATCH events, and calls for each. Returns how many. The thread's alone."""
        events = self._take(hub)
        for event in events:
            self._deliver_one(hub, event)
        return len(events)

    def _take(self, hub: HeartHub) -> list[Event]:
        with self._changed:
            events = hub._drain(CALLBACKS, BATCH)
            self._idle = not events
            if self._idle:
                self._changed.notify_all()
            return events

    def _deliver_one(self, hub: HeartHub, event: Event) -> None:
        for callback in self._callbacks.get(event.type, ()):
            try:
                callback(event)
            except BaseException:
                self.errors += 1
                with contextlib.suppress(Exception):  # a logger that fails must not end the thread; errors counts it
                    hub._logger.exception("callback %r raised on %r", callback, event)


def _run(hub_ref: weakref.ref[HeartHub], bell: Bell) -> None:
    # Between two looks nothing here may hold the hub, its dispatcher or a callback, which may hold the hub.
    while (hub := hub_ref()) is not None:
        dispatcher = hub._dispatcher
        ended = hub._has_ended()
        n_delivered = dispatcher.deliver(hub) if dispatcher is not None else 0
        if n_delivered == 0 and ended:
            return
        hub = dispatcher = None
        if n_delivered == 0:
            bell.wait()
