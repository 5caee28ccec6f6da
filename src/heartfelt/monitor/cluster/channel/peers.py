# SPDX-License-Identifier: MIT
"""The connections to the other monitors that live: made, watched, and made again when they end."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from heartfelt.monitor.cluster.channel.asking import BODY_BYTES, ChannelError
from heartfelt.monitor.cluster.channel.feed import Feed, Undelivered
from heartfelt.monitor.cluster.channel.frames import Input
from heartfelt.monitor.cluster.channel.handshake import Dialing
from heartfelt.monitor.cluster.channel.outgoing import Outgoing
from heartfelt.monitor.cluster.channel.wire import Timing, logger
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within

__all__ = ["PeerState", "Peers"]

MOST_PEERS = 1024
"""How many other monitors it connects to."""
_HOPELESS = frozenset(("version", "secret"))
"""Refusals after which another attempt is made after the longest pause only."""


class PeerState(NamedTuple):
    """How it is with one other monitor, for people."""

    id: str
    address: str
    connected: bool
    error: str
    """Why it is not connected."""
    waiting_beats: int
    waiting_input_bytes: int


class _Peer:
    def __init__(self, id: str, address: str, feed: Feed) -> None:
        self.id, self.address, self.feed = id, address, feed
        self.wire: Outgoing | None = None
        self.dialing: Outgoing | None = None
        self.error = "not connected yet"
        self.task: asyncio.Task[None]

    def pump(self) -> None:
        if self.wire is not None:
            self.wire.pump()


class Peers:
    """Belongs to the loop's thread.

    secret: called when it is needed. now_ms: the clock by which beats were heard. on_undelivered(monitor id, what):
    called when a monitor is gone, with what it has not acknowledged; on_connected(monitor id).
    """

    def __init__(
        self,
        own: str,
        secret: Callable[[], bytes],
        timing: Timing,
        now_ms: Callable[[], int],
        counts: Counter[str],
        log: RateLog,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        seed: int | None = None,
    ) -> None:
        self._own, self._secret, self._timing, self._now_ms = own, secret, timing, now_ms
        self._counts, self._log = counts, log
        self._tls, self._server_name = tls, server_name
        self._random = random.Random(seed)
        self._peers: dict[str, _Peer] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        self.on_undelivered: Callable[[str, Undelivered], object] | None = None
        self.on_connected: Callable[[str], object] | None = None

    # -- who there is

    def set_peers(self, addresses: Mapping[str, str]) -> None:
        """Connects to these monitors, and ends the connections to all others. addresses: monitor id -> "host:port";
        this monitor's own is left out."""
        wanted = {id: address for id, address in addresses.items() if id != self._own}
        for id, peer in list(self._peers.items()):
            if wanted.get(id) != peer.address:
                self._remove(peer, keep=id in wanted)
        for id, address in wanted.items():
            if id in self._peers and self._peers[id].address == address:
                continue
            if len(self._peers) >= MOST_PEERS and id not in self._peers:
                self._counts["peers_refused"] += 1
                self._log.warn("peers", f"the monitor {id} is left out: there are {MOST_PEERS} others")
                continue
            if self._is_stopped:
                return
            peer = self._peers.setdefault(id, _Peer(id, address, Feed(self._counts)))
            peer.address = address
            peer.task = asyncio.get_running_loop().create_task(self._keep(peer), name=f"channel to {id}")

    def _remove(self, peer: _Peer, *, keep: bool) -> None:
        """keep: it lives, and only its address has changed."""
        peer.task.cancel()
        self._ending.add(peer.task)
        peer.task.add_done_callback(self._ending.discard)
        for wire in (peer.wire, peer.dialing):
            if wire is not None:
                wire.close("the monitor has another address" if keep else "the monitor is gone")
        peer.wire = peer.dialing = None
        if keep:
            return
        del self._peers[peer.id]
        left = peer.feed.end()
        self._counts["beats_undelivered"] += len(left.beats)
        self._counts["inputs_undelivered"] += len(left.inputs)
        if left.beats or left.inputs:
            self._tell(self.on_undelivered, peer.id, left)

    def _tell(self, listener: Callable[..., object] | None, *what: object) -> None:
        if listener is None:
            return
        try:
            listener(*what)
        except Exception:
            self._counts["handler_errors"] += 1
            logger.exception("a listener of the channel failed")

    def __contains__(self, id: object) -> bool:
        return id in self._peers

    def is_connected(self, id: str) -> bool:
        return (peer := self._peers.get(id)) is not None and peer.wire is not None

    @property
    def connected(self) -> list[str]:
        return [id for id, peer in self._peers.items() if peer.wire is not None]

    def states(self) -> list[PeerState]:
        return [
            PeerState(
                peer.id,
                peer.address,
                peer.wire is not None,
                "" if peer.wire is not None else peer.error,
                peer.feed.beats,
                peer.feed.input_bytes,
            )
            for peer in self._peers.values()
        ]

    # -- sending

    def forward(self, peer: str, id: int, heard_ms: int) -> bool:
        """Queues a beat of the instance `id` for the monitor that owns it. Returns False if it does not fit, or the
        monitor is not one of the peers. Never waits."""
        found = self._peers.get(peer)
        if found is None:
            self._counts["beats_refused"] += 1
            return False
        if self._timer is None:
            self._begin_batch()
        return found.feed.put_beat(id, heard_ms)

    def forward_input(self, peer: str, item: Input) -> bool:
        """Queues an input, as `forward`. Beats that were queued before it are sent before it."""
        found = self._peers.get(peer)
        if found is None:
            self._counts["inputs_refused"] += 1
            return False
        if self._timer is None:
            self._begin_batch()
        return found.feed.put_input(item)

    def notify(self, peer: str, name: str, body: Any = None) -> bool:
        """Sends a notice at once, and forgets it. Returns False if it could not be sent."""
        encoded = msgspec.msgpack.encode((name, body))
        found = self._peers.get(peer)
        is_sent = (
            found is not None and found.wire is not None and len(encoded) <= BODY_BYTES and found.wire.notify(encoded)
        )
        self._counts["notices_sent" if is_sent else "notices_dropped"] += 1
        return is_sent

    async def ask(self, peer: str, name: str, body: Any = None, *, seconds: float, kind: Any = Any) -> Any:
        """Returns the answer of the other monitor's handler, as a `kind`. Raises the handler's Problem, or
        ChannelError. A task that is cancelled cancels the request."""
        return await self._wire(peer).asks.ask(name, body, seconds, kind)

    async def stream(
        self, peer: str, name: str, body: Any = None, *, seconds: float, kind: Any = Any
    ) -> AsyncGenerator[Any, None]:
        """Yields the pieces of the answer; one, if the handler returns a single value. Close it (`aclosing`) to cancel
        the request. seconds: for all of them."""
        async with aclosing(self._wire(peer).asks.stream(name, body, seconds, kind)) as pieces:
            async for piece in pieces:
                yield piece

    def _wire(self, peer: str) -> Outgoing:
        found = self._peers.get(peer)
        if found is None or found.wire is None:
            self._counts["unanswered_disconnected"] += 1
            why = "it is not known" if found is None else found.error
            raise ChannelError("disconnected", f"there is no connection to the monitor {peer}: {why}")
        return found.wire

    # -- batches

    def _begin_batch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._timing.batch_s, self._send_batches)

    def _send_batches(self) -> None:
        self._timer = None
        for peer in self._peers.values():
            peer.pump()  # what does not go now goes when there is room, or a connection

    async def drain(self, seconds: float) -> bool:
        """Sends what waits, and returns True once all of it was acknowledged; False after `seconds`."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + seconds
        pause = TimedEvent()
        while True:
            self._send_batches()
            if all(peer.feed.is_empty for peer in self._peers.values()):
                return True
            if (left_s := ends_s - loop.time()) <= 0:
                return False
            await pause.wait(min(left_s, 0.01))

    # -- connections

    async def _keep(self, peer: _Peer) -> None:
        """Keeps a connection until it is cancelled."""
        loop = asyncio.get_running_loop()
        pause, retry_s = TimedEvent(), self._timing.retry_s
        while True:
            began_s = loop.time()
            try:
                error = await self._connect(peer)
            except Exception as unexpected:
                logger.exception("connecting to the monitor %s failed", peer.id)
                error = repr(unexpected)
            wire = peer.wire
            if wire is not None:
                logger.info("connected to the monitor %s at %s", peer.id, peer.address)
                self._tell(self.on_connected, peer.id)
                await wire.closed.wait()
                peer.wire, error = None, wire.why
                self._counts["disconnected"] += 1
                if loop.time() - began_s > self._timing.most_retry_s:
                    retry_s = self._timing.retry_s
            if error != peer.error or wire is not None:
                self._log.warn("disconnected", f"no connection to the monitor {peer.id} at {peer.address}: {error}")
            peer.error = error
            refusal = None if peer.dialing is None else peer.dialing.refusal
            peer.dialing = None
            if refusal is not None and refusal.code in _HOPELESS:
                retry_s = self._timing.most_retry_s
            await pause.wait(retry_s * self._random.uniform(0.5, 1.0))
            retry_s = min(2 * retry_s, self._timing.most_retry_s)

    async def _connect(self, peer: _Peer) -> str:
        """Makes `peer.wire`. Returns why it could not."""
        self._counts["dialed"] += 1
        wire = peer.dialing = Outgoing(
            Dialing(self._secret(), self._own, peer.id), peer.id, peer.feed, self._now_ms, self._counts, self._log
        )
        try:
            host, port = split_address(peer.address)
            await within(self._timing.handshake_s, self._greet(wire, host, port))
        except (OSError, ValueError, asyncio.TimeoutError) as error:  # an SSLError is an OSError
            is_late = isinstance(error, asyncio.TimeoutError) and not str(error)
            wire.close("the handshake took too long" if is_late else str(error) or repr(error))
        except BaseException:
            wire.close("cancelled")
            raise
        if wire.known and not wire.ending:
            peer.wire = wire
            self._counts["connected"] += 1
            return ""
        self._counts["connect_failures"] += 1
        if wire.transport is not None:
            await wire.closed.wait(self._timing.end_s)
        return wire.why

    async def _greet(self, wire: Outgoing, host: str, port: int) -> None:
        name = (self._server_name or host) if self._tls is not None else None
        await asyncio.get_running_loop().create_connection(
            lambda: wire, host, port, ssl=self._tls, server_hostname=name
        )
        await wire.greeted.wait()

    def check(self, now_s: float) -> None:
        for peer in self._peers.values():
            if peer.wire is not None:
                peer.wire.check(now_s, self._timing.silent_s)
                peer.wire.ping()

    def forgive(self, now_s: float) -> None:
        """Begins the silence of each connection anew, since this process itself was stopped."""
        for peer in self._peers.values():
            if peer.wire is not None:
                peer.wire.heard_s = now_s

    async def stop(self) -> int:
        """Ends all connections, without sending what waits: `drain` does. Returns how many tasks are left running."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        wires = [wire for peer in self._peers.values() for wire in (peer.wire, peer.dialing) if wire is not None]
        self.set_peers({})
        left = await end_tasks(list(self._ending), seconds=self._timing.end_s)
        for wire in wires:
            if wire.transport is not None:
                wire.transport.abort()
                await wire.closed.wait(self._timing.end_s)
        return len(left)

    def waiting(self) -> tuple[int, int]:
        """Returns how many beats, and how many bytes of inputs, wait for all monitors."""
        feeds = [peer.feed for peer in self._peers.values()]
        return sum(feed.beats for feed in feeds), sum(feed.input_bytes for feed in feeds)


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port" or "[host]:port". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: write host:port, or [host]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)
