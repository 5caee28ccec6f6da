# SPDX-License-Identifier: MIT
"""A line on a Python thread: for TLS, and where there is no native sender.

It needs the GIL for each beat: while a C call holds the GIL, no beat is sent. The native line does not have this limit.
Each beat that is due is counted once: in `beats`, `missed` or `refused`. Additional beats (by `beat_now`, or the first
on a new connection) are counted in `beats` too, but never in `missed`.
"""

from __future__ import annotations

import logging
import threading
import time

from heartfelt._net.connection import Cancelled, Connection, Waker, connect
from heartfelt._net.http_client import Stale
from heartfelt._net.resolver import Resolver
from heartfelt.agent.line.line import LineStats, Plan
from heartfelt.agent.line.schedule import Backoff, Schedule
from heartfelt.agent.line.wire_protocol import RefusedByServer, Transport, socket_kind, transport_for
from heartfelt.wire import whole_beat

__all__ = ["ThreadLine"]

_FOR_EVER = float("inf")
_log = logging.getLogger("heartfelt.agent")


class ThreadLine:
    """Implements Line."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lock = threading.Lock()  # guards what the line's thread shares with others; never held in a wait
        self._waker = Waker()
        self._resolver = Resolver(plan.host, plan.port, socket_kind(plan))
        self._schedule = Schedule(plan.interval_s)
        self._backoff = Backoff(plan.first_reconnect_s, plan.most_reconnect_s, plan.interval_s, plan.jitter_seed)
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._head: bytes | None = None
        self._refreshed_at = 0.0
        self._urgent = False
        self._closing = False
        self._closed_at = _FOR_EVER
        self._goodbye: bytes | None = None
        self._said_goodbye = False
        # used by the line's own thread only
        self._connection: Connection | None = None
        self._transport: Transport | None = None
        self._connected_at = 0.0
        self._fresh = False  # newly connected, and no beat was sent on it yet
        self._failing = False
        self._retry_at = 0.0
        self._last_time_ms: int | None = None
        self._warned: str | None = None  # the last warning logged since the connection was made
        # for stats; written by the line's own thread
        self._state = "idle"
        self._beats = self._refused = self._connects = self._failures = 0
        self._last_error: str | None = None
        self._reconnect_s = 0.0
        self._max_late_ms = 0.0

    # -- from any thread

    def start(self) -> None:
        with self._lock:
            if self._closing:
                raise RuntimeError("the line is closed; open another one")
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="heartfelt agent", daemon=True)
            thread.start()
            self._thread = thread

    def set_head(self, head: bytes) -> None:
        with self._lock:
            self._head = head
            self._refreshed_at = time.monotonic()
            first = not self._schedule.begun
        if first:
            self._waker.wake()

    def refreshed(self) -> None:
        self._refreshed_at = time.monotonic()

    def beat_now(self) -> None:
        self._urgent = True
        self._waker.wake()

    def close(self, goodbye: bytes | None, wait_s: float) -> bool:
        end = time.monotonic() + wait_s
        with self._lock:
            if not self._closing:
                self._goodbye = goodbye
                self._closed_at = time.monotonic()
                say_goodbye = goodbye is not None and (self._beats > 0 or self._connection is not None)
                self._waker.until = end if say_goodbye else self._closed_at  # without beats there is no goodbye
                self._closing = True
                if self._thread is None:
                    self._state = "closed"
                    self._ended.set()
                    self._waker.close()
        self._waker.wake()
        self._ended.wait(max(0.0, end - time.monotonic()))
        return self._said_goodbye

    def abandon(self) -> None:
        self._lock = threading.Lock()  # the old one may be held by a thread that does not exist in this process
        self._closing = True
        self._state = "closed"
        self._ended.set()
        if self._connection is not None:
            self._connection.close()
        self._waker.abandon()

    def stats(self) -> LineStats:
        with self._lock:
            return LineStats(
                sender="thread",
                state=self._state,
                beats=self._beats,
                missed=self._schedule.missed(min(time.monotonic(), self._closed_at)),
                refused=self._refused,
                connects=self._connects,
                failures=self._failures,
                last_error=self._last_error,
                reconnect_s=self._reconnect_s,
                max_late_ms=self._max_late_ms,
            )

    # -- the line's own thread

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
            self._finish()
        except Cancelled:
            pass
        except BaseException as error:
            self._note(error)
            _log.exception("the line to %s ended because of an internal error", self._place())
        finally:
            self._drop()
            with self._lock:
                self._state = "closed"
                self._closing = True
                self._closed_at = min(self._closed_at, time.monotonic())
                self._waker.close()
            self._ended.set()

    def _turn(self) -> None:
        """Waits once, or does the one thing that is due."""
        with self._lock:
            now = time.monotonic()
            if self._head is not None and not self._schedule.begun:
                self._schedule.begin(now)
            due = self._schedule.look(now)
            due_at = self._schedule.due()
        if self._head is None:
            self._waker.wait_for(None, 0, _FOR_EVER)
        elif self._connection is None:
            if self._failing and now < self._retry_at:
                self._waker.wait_for(None, 0, self._retry_at)
            elif due or self._urgent or self._failing or self._plan.transport == "sermant":
                self._dial()
            else:
                self._waker.wait_for(None, 0, due_at)
        elif due or self._urgent or self._fresh:
            self._beat(due)
        elif self._connection.idle(due_at):
            self._listen()

    def _dial(self) -> None:
        plan = self._plan
        try:
            self._state = "resolving"
            addresses = self._resolver.get(time.monotonic() + plan.connect_timeout_s, self._waker)
            self._state = "connecting"
            connection = connect(
                addresses,
                deadline=time.monotonic() + plan.connect_timeout_s * len(addresses),
                tls=plan.tls,
                server_hostname=plan.server_hostname or plan.host,
                waker=self._waker,
            )
        except OSError as failed:
            self._failed(failed)
            return
        now = time.monotonic()
        self._backoff.connected(now)
        with self._lock:
            self._connection, self._transport = connection, transport_for(plan, connection)
            self._connected_at = now
            self._fresh, self._failing = True, False
            self._connects += 1
            self._state, self._reconnect_s = "connected", 0.0
        self._warned = None
        _log.debug("connected to %s", self._place())

    def _beat(self, due: bool) -> None:
        assert self._transport is not None
        assert self._head is not None
        self._urgent = False
        now, time_ms = time.monotonic(), time.time_ns() // 1_000_000
        text = whole_beat(
            self._head,
            time_ms=time_ms,
            last_time_ms=time_ms if self._last_time_ms is None else self._last_time_ms,
            lag_ms=max(0, int((now - self._refreshed_at) * 1000)),
            number=self._beats + 1,
        )
        due_at = self._schedule.due()
        try:
            self._transport.beat(text)
        except RefusedByServer as refusal:
            self._refuse(str(refusal), due)
        except Stale:
            self._urgent = not due  # sent again on a new connection
            self._drop()
            return
        except OSError as error:
            self._failed(error)
            return
        else:
            with self._lock:
                if due:
                    self._schedule.served()
                    if self._connected_at <= due_at:
                        self._max_late_ms = max(self._max_late_ms, (now - due_at) * 1000)
                self._beats += 1
            self._last_time_ms = time_ms
        self._fresh = False
        if not self._transport.keeps:
            self._drop()

    def _refuse(self, text: str, due: bool) -> None:
        self._warn(text)
        with self._lock:
            if due:
                self._schedule.served()
            self._refused += 1
            self._last_error = text

    def _listen(self) -> None:
        """Handles incoming data, or the end of the connection."""
        assert self._connection is not None
        try:
            if not self._connection.discard():
                if self._plan.transport == "http":  # which is normal between requests
                    self._drop()
                elif self._plan.transport == "sermant":
                    raise ConnectionError("the server closed the connection")
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Handles a connection that broke or could not be made."""
        now = time.monotonic()
        self._note(error)
        self._warn(self._last_error)
        if self._plan.transport == "udp" and self._connection is not None:
            if not isinstance(
                error, ConnectionRefusedError
            ):  # which is about an earlier datagram: this beat is sent again
                with self._lock:
                    if self._schedule.look(now):
                        self._schedule.skipped()
                self._fresh = False
            return  # the socket stays: UDP has no connection
        self._drop()
        wait = self._backoff.failed(now)
        self._failing, self._retry_at = True, now + wait
        with self._lock:
            self._state, self._reconnect_s = "waiting", wait

    def _note(self, error: BaseException) -> None:
        with self._lock:
            self._failures += 1
            self._last_error = f"{type(error).__name__}: {error}"

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection, self._transport = self._connection, None, None
            self._fresh = False
            self._state = "idle"
        if connection is not None:
            connection.close()

    def _finish(self) -> None:
        """Sends the goodbye, on the connection, or on a new one (one attempt) if the backend has received beats."""
        if self._goodbye is None:
            return
        for _ in range(2):
            if self._connection is None and self._beats:
                self._dial()
            if self._transport is None or self._connection is None:
                return
            try:
                self._transport.goodbye(self._goodbye)
            except Stale:
                self._drop()
                continue
            except RefusedByServer as refusal:
                self._refuse(str(refusal), due=False)
            except OSError as error:
                self._failed(error)
            else:
                self._said_goodbye = True
                self._connection.finish()
            return

    def _warn(self, text: str | None) -> None:
        """Logs a failure: as a warning if it differs from the one before."""
        level = logging.DEBUG if text == self._warned else logging.WARNING
        _log.log(level, "%s: %s", self._place(), text)
        self._warned = text

    def _place(self) -> str:
        return f"{self._plan.transport} backend {self._plan.host}:{self._plan.port}"
