# SPDX-License-Identifier: MIT
"""The channel of one monitor: its port for the others, its connections to them, and the handlers of what they send."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from heartfelt.monitor.cluster.channel.answering import Handler, Handlers
from heartfelt.monitor.cluster.channel.frames import BeatBatch, Input
from heartfelt.monitor.cluster.channel.handshake import check_secret
from heartfelt.monitor.cluster.channel.listener import ChannelListener
from heartfelt.monitor.cluster.channel.peers import Peers
from heartfelt.monitor.cluster.channel.wire import ChannelTiming, logger
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.metric import Figure, Figures, Metric, Reading, counter, gauge, read

_BEATS = counter("heartfelt_channel_beats", "Beats that were forwarded between monitors", labels=("what",))
_INPUTS = counter("heartfelt_channel_inputs", "Inputs that were forwarded between monitors", labels=("what",))
_BATCHES = counter("heartfelt_channel_batches", "Batches of beats or inputs for other monitors", labels=("what",))
_NOTICES = counter("heartfelt_channel_notices", "Notices between monitors", labels=("what",))
_ASKED = counter("heartfelt_channel_requests_sent", "Requests to other monitors", labels=("what",))
_SERVED = counter("heartfelt_channel_requests_served", "Requests of other monitors", labels=("what",))
_OPEN = gauge("heartfelt_channel_connections", "Open connections with other monitors", labels=("direction",))
_EVENTS = counter("heartfelt_channel_connection_events", "What happened to connections of monitors", labels=("what",))
_REFUSED = counter("heartfelt_channel_handshakes_refused", "Handshakes that were refused", labels=("reason",))
_FAILED = counter("heartfelt_channel_failures", "Connections with monitors that ended by an error", labels=("reason",))


def _labelled(metric: Metric, prefix: str, *names: str) -> dict[str, Figure]:
    return {prefix + name: metric.of(name) for name in names}


FIGURES: Figures = {
    **_labelled(_BEATS, "beats_", "received", "refused", "undelivered"),
    **_labelled(_INPUTS, "inputs_", "received", "refused", "undelivered"),
    **_labelled(_BATCHES, "batches_", "sent", "again", "known"),
    **_labelled(_NOTICES, "notices_", "sent", "dropped", "received", "unknown"),
    "asked": _ASKED.of("sent"),
    "cancelled": _ASKED.of("cancelled"),
    **_labelled(_ASKED, "unanswered_", "disconnected", "deadline", "full", "large", "unknown", "malformed"),
    **_labelled(_SERVED, "", "served", "problems", "pieces_sent"),
    "outgoing": _OPEN.of("outgoing"),
    "incoming": _OPEN.of("incoming"),
    "strangers": _OPEN.of("strangers"),
    **_labelled(_EVENTS, "", "dialed", "connect_failures", "connected", "disconnected", "accepted", "replaced"),
    **_labelled(_EVENTS, "", "strangers_evicted", "peers_refused", "accept_errors"),
    **_labelled(_REFUSED, "refused_", "version", "secret", "identity", "malformed", "time", "tls"),
    **_labelled(_FAILED, "failed_", "malformed", "silent", "error"),
    "unknown": counter("heartfelt_channel_unknown_frames", "Frames of a kind that only newer monitors know"),
    "unhandled": counter("heartfelt_channel_unhandled", "Batches of other monitors that no part of this one takes"),
    "unsendable": counter("heartfelt_channel_unsendable", "Beats and inputs that could not be encoded"),
    "handler_errors": counter("heartfelt_channel_handler_errors", "Errors in handling what other monitors sent"),
    "bytes_sent": counter("heartfelt_channel_sent_bytes", "Bytes sent to other monitors", unit="bytes"),
    "bytes_received": counter("heartfelt_channel_received_bytes", "Bytes received from other monitors", unit="bytes"),
    "waiting_beats": gauge("heartfelt_channel_waiting_beats", "Beats that other monitors have not acknowledged"),
    "waiting_input_bytes": gauge(
        "heartfelt_channel_waiting_input_bytes", "Inputs that other monitors have not acknowledged", unit="bytes"
    ),
    "left_running": counter("heartfelt_channel_left_running", "Tasks of the channel that did not end in time"),
    "log_lines_suppressed": counter("heartfelt_channel_log_lines_suppressed", "Log lines of the channel left out"),
}


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Channel:
    """`await start()`, `peers.set_peers({id: address})`, `await stop()`. Belongs to the loop's thread.

    own: this monitor's id, 32 hex digits. secret: the fleet's; `set_secret` replaces it. host, port: where it listens.
    server_tls, client_tls: contexts for both directions; server_name: the name in the certificates of the others,
    if not their hosts. now_ms: the clock by which beats are heard.
    """

    def __init__(
        self,
        own: str,
        secret: bytes,
        host: str,
        port: int,
        *,
        timing: ChannelTiming | None = None,
        now_ms: Callable[[], int] = monotonic_ms,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        seed: int | None = None,
    ) -> None:
        timing = timing or ChannelTiming()
        self.own, self.timing = own, timing
        self._secret = check_secret(secret)
        self._handlers = Handlers()
        self.counts: Counter[str] = Counter()
        self._log = RateLog(log=logger)
        self._listener = ChannelListener(
            own, self._secret_now, host, port, self._handlers, timing, now_ms, self.counts, self._log, tls=server_tls
        )
        self.peers = Peers(
            own, self._secret_now, timing, now_ms, self.counts, self._log,
            tls=client_tls, server_name=server_name, seed=seed,
        )  # fmt: skip
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def set_tls(self, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
        """Uses other contexts from now on; connections that exist go on."""
        self._listener.tls = server_tls
        self.peers.tls = client_tls

    def _secret_now(self) -> bytes:
        return self._secret

    def set_secret(self, secret: bytes) -> None:
        """Uses another secret from now on; connections that exist go on."""
        self._secret = check_secret(secret)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._listener.port

    # -- handlers

    def on(self, name: str, handler: Callable[[str, Any], Any], kind: Any = Any) -> None:
        """Serves the requests of this name: handler(monitor id, message). It returns the answer, an awaitable of it, or
        an async iterator of its pieces, or raises a Problem, which is raised at the one who asked.

        kind: the type of the message, as msgspec knows types.
        """
        self._handlers.requests[name] = Handler(handler, kind)

    def on_notice(self, name: str, handler: Callable[[str, Any], object], kind: Any = Any) -> None:
        """Handles the notices of this name: handler(monitor id, message). It must not wait."""
        self._handlers.notices[name] = Handler(handler, kind)

    def on_beats(self, handler: Callable[[str, BeatBatch], object]) -> None:
        """Handles forwarded beats. It must not wait."""
        self._handlers.beats = handler

    def on_inputs(self, handler: Callable[[str, list[Input]], object]) -> None:
        """Handles forwarded inputs. It must not wait."""
        self._handlers.inputs = handler

    # -- start and stop

    async def start(self) -> None:
        """Starts to listen. Raises OSError if the address cannot be used."""
        await self._listener.start()
        self._arm()

    @property
    def stop_s(self) -> float:
        """The most that `stop` takes."""
        return 4 * self.timing.end_s

    async def stop(self) -> None:
        """Ends all connections within `stop_s`. What does not end is logged, counted and left. Idempotent. What waits
        is not sent: `peers.drain` does that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.counts["left_running"] += await self.peers.stop()
        self.counts["left_running"] += await self._listener.stop()

    async def close_port(self) -> None:
        """Takes nothing more from the others, and goes on sending: what they have sent and this monitor has not
        acknowledged remains theirs."""
        self.counts["left_running"] += await self._listener.stop()

    # -- silence

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + self.timing.ping_s
        self._timer = loop.call_at(self._due_s, self._check)

    def _check(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._due_s > self.timing.ping_s:  # the process was stopped: what has arrived is read first
            self.peers.forgive(now_s)
            self._listener.forgive(now_s)
        self._arm()
        self.peers.check(now_s)
        self._listener.check(now_s)

    # -- figures

    def stats(self) -> dict[str, Any]:
        beats, input_bytes = self.peers.waiting()
        return {
            **self.counts,
            "outgoing": len(self.peers.connected),
            "incoming": len(self._listener.known),
            "strangers": self._listener.strangers,
            "waiting_beats": beats,
            "waiting_input_bytes": input_bytes,
            "log_lines_suppressed": self._log.left_out,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
