# SPDX-License-Identifier: MIT
"""The outbox: takes pings from jobs at once, and sends them in order from a thread of its own.

The queue is bounded. Of the beats that wait, only the last one of each run is kept. If it is full even so, the oldest
beat is dropped, or the oldest ping if there is no beat; both are counted. The thread starts with the first ping and
ends when there has been nothing to do for a while. At the end of the process, waiting pings are sent for at most
FLUSH_S.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from heartfelt.agent.jobs.client import Event, PingClient

MOST_PINGS = 1000
LINGER_S = 10.0  # how long the idle thread waits for another ping
FLUSH_S = 5.0  # at the end of the process, all outboxes together


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    key: str
    event: Event
    rid: str
    text: str | None = None
    duration_ms: int | None = None
    timeout_ms: int | None = None
    terms: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """waiting: pings not sent yet; merged: beats replaced by a newer one of their run; dropped: the queue was full."""

    waiting: int
    merged: int
    dropped: int


@dataclass(slots=True)
class _Rhythm:
    """A run for which the outbox sends beats."""

    ping: Ping
    interval_s: float
    due: float


class PingOutbox:
    """Pings for one monitor, from any number of threads. Only `flush` blocks."""

    def __init__(
        self, client: PingClient, *, most: int = MOST_PINGS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self._most = most
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: dict[int, Ping] = {}  # by number, in order
        self._numbers = itertools.count()
        self._beats: dict[str, int] = {}  # rid: number of its beat in the queue
        self._rhythms: dict[str, _Rhythm] = {}  # by rid
        self._sending = False
        self._thread: threading.Thread | None = None
        self._merged = self._dropped = 0
        self._logger = logging.getLogger("heartfelt.agent")
        _outboxes[weakref.ref(self, _forget)] = None

    def put(self, ping: Ping) -> None:
        """Queues a ping."""
        with self._changed:
            self._add(ping)
            self._wake()

    def beat_every(self, interval_s: float, ping: Ping) -> None:
        """Sends this beat at a fixed rate from now on, until `stop_beating` is called with its rid."""
        with self._changed:
            self._rhythms[ping.rid] = _Rhythm(ping, interval_s, self._clock() + interval_s)
            self._wake()

    def stop_beating(self, rid: str) -> None:
        with self._changed:
            self._rhythms.pop(rid, None)

    def flush(self, wait_s: float) -> bool:
        """Blocks until all queued pings are sent or given up, at most `wait_s`. False if that was too short."""
        give_up = time.monotonic() + wait_s
        with self._changed:
            while self._queue or self._sending:
                if self._thread is None or not self._thread.is_alive():
                    break
                if (left := give_up - time.monotonic()) <= 0:
                    return False
                self._changed.wait(left)
            else:
                return True
        return self._drain(give_up)

    def stats(self) -> OutboxStats:
        with self._changed:
            return OutboxStats(waiting=len(self._queue) + self._sending, merged=self._merged, dropped=self._dropped)

    def after_fork(self) -> None:
        """Called in a forked child: the queue and the running jobs belong to the parent."""
        self._changed = threading.Condition()
        self._queue, self._beats, self._rhythms = {}, {}, {}
        self._thread, self._sending = None, False
        self.client.after_fork()

    # -- under self._changed

    def _add(self, ping: Ping) -> None:
        if ping.event is None and (number := self._beats.get(ping.rid)) is not None:
            text = self._queue[number].text if ping.text is None else ping.text
            self._queue[number] = replace(ping, text=text)
            self._merged += 1
            return
        if len(self._queue) >= self._most:
            self._make_room()
        number = next(self._numbers)
        self._queue[number] = ping
        if ping.event is None:
            self._beats[ping.rid] = number

    def _make_room(self) -> None:
        oldest = next(iter(self._beats.values()), None)
        lost = self._queue.pop(next(iter(self._queue)) if oldest is None else oldest)
        if lost.event is None:
            del self._beats[lost.rid]
        self._dropped += 1
        level = logging.WARNING if self._dropped == 1 else logging.DEBUG
        self._logger.log(level, "the queue is full (%d pings); dropped: %r", self._most, lost)

    def _take(self) -> Ping | None:
        if not self._queue:
            return None
        ping = self._queue.pop(next(iter(self._queue)))
        if ping.event is None:
            del self._beats[ping.rid]
        return ping

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="heartfelt-jobs", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the process is ending, or can have no more threads; flush sends the pings
            self._thread = None
            self._logger.warning(
                "cannot start a thread to send pings; they will be sent at the end of the process: %s", error
            )
        _flush_at_exit()

    def _add_due(self) -> float | None:
        """Queues the beats that are due. Returns the time until the next one; None if there are none to send."""
        now = self._clock()
        for rhythm in self._rhythms.values():
            if rhythm.due <= now:
                self._add(rhythm.ping)
                missed = int((now - rhythm.due) / rhythm.interval_s)
                rhythm.due += (missed + 1) * rhythm.interval_s
        return min((rhythm.due for rhythm in self._rhythms.values()), default=now) - now if self._rhythms else None

    # -- the thread

    def _run(self) -> None:
        while (ping := self._next()) is not None:
            self._send(ping)

    def _next(self) -> Ping | None:
        """Waits for the next ping; None if there is nothing left to do."""
        with self._changed:
            self._sending = False
            idle_until = time.monotonic() + LINGER_S
            while True:
                until_due = self._add_due()
                if (ping := self._take()) is not None:
                    self._sending = True
                    return ping
                self._changed.notify_all()  # threads in flush
                wait_s = idle_until - time.monotonic() if until_due is None else until_due
                if wait_s <= 0:
                    self._thread = None
                    return None
                self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))

    def _send(self, ping: Ping) -> None:
        try:
            self.client.ping(
                ping.key,
                ping.event,
                ping.text,
                duration_ms=ping.duration_ms,
                timeout_ms=ping.timeout_ms,
                rid=ping.rid,
                more=ping.terms,
            )
        except Exception as error:  # with raise_errors; the client has counted it, and the thread must go on
            self._logger.warning("could not send %s for %r: %s", ping.event or "a beat", ping.key, error)

    def _drain(self, give_up: float) -> bool:
        """Sends the queue from the calling thread, when there is no other."""
        while time.monotonic() < give_up:
            with self._changed:
                ping = self._take()
            if ping is None:
                return True
            self._send(ping)
        with self._changed:
            return not self._queue


_outboxes: dict[
    weakref.ref[PingOutbox], None
] = {}  # each operation on it is atomic: no lock that a fork could leave locked


def _forget(ref: weakref.ref[PingOutbox]) -> None:
    _outboxes.pop(ref, None)


def _all_outboxes() -> list[PingOutbox]:
    return [outbox for ref in list(_outboxes) if (outbox := ref()) is not None]


def flush_all(wait_s: float = FLUSH_S) -> bool:
    """Flushes all outboxes of the process, within `wait_s`. If pings are left, logs a warning and returns False."""
    give_up = time.monotonic() + wait_s
    left = 0
    for outbox in _all_outboxes():
        if not outbox.flush(max(give_up - time.monotonic(), 0)):
            left += outbox.stats().waiting
    if left:
        logging.getLogger("heartfelt.agent").warning("%d pings were not sent within %g s, and are lost", left, wait_s)
    return not left


def _after_fork() -> None:
    for outbox in _all_outboxes():
        outbox.after_fork()


_flushes_in = 0  # pid of the child of multiprocessing in which a flush at the end is registered


def _flush_at_exit() -> None:
    """Registers a flush at the end of a child of multiprocessing, which does not run atexit's functions."""
    global _flushes_in
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None or _flushes_in == os.getpid():
        return
    _flushes_in = os.getpid()
    util.Finalize(None, flush_all, exitpriority=0)


atexit.register(flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
