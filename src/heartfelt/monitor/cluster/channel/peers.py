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

from heartfelt.monitor.cluster.channel.addresses import resolve, split_address, why_not
from heartfelt.monitor.cluster.channel.asking import BODY_BYTES, ChannelError
from heartfelt.monitor.cluster.channel.feed import PeerFeed, Undelivered
from heartfelt.monitor.cluster.channel.frames import Input
from heartfelt.monitor.cluster.channel.handshake import DialerHandshake
from heartfelt.monitor.cluster.channel.outgoing import OutgoingWire
from heartfelt.monitor.cluster.channel.wire import ChannelTiming, logger
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.tasks import Hung, TimedEvent, end_tasks, within

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
    minor: int | None
    """The minor version of its channel, if it is connected: what is newer it answers with UNKNOWN."""
    error: str
    """Why it is not connected."""
    waiting_beats: int
    waiting_input_bytes: int


class _Peer:
    def __init__(self, id: str, address: str, feed: PeerFeed) -> None:
        self.id, self.address, self.feed = id, address, feed
        self.wire: OutgoingWire | None = None
        self.dialing: OutgoingWire | None = None
        self.error = "not connected yet"
        self.away_since_s = asyncio.get_running_loop().time()
        self.task: asyncio.Task[None]

    @property
    def live(self) -> OutgoingWire | None:
        """The connection, unless it is ending."""
        return None if self.wire is None or self.wire.ending else self.wire

    def send_batch(self) -> None:
        self.feed.release()
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
        timing: ChannelTiming,
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
        self.tls, self._server_name = tls, server_name
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
        gone: dict[str, Undelivered] = {}
        for id, peer in list(self._peers.items()):
            if wanted.get(id) != peer.address:
                self._end_connection(peer, "the monitor has another address" if id in wanted else "the monitor is gone")
            if id not in wanted:
                del self._peers[id]
                gone[id] = peer.feed.end()
        self._connect_to(wanted)
        for id, left in gone.items():
            self._give_back(id, left)

    def _give_back(self, id: str, left: Undelivered) -> None:
        self._counts["beats_undelivered"] += len(left.beats)
        self._counts["inputs_undelivered"] += len(left.inputs)
        if left.beats or left.inputs:
            self._tell(self.on_undelivered, id, left)

    def _connect_to(self, wanted: Mapping[str, str]) -> None:
        for id, address in wanted.items():
            if id in self._peers and self._peers[id].address == address:
                continue
            if len(self._peers) >= MOST_PEERS and id not in self._peers:
                self._counts["peers_refused"] += 1
                self._log.warn("peers", f"the monitor {id} is left out: there are {MOST_PEERS} others")
                continue
            if self._is_stopped:
                return
            peer = self._peers.setdefault(id, _Peer(id, address, PeerFeed(self._counts)))
            peer.address = address
            peer.task = asyncio.get_running_loop().create_task(self._keep(peer), name=f"channel to {id}")

    def _end_connection(self, peer: _Peer, why: str) -> None:
        peer.task.cancel()
        self._ending.add(peer.task)
        peer.task.add_done_callback(self._ending.discard)
        for wire in (peer.wire, peer.dialing):
            if wire is not None:
                wire.close(why)
        peer.wire = peer.dialing = None

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
        return (peer := self._peers.get(id)) is not None and peer.live is not None

    def unheard_s(self, id: str) -> float:
        """Returns for how long nothing has been heard of a peer, also over a connection that has not ended."""
        peer = self._peers.get(id)
        if peer is None:
            return 0.0
        since_s = peer.away_since_s if peer.wire is None else peer.wire.heard_s
        return asyncio.get_running_loop().time() - since_s

    def take_back(self, id: str) -> None:
        """Hands what a peer has not acknowledged to `on_undelivered`: it will not handle it any more."""
        peer = self._peers.get(id)
        if peer is not None:
            self._give_back(id, peer.feed.end())

    def take_inputs(self, id: str, wanted: Callable[[Input], bool]) -> list[Input]:
        """Takes inputs back that a peer has not acknowledged. It may have handled them, or may yet."""
        peer = self._peers.get(id)
        return [] if peer is None else peer.feed.take_back(wanted)

    def has_unsent(self, id: str) -> bool:
        """Returns whether something waits for a connected peer that was not sent yet."""
        peer = self._peers.get(id)
        return peer is not None and peer.live is not None and peer.feed.has_more

    @property
    def connected(self) -> list[str]:
        return [id for id, peer in self._peers.items() if peer.live is not None]

    def states(self) -> list[PeerState]:
        return [
            PeerState(
                peer.id,
                peer.address,
                peer.live is not None,
                None if peer.live is None else peer.live.minor,
                "" if peer.live is not None else peer.error,
                peer.feed.beats,
                peer.feed.input_bytes,
            )
            for peer in self._peers.values()
        ]

    # -- sending

    def forward(self, peer: str, heard_ms: Mapping[int, int]) -> list[int]:
        """Queues beats for the monitor that owns the instances: id -> when it was heard. Returns those that do not fit;
        all, if the monitor is not one of the peers. Never waits."""
        found = self._peers.get(peer)
        if found is None:
            self._counts["beats_refused"] += len(heard_ms)
            return list(heard_ms)
        self._begin_batch()
        return found.feed.put_beats(heard_ms)

    def forward_input(self, peer: str, item: Input) -> bool:
        """Queues an input, as `forward`. Beats that were queued before it are sent before it."""
        found = self._peers.get(peer)
        if found is None:
            self._counts["inputs_refused"] += 1
            return False
        self._begin_batch()
        return found.feed.put_input(item)

    def notify(self, peer: str, name: str, body: Any = None) -> bool:
        """Sends a notice at once, and forgets it. Returns False if it could not be sent."""
        encoded = msgspec.msgpack.encode((name, body))
        found = self._peers.get(peer)
        wire = None if found is None else found.live
        is_sent = wire is not None and len(encoded) <= BODY_BYTES and wire.notify(encoded)
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

    def _wire(self, peer: str) -> OutgoingWire:
        found = self._peers.get(peer)
        wire = None if found is None else found.live
        if wire is None:
            self._counts["unanswered_disconnected"] += 1
            why = "it is not known" if found is None else found.wire.why if found.wire is not None else found.error
            raise ChannelError("disconnected", f"there is no connection to the monitor {peer}: {why}")
        return wire

    # -- batches

    def _begin_batch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timing.batch_s, self._send_batches)

    def send_now(self) -> None:
        """Sends what was queued, without waiting for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._send_batches()

    def _send_batches(self) -> None:
        self._timer = None
        for peer in self._peers.values():
            peer.send_batch()  # what does not go now goes when there is room, or a connection

    async def drain(self, seconds: float, *, reachable: bool = False) -> bool:
        """Sends what waits, and returns True once all of it was acknowledged; False after `seconds`. reachable: what is
        for monitors to which there is no connection is not waited for."""
        loop = asyncio.get_running_loop()
        ends_s, pause = loop.time() + seconds, TimedEvent()
        while True:
            self._send_batches()
            for peer in self._peers.values():
                if peer.wire is not None and not peer.feed.is_empty:
                    peer.wire.ping()  # it acknowledges at once
            if all(peer.feed.is_empty or (reachable and peer.live is None) for peer in self._peers.values()):
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
                peer.away_since_s = wire.heard_s
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
        wire = peer.dialing = OutgoingWire(
            DialerHandshake(self._secret(), self._own, peer.id),
            peer.id,
            peer.feed,
            self._now_ms,
            self._counts,
            self._log,
        )
        try:
            host, port = split_address(peer.address)
            await within(self._timing.handshake_s, self._greet(wire, host, port))
        except (OSError, ValueError, asyncio.TimeoutError, Hung) as error:  # an SSLError is an OSError
            is_late = isinstance(error, asyncio.TimeoutError) and not str(error)
            wire.close("the handshake took too long" if is_late else why_not(error))
        except BaseException:
            wire.close("cancelled")
            wire.closed.set()  # uvloop may close it without a word
            raise
        if wire.known and not wire.ending:
            peer.wire = wire
            self._counts["connected"] += 1
            return ""
        self._counts["connect_failures"] += 1
        if wire.transport is not None:
            await wire.closed.wait(self._timing.end_s)
        return wire.why

    async def _greet(self, wire: OutgoingWire, host: str, port: int) -> None:
        name = (self._server_name or host) if self.tls is not None else None
        loop, failure = asyncio.get_running_loop(), OSError(f"{host} has no address")
        for found in await resolve(host, self._timing.handshake_s):
            try:
                await loop.create_connection(lambda: wire, found, port, ssl=self.tls, server_hostname=name)
                break
            except OSError as error:
                failure = error
        else:
            raise failure
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
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._timing.end_s
        for wire in wires:
            if wire.transport is not None:
                wire.transport.abort()
        for wire in wires:
            if wire.transport is not None:
                await wire.closed.wait(max(0.0, ends_s - loop.time()))
        return len(left)

    def waiting(self) -> tuple[int, int]:
        """Returns how many beats, and how many bytes of inputs, wait for all monitors."""
        feeds = [peer.feed for peer in self._peers.values()]
        return sum(feed.beats for feed in feeds), sum(feed.input_bytes for feed in feeds)
