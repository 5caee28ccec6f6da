# SPDX-License-Identifier: MIT
"""The port on which other monitors connect. Handshakes under way are few, and short."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from heartfelt.monitor.cluster.channel.addresses import why_not
from heartfelt.monitor.cluster.channel.answering import Handlers
from heartfelt.monitor.cluster.channel.incoming import Handled, IncomingWire
from heartfelt.monitor.cluster.channel.wire import ChannelTiming
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within

MOST_STRANGERS = 32
"""How many handshakes are under way at a time; one more ends the oldest."""
MOST_KNOWN = 1024
"""How many monitors are connected at a time."""
BACKLOG = 128
ACCEPTS_AT_ONCE = 16
RETRY_S = 1.0


class ChannelListener:
    """Belongs to the loop's thread."""

    def __init__(
        self,
        own: str,
        secret: Callable[[], bytes],
        host: str,
        port: int,
        handlers: Handlers,
        timing: ChannelTiming,
        now_ms: Callable[[], int],
        counts: Counter[str],
        log: RateLog,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._own, self._secret, self._host, self._port = own, secret, host, port
        self._handlers, self._timing, self._now_ms, self.tls = handlers, timing, now_ms, tls
        self._counts, self._log = counts, log
        self._handled = Handled()
        self._listening: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._joining: dict[asyncio.Task[None], IncomingWire] = {}
        self._known: dict[str, IncomingWire] = {}
        self._open: set[IncomingWire] = set()
        self._none_open = TimedEvent()

    @property
    def port(self) -> int:
        assert self._listening is not None, "the listener was not started"
        return int(self._listening.getsockname()[1])

    @property
    def known(self) -> dict[str, IncomingWire]:
        """The monitors that are connected, by id."""
        return self._known

    @property
    def strangers(self) -> int:
        return len(self._joining)

    async def start(self) -> None:
        """Starts to listen. Raises OSError if the address cannot be used."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._listening = listening
        loop.add_reader(listening.fileno(), self._accept)

    # -- accepting

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._listening is None:
                return
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._counts["accept_errors"] += 1
                self._log.warn("accept", f"cannot accept a connection, trying again in {RETRY_S:g} s: {error}")
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listening.fileno())
                self._retry = loop.call_later(RETRY_S, self._accept_again)
                return
            self._counts["accepted"] += 1
            accepted.setblocking(False)
            if len(self._joining) >= MOST_STRANGERS:
                self._evict()
            wire = IncomingWire(
                self._secret,
                self._own,
                self._handlers,
                self._handled,
                self._now_ms,
                self._counts,
                self._log,
                on_known=self._became_known,
                on_end=self._ended,
                on_lost=self._lost,
            )
            task = asyncio.get_running_loop().create_task(self._join(accepted, wire), name="channel handshake")
            self._joining[task] = wire
            task.add_done_callback(self._joined)

    def _accept_again(self) -> None:
        self._retry = None
        if self._listening is not None:
            asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def _evict(self) -> None:
        """Ends the oldest handshake: a monitor's takes milliseconds, so it is hardly one's."""
        task, wire = next(((task, wire) for task, wire in self._joining.items() if not wire.known), (None, None))
        if task is None or wire is None:
            return
        self._counts["strangers_evicted"] += 1
        self._log.warn("strangers", f"{MOST_STRANGERS} strangers are connected; the oldest, {wire.address}, is closed")
        del self._joining[task]
        wire.close("too many handshakes")
        task.cancel()

    async def _join(self, accepted: socket.socket, wire: IncomingWire) -> None:
        try:
            await within(self._timing.handshake_s, self._greet(accepted, wire))
        except asyncio.TimeoutError:
            self._counts["refused_time"] += 1
            self._log.warn("handshake", f"a handshake of {wire.address} took too long")
            wire.close("the handshake took too long")
        except (OSError, ssl.SSLError) as error:
            self._counts["refused_tls"] += 1
            self._log.warn("handshake", f"a handshake of {wire.address} failed: {why_not(error)}")
            wire.close(repr(error))
        except asyncio.CancelledError:
            self._lost(wire)  # uvloop may close it without a word
            raise
        finally:
            if not wire.known:
                wire.close("it ends before its handshake")
            if wire.transport is None:
                accepted.close()

    async def _greet(self, accepted: socket.socket, wire: IncomingWire) -> None:
        self._open.add(wire)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: wire,
                accepted,
                ssl=self.tls,
                ssl_handshake_timeout=self._timing.handshake_s if self.tls else None,
            )
        finally:
            if wire.transport is None:
                self._lost(wire)
        await wire.greeted.wait()

    def _joined(self, task: asyncio.Task[None]) -> None:
        self._joining.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._counts["accept_errors"] += 1
            self._log.warn("accept", f"a monitor's connection: {error!r}")

    # -- monitors

    def _became_known(self, wire: IncomingWire) -> None:
        older = self._known.pop(wire.peer, None)
        if older is not None:
            self._counts["replaced"] += 1
            older.close("the monitor has connected again")
        elif len(self._known) >= MOST_KNOWN:
            self._counts["strangers_evicted"] += 1
            next(iter(self._known.values())).close(f"{MOST_KNOWN} monitors are connected")
        self._known[wire.peer] = wire

    def _ended(self, wire: IncomingWire) -> None:
        if self._known.get(wire.peer) is wire:
            del self._known[wire.peer]

    def _lost(self, wire: IncomingWire) -> None:
        self._open.discard(wire)
        if not self._open:
            self._none_open.set()

    def check(self, now_s: float) -> None:
        for wire in list(self._known.values()):
            wire.acknowledge()
            wire.check(now_s, self._timing.silent_s)

    def forgive(self, now_s: float) -> None:
        """Begins the silence of each connection anew, since this process itself was stopped."""
        for wire in self._known.values():
            wire.heard_s = now_s

    # -- the end

    async def stop(self) -> int:
        """Closes everything. Returns how many tasks and connections are left."""
        if self._listening is None:
            return 0
        if self._retry is not None:
            self._retry.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
        self._listening.close()
        self._listening = None
        for wire in list(self._open):
            wire.acknowledge()
            wire.close("this monitor stops")
            if wire.transport is not None:
                wire.transport.abort()  # also those that still send why they end
        left = len(await end_tasks([*self._joining, *self._handlers.serving], seconds=self._timing.end_s))
        if self._open:
            self._none_open.clear()
            await self._none_open.wait(self._timing.end_s)
        return left + len(self._open)
