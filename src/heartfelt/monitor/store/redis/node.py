# SPDX-License-Identifier: MIT
"""One server: connections to it, the scripts that each has loaded, and whether it can be reached. Imports redis."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from redis import exceptions as wrong

from heartfelt.errors import StoreError
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.redis.address import place
from heartfelt.monitor.store.redis.link import Script, ServerState, Unreachable
from heartfelt.monitor.store.redis.refusals import IS_REPLY, NotExecuted, refusal_of, why

log = logging.getLogger("heartfelt.redis")

IDLE = 8
"""The most connections to a server that are kept while nobody uses them."""
REFUSED_S = 60.0
"""For how long a refusal is shown, if nobody sends the same command again."""
FAILURES = (wrong.RedisError, OSError, StoreError, ValueError)
"""Errors of a connection, and of making one."""
LOAD, ASKING, REPLY = "load", "asking", "reply"
NO_WRITES = frozenset(("OOM", "MISCONF", "READONLY", "NOREPLICAS"))
"""Codes of refusals of all writes. Those that need no memory may still be executed, and so may a script that needs some
only now and then: what works says nothing about the others."""
PROBE = Script("probe", "#!lua\nreturn 1")
"""A script without flags may write, as far as the server knows: it refuses it as it refuses writes that need memory."""


@lru_cache(maxsize=256)
def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Sent(NamedTuple):
    """A reply that is to come. what: LOAD, ASKING, or REPLY: the one that a caller waits for."""

    what: str
    script: str = ""


class Pipe:
    """A connection to a server. Belongs to one thread at a time.

    Each connection loads a script before its first use: a server that was restarted, or another one in its place, has
    new connections. So only a SCRIPT FLUSH by hand makes a script unknown.
    """

    def __init__(self, connection: Any, generation: int = 0) -> None:
        self.connection = connection
        self.generation = generation
        self._loaded: set[str] = set()
        self._not_loaded: dict[str, Exception] = {}

    def send(self, commands: Sequence[Sequence[Any]], *, asking: Sequence[bool] = ()) -> list[Sent]:
        """Sends commands, whose first word may be a Script, in one pipeline. Raises one of FAILURES."""
        packed: list[Sequence[Any]] = []
        plan: list[Sent] = []
        for n, words in enumerate(commands):
            name = ""
            if isinstance(words[0], Script):
                script, *rest = words
                name = _sha(script.text)
                if name not in self._loaded:
                    self._loaded.add(name)
                    self._not_loaded.pop(name, None)
                    packed.append(("SCRIPT", "LOAD", script.text))
                    plan.append(Sent(LOAD, name))
                words = ("EVALSHA", name, *rest)
            if asking and asking[n]:
                packed.append(("ASKING",))
                plan.append(Sent(ASKING))
            packed.append(words)
            plan.append(Sent(REPLY, name))
        self.connection.send_packed_command(self.connection.pack_commands(packed), check_health=False)
        return plan

    def receive(self, plan: Sequence[Sent], ends_s: float | None = None) -> tuple[list[Any], Exception | None]:
        """Returns the replies, errors among them, and what went wrong with the connection if some are missing.

        ends_s: when the first one must have come, by time.monotonic.
        """
        replies: list[Any] = []
        try:
            if ends_s is not None and not self.connection.can_read(max(0.0, ends_s - time.monotonic())):
                return [], wrong.TimeoutError("no reply")
            for sent in plan:
                reply = self._read()
                if sent.what == LOAD and isinstance(reply, Exception):
                    self._loaded.discard(sent.script)
                    self._not_loaded[sent.script] = reply
                elif sent.what == REPLY:
                    if isinstance(reply, wrong.NoScriptError):
                        self._loaded.discard(sent.script)
                        reply = self._not_loaded.get(sent.script, reply)
                    replies.append(reply)
        except FAILURES as error:
            return replies, error.with_traceback(None)
        return replies, None

    def _read(self) -> Any:
        try:
            return self.connection.read_response(disconnect_on_error=False)
        except (wrong.ResponseError, *IS_REPLY) as error:
            return error.with_traceback(None)

    def ask(self, *questions: Sequence[Any]) -> list[Any]:
        """Executes commands. Raises one of FAILURES, the first error among the replies too."""
        replies, error = self.receive(self.send(questions))
        for reply in (*replies, error):
            if isinstance(reply, Exception):
                raise reply
        return replies

    def time(self) -> TimeReading:
        """Reads TIME. Raises one of FAILURES."""
        sent_s = time.monotonic()
        (reply,) = self.ask(("TIME",))
        received_s = time.monotonic()
        if not isinstance(reply, list) or len(reply) != 2:
            raise StoreError("its answer to TIME is not understood; is it a Redis?")
        return TimeReading(int(reply[0]) * 1000 + int(reply[1]) / 1000, sent_s, received_s)

    def is_stale(self) -> bool:
        """Whether the server has closed it, or has sent something that nobody asked for."""
        try:
            return bool(self.connection.can_read(0))
        except FAILURES:
            return True

    def close(self, *, lost: bool = False) -> None:
        """lost: takes back what the network has not delivered yet. Otherwise it could be executed much later, after
        newer commands that went over another connection."""
        sock = getattr(self.connection, "_sock", None)
        if lost and sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.disconnect()


class TimeReading(NamedTuple):
    """TIME of a server, read between two moments of time.monotonic."""

    time_ms: float
    sent_s: float
    received_s: float


class Node:
    """A server. Any thread.

    dial: connects, and raises one of FAILURES. wake: called when it begins to fail, so that a probe is made. While it
    cannot be reached, `take` raises at once; only `check` connects.
    """

    def __init__(self, host: str, port: int, dial: Callable[[], Any], wake: Callable[[], None]) -> None:
        self.host, self.port = host, port
        self.name = place(host, port) if port else host
        self._dial = dial
        self._wake = wake
        self._lock = threading.Lock()
        self._idle: list[Pipe] = []
        self._generation = 0
        self._made = 0
        self._down: str | None = None
        self._refusal: tuple[str, str] | None = None
        self._refused_s = 0.0
        self._no_writes: str | None = None
        self._since_s = time.monotonic()
        self._failures = 0
        self._closed = False
        self._has_worked = False
        self._round_trip_s: float | None = None
        self._outage = OutageLog(log, f"Redis at {self.name} can be reached again")
        self._refusing = OutageLog(log, f"Redis at {self.name} accepts commands again")

    @property
    def is_up(self) -> bool:
        return self._down is None

    @property
    def is_refusing(self) -> bool:
        """Whether a command was refused, and none like it was executed since."""
        return self._refusal is not None

    @property
    def no_writes(self) -> str | None:
        """Why it refuses to write, until a write that needs memory would succeed again."""
        return self._no_writes

    def take(self) -> Pipe:
        """Returns a connection that nobody else uses. Raises Unreachable, with `refused`."""
        while True:
            with self._lock:
                if self._down is not None:
                    raise Unreachable(f"Redis at {self.name} cannot be reached: {self._down}", refused=True)
                if not self._idle:
                    break
                pipe = self._idle.pop()
            if not pipe.is_stale():
                return pipe
            self._drop(pipe)
        try:
            return self._connect()
        except FAILURES as error:
            self.fail(why(error))
            raise Unreachable(f"Redis at {self.name} cannot be reached: {why(error)}", refused=True) from None

    def give(self, pipe: Pipe) -> None:
        """Takes a connection back that works, with no reply outstanding."""
        with self._lock:
            if not self._closed and pipe.generation == self._generation and len(self._idle) < IDLE:
                self._idle.append(pipe)
                return
        self._drop(pipe)

    def lost(self, pipe: Pipe, error: Exception) -> None:
        """Takes a connection back that has failed. A server that is silent is down; one that closed it may be well."""
        self._drop(pipe, lost=True)
        with self._lock:
            self._failures += 1
        if isinstance(error, (wrong.TimeoutError, TimeoutError)):
            self.fail(why(error))

    def fail(self, reason: str) -> None:
        """Notes that it cannot be used: calls fail at once until `check` has succeeded."""
        with self._lock:
            if self._closed:
                return
            if self._down is None:
                self._since_s = time.monotonic()
            self._down = reason
            self._failures += 1
            more = ". What needs it waits; heartbeats are still taken" if self._has_worked else ""  # not at the start
            self._outage.failed(f"Redis at {self.name} cannot be reached: {reason}{more}")
        self._forget_idle()
        self._wake()

    def check(self) -> TimeReading:
        """Reads its TIME, over a new connection if it was down. Raises Unreachable; one thread at a time calls it."""
        pipe = self.take() if self.is_up else None
        try:
            if pipe is None:
                pipe = self._connect()
            reading = pipe.time()
            if self._no_writes is not None:
                self._try_to_write(pipe)
        except FAILURES as error:
            if pipe is not None:
                self._drop(pipe)
            self.fail(why(error))
            raise Unreachable(f"Redis at {self.name} cannot be reached: {why(error)}", refused=True) from None
        with self._lock:
            if self._down is not None:
                self._down, self._since_s = None, time.monotonic()
            self._round_trip_s = reading.received_s - reading.sent_s
            self._outage.worked()
        self.give(pipe)
        return reading

    def _try_to_write(self, pipe: Pipe) -> None:
        """Finds out whether it writes again. Raises one of FAILURES."""
        replies, error = pipe.receive(pipe.send([(PROBE, 0)]))
        if error is not None:
            raise error
        (reply,) = replies
        refusal = refusal_of(reply) if isinstance(reply, Exception) else None
        with self._lock:
            if refusal is not None:
                self._no_writes = refusal.text
            else:
                self._no_writes = None
                self._refusing.worked()

    def refused(self, word: str, refusal: NotExecuted) -> None:
        """Notes that it does not execute a command, such as a write while it is out of memory."""
        with self._lock:
            self._failures += 1
            if refusal.code in NO_WRITES:
                self._no_writes = refusal.text
            else:
                self._refusal, self._refused_s = (word, refusal.text), time.monotonic()
            self._refusing.failed(f"Redis at {self.name} refuses a command ({word}): {refusal.text}")

    def worked(self, words: set[str]) -> None:
        """Notes that it has executed these commands."""
        with self._lock:
            if self._refusal is not None and self._refusal[0] in words:
                self._refusal = None
                if self._no_writes is None:
                    self._refusing.worked()

    def state(self) -> ServerState:
        with self._lock:
            is_recent = time.monotonic() - self._refused_s < REFUSED_S
            refusal = self._refusal[1] if self._refusal is not None and is_recent else None
            return ServerState(
                name=self.name,
                up=self._down is None,
                since_s=time.monotonic() - self._since_s,
                error=self._down or self._no_writes or refusal,
                connections=self._made,
                round_trip_ms=None if self._round_trip_s is None else self._round_trip_s * 1000,
                failures=self._failures,
            )

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._forget_idle()

    def _connect(self) -> Pipe:
        with self._lock:
            if self._closed:
                raise StoreError("the connections are closed")
            generation = self._generation
        pipe = Pipe(self._dial(), generation)
        with self._lock:
            self._made += 1
            self._has_worked = True
        return pipe

    def _drop(self, pipe: Pipe, *, lost: bool = False) -> None:
        with self._lock:
            self._made -= 1
        pipe.close(lost=lost)

    def _forget_idle(self) -> None:
        """Closes all connections: idle ones now, the others when they come back."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
            self._made -= len(idle)
        for pipe in idle:
            pipe.close()
