# SPDX-License-Identifier: MIT
"""Callbacks: one thread per hub takes the events that have callbacks, and calls them.

The thread refers to the hub only while it calls, so a hub that nothing else refers to is collected. The hub's finalizer
hands over the events that still wait (`part_from`): the thread delivers them, and ends. It also ends when the hub has
ended and everything is delivered. An exception in a callback is logged and counted; it has no other effect.
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
FINALIZER_COMES_S = 5.0  # after the weak reference to the hub is dead; far more than it takes

_parting: set[Dispatcher] = set()  # their hubs were collected; they still deliver its events


def join_parting(until: float) -> None:
    """Waits at exit, until that monotonic time, for callbacks of hubs that were collected."""
    for dispatcher in list(_parting):
        dispatcher.join(max(0.0, until - time.monotonic()))


def abandon_parting() -> None:
    """Forgets them in the child after a fork: their threads belong to the parent."""
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
    """Calls the callbacks of the hub that owns it. One thread at a time may `add`; any may `flush` and `join`."""

    def __init__(self, hub: DispatchedHub) -> None:
        self.errors = 0  # callbacks that raised; written only by the thread
        self._callbacks: dict[EventType, tuple[Callback, ...]] = {}
        self._taking = allocate_lock()  # held while events leave the hub, and for nothing else
        self._idle = True  # every event taken has been delivered; written only by the thread
        self._flushes: list[Latch] = []  # set when the thread is idle again
        self._legacy = Legacy()
        self._thread = Thread(_run, (weakref.ref(hub), hub._bells[CALLBACKS], self._legacy), "heartfelt-callbacks")

    def add(self, types: frozenset[EventType], callback: Callback) -> None:
        for event_type in types:
            self._callbacks[event_type] = (*self._callbacks.get(event_type, ()), callback)
        if not self._thread.is_started:
            self._thread.start()

    def flush(self, hub: DispatchedHub) -> None:
        """Blocks until all waiting events are delivered; returns at once if called in a callback."""
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
        """Waits for the thread to end after the hub has ended. Returns False if it is still in a callback."""
        return self._thread.is_current() or self._thread.join(seconds)

    def part_from(self, hub: DispatchedHub) -> None:
        """Closes the hub in its finalizer and hands waiting events to the thread. Does not wait for callbacks."""
        if not self._thread.is_alive():
            return
        legacy = self._legacy
        legacy.dispatcher, legacy.logger = self, hub._logger
        _parting.add(self)  # first: the thread may still get a reference to the hub, and be in a callback at exit
        hub._close()
        with self._taking:
            while events := hub._drain(CALLBACKS, BATCH):
                legacy.events += events
        legacy.is_there.set()
        if not self._thread.is_alive():  # it had ended before it could see this
            _parting.discard(self)

    def deliver(self, hub: DispatchedHub) -> int:
        """Takes waiting events, at most BATCH, and calls the callbacks. Returns how many. Only for the thread."""
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
    # While waiting, nothing here may refer to the hub, its dispatcher or a callback, which may refer to the hub.
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
