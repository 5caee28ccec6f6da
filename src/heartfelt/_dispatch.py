# SPDX-License-Identifier: MIT
"""Callbacks: one thread for a hub takes the events that have a callback, and calls it.

The thread holds the hub only while it calls, so a hub that nobody else holds is collected. Its finalizer hands over
what still waits (`part_from`): the thread delivers that, and ends. It also ends when the hub has ended and all is
delivered. An exception in a callback is logged and counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from logging import Logger
from typing import Protocol

from heartfelt._bell import Bell
from heartfelt._event import Event
from heartfelt._greenlets import allocate_lock
from heartfelt._threads import Latch, Thread
from heartfelt._types import EventType
from heartfelt.events import CALLBACKS

Callback = Callable[[Event], object]
BATCH = 256
FINALIZER_COMES_S = 5.0  # after the hub is gone from sight; far more than it takes

_parting: set[Dispatcher] = set()  # whose hub was collected, and which deliver what it left


def join_parting(until: float) -> None:
    """At exit: waits, until that monotonic time, for callbacks of hubs that were collected."""
    for dispatcher in list(_parting):
        dispatcher.join(max(0.0, until - time.monotonic()))


def abandon_parting() -> None:
    """In the child after a fork: their threads are the parent's."""
    _parting.clear()


class DispatchedHub(Protocol):
    """A hub as its dispatcher sees it."""

    _dispatcher: Dispatcher | None
    _logger: Logger

    @property
    def _bells(self) -> tuple[Bell, Bell, Bell]: ...
    def _drain(self, stream: int, most: int) -> list[Event]: ...
    def _waiting(self, stream: int) -> int: ...
    def _has_ended(self) -> bool: ...
    def _close(self) -> None: ...


class Legacy:
    """Things that a collected hub leaves to its thread: events, and everything needed to deliver them."""

    def __init__(self) -> None:
        self.is_there = Latch()
        self.dispatcher: Dispatcher | None = None
        self.logger: Logger | None = None
        self.events: list[Event] = []

    def deliver(self) -> None:
        dispatcher, logger = self.dispatcher, self.logger
        if dispatcher is None or logger is None:
            return
        for event in self.events:
            dispatcher._deliver_one(logger, event)
        _parting.discard(dispatcher)


class Dispatcher:
    """Owned by its hub. `add` by one thread at a time, `flush` and `join` by any."""

    def __init__(self, hub: DispatchedHub) -> None:
        self.errors = 0  # callbacks that raised; written by the thread alone
        self._callbacks: dict[EventType, tuple[Callback, ...]] = {}
        self._taking = allocate_lock()  # held while events leave the hub, and for nothing else
        self._idle = True  # nothing was taken that is not delivered; written by the thread alone
        self._flushes: list[Latch] = []  # set when the thread is idle again
        self._legacy = Legacy()
        self._thread = Thread(_run, (weakref.ref(hub), hub._bells[CALLBACKS], self._legacy), "heartfelt-callbacks")

    def add(self, types: frozenset[EventType], callback: Callback) -> None:
        for event_type in types:
            self._callbacks[event_type] = (*self._callbacks.get(event_type, ()), callback)
        if not self._thread.is_started:
            self._thread.start()

    def flush(self, hub: DispatchedHub) -> None:
        """Blocks until all that waits is delivered; returns at once in a callback."""
        if self._thread.is_current():
            return
        while self._thread.is_alive() and not self._is_done(hub):
            done = Latch()
            self._flushes.append(done)
            if not self._is_done(hub):  # it may have become idle just before it could see this one
                done.wait(0.1)

    def _is_done(self, hub: DispatchedHub) -> bool:
        return hub._waiting(CALLBACKS) == 0 and self._idle  # in this order: _take does the opposite

    def join(self, seconds: float) -> bool:
        """Waits for the end of the thread after the hub has ended; False if it is still in a callback."""
        return self._thread.is_current() or self._thread.join(seconds)

    def part_from(self, hub: DispatchedHub) -> None:
        """The hub's finalizer: its watch ends, and what waits is left to the thread. Does not wait for callbacks."""
        if not self._thread.is_alive():
            return
        legacy = self._legacy
        legacy.dispatcher, legacy.logger = self, hub._logger
        _parting.add(self)  # first: the thread may get hold of the hub once more, and be in a callback when exit comes
        hub._close()
        with self._taking:
            while events := hub._drain(CALLBACKS, BATCH):
                legacy.events += events
        legacy.is_there.set()
        if not self._thread.is_alive():  # it had ended before it could see this
            _parting.discard(self)

    def deliver(self, hub: DispatchedHub) -> int:
        """Takes what waits, at most BATCH events, and calls for each. Returns how many. The thread's alone."""
        events = self._take(hub)
        for event in events:
            self._deliver_one(hub._logger, event)
        return len(events)

    def _take(self, hub: DispatchedHub) -> list[Event]:
        self._idle = False
        with self._taking:
            events = hub._drain(CALLBACKS, BATCH)
        if not events:
            self._idle = True
            while self._flushes:
                self._flushes.pop().set()
        return events

    def _deliver_one(self, logger: Logger, event: Event) -> None:
        for callback in self._callbacks.get(event.type, ()):
            try:
                callback(event)
            except BaseException:
                self.errors += 1
                with contextlib.suppress(Exception):  # a logger that fails must not end the thread; errors counts it
                    logger.exception("callback %r raised on %r", callback, event)


def _run(hub_ref: weakref.ref[DispatchedHub], bell: Bell, legacy: Legacy) -> None:
    # Between two looks nothing here may hold the hub, its dispatcher or a callback, which may hold the hub.
    while (hub := hub_ref()) is not None:
        dispatcher = hub._dispatcher
        ended = hub._has_ended()
        n_delivered = dispatcher.deliver(hub) if dispatcher is not None else 0
        if n_delivered == 0 and ended:
            break
        hub = dispatcher = None
        if n_delivered == 0:
            bell.wait()
    else:
        legacy.is_there.wait(FINALIZER_COMES_S)  # the collector hides an object before it calls its finalizer
    legacy.deliver()
