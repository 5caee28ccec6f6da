# SPDX-License-Identifier: MIT
"""The UDP port: a datagram is one heartbeat's JSON, plain or gzip, or plain keys, one on each line.

A first line `Bearer TOKEN` may precede that. The monitor never answers a datagram. Datagrams are received in batches,
and a turn of the event loop handles a bounded number of heartbeats. Datagrams above a client's rate are dropped and
counted. The kernel drops datagrams while its buffer is full: `stats()["kernel_drops"]` (Linux).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from heartfelt.errors import FrameError
from heartfelt.monitor.credentials import why_refused
from heartfelt.monitor.ingest.decode import BadInput, most_of_beat
from heartfelt.monitor.ingest.intake import INGEST, REFUSALS, Auth, Intake
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.peer import plain_address
from heartfelt.wire import unpack

__all__ = ["UdpServer"]

_logger = logging.getLogger("heartfelt.monitor")

VIA = "udp"
DATAGRAMS_AT_ONCE = 64
_LARGEST = 65535
RCVBUF = 8 << 20
BEATS_A_TURN = 4096
STOP_S = 1.0
"""How long a stop may take to handle the datagrams that were received."""
_SO_RCVBUFFORCE = 33
BEATS_OF_ONE = 1024
"""Heartbeats of one client that are handled before its rate is checked again."""
_OPEN_BRACE, _OPEN_BRACKET, _GZIP = b"{", b"[", b"\x1f"
_SPECIAL = frozenset((b"", _OPEN_BRACE, _OPEN_BRACKET, _GZIP, b"B"))
"""First bytes of datagrams that are not, or may not be, plain keys only: a token's line begins with a B."""

FIGURES: Figures = {
    "datagrams": counter("heartfelt_udp_datagrams", "Datagrams that were received"),
    "waiting": gauge("heartfelt_udp_waiting", "Datagrams that were received and are not handled yet"),
    "receive_errors": counter("heartfelt_udp_receive_errors", "Errors when a datagram was to be received"),
    "dropped_at_stop": counter(
        "heartfelt_udp_dropped_at_stop", "Datagrams that were not handled within the time of a stop"
    ),
    "kernel_drops": counter(
        "heartfelt_udp_kernel_drops", "Datagrams that the kernel dropped because the receive buffer was full"
    ),
    "rcvbuf": gauge("heartfelt_udp_receive_buffer_bytes", "Size of the socket's receive buffer", unit="bytes"),
}


class UdpServer:
    """`await start()`, `await stop()`. `port` 0: any free port; after the start `address` has its number.

    auth: replaces the intake's check of tokens.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        host: str = "127.0.0.1",
        port: int = 8901,
        auth: Auth | None = None,
        rcvbuf: int = RCVBUF,
        stop_s: float = STOP_S,
    ) -> None:
        self.intake = intake
        self.auth = intake.auth if auth is None else auth
        self._host, self._port, self._rcvbuf = host, port, rcvbuf
        self.stop_s = stop_s
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop
        self._waiting: deque[tuple[bytes, str]] = deque()  # received and not handled yet
        self._turn: asyncio.Handle | None = None
        self._allowed: dict[str | None, bool] = {}  # token -> whether it is valid, in this turn
        self.counts: Counter[str] = Counter()

    @property
    def address(self) -> tuple[str, int]:
        assert self._socket is not None, "the server was not started"
        return self._socket.getsockname()[:2]  # type: ignore[no-any-return]

    async def start(self) -> None:
        """Starts to listen. Raises OSError if the address cannot be used."""
        self._loop = asyncio.get_running_loop()
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._rcvbuf)
            with contextlib.suppress(OSError):  # above the system's limit, if permitted; stats() has the result
                listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._rcvbuf)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._loop.add_reader(listening.fileno(), self._drain)

    async def stop(self) -> None:
        """Handles what was received, then closes. Datagrams that are not handled within `stop_s` are dropped and
        counted. Idempotent."""
        if self._socket is None:
            return
        if self._turn is None:
            self._loop.remove_reader(self._socket.fileno())
        else:
            self._turn.cancel()
        ends_s = self._loop.time() + self.stop_s
        while self._waiting and self._loop.time() < ends_s:
            self._handle_some()
            await asyncio.sleep(0)
        if self._waiting:
            self.counts["dropped_at_stop"] += len(self._waiting)
            _logger.error("UDP: %d datagrams were not handled within %g s", len(self._waiting), self.stop_s)
            self._waiting.clear()
        self._socket.close()
        self._socket = None

    def _drain(self) -> None:
        self._turn = None
        sock = self._socket
        if sock is None:
            return
        beats = 0
        while beats < BEATS_A_TURN:
            if not self._waiting:
                try:
                    received = _receive(sock)
                except OSError as error:  # an ICMP error, or the machine is out of memory
                    self.counts["receive_errors"] += 1
                    self.intake.log.warn("udp", f"UDP: {error}")
                    return
                if not received:
                    return
                self.counts["datagrams"] += len(received)
                self.intake.counters.messages[VIA] += len(received)
                self._waiting.extend(received)
            beats += self._handle_some()
        if self._waiting:  # others get their turn; nothing more is received until these are handled
            self._loop.remove_reader(sock.fileno())
            self._turn = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        if self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._drain)
            self._drain()

    def _handle_some(self) -> int:
        """Handles waiting datagrams, up to BEATS_A_TURN heartbeats. Returns how many it handled."""
        total = 0
        self._allowed.clear()
        waiting = self._waiting
        while waiting and total < BEATS_A_TURN:
            peer = waiting[0][1]
            if self.intake.rates.wait_s(peer) > 0:
                self._drop(peer)
                total += 1
                continue
            beats = 0
            names: list[bytes] = []  # datagrams of plain keys, handled together
            n_names = 0
            while waiting and waiting[0][1] == peer and beats + n_names < BEATS_OF_ONE:
                data = waiting.popleft()[0]
                if data[:1] in _SPECIAL or data.isspace():
                    beats += self._take(data, peer)
                elif self._is_allowed(None):
                    names.append(data)
                    n_names += 1 + data.count(b"\n")
                else:
                    self._refuse_token(None, peer)
            if names:
                beats += self.intake.take_names(b"\n".join(names), VIA, peer)
            self.intake.rates.owe(peer, beats)
            total += beats or 1
        return total

    def _drop(self, peer: str) -> None:
        self._waiting.popleft()
        self.intake.refuse(
            VIA, BadInput("rate", "sends more heartbeats a second than limits.beats_of_client_per_s; dropped"), peer
        )

    def _is_allowed(self, token: str | None) -> bool:
        allowed = self._allowed.get(token)
        if allowed is None:
            allowed = self._allowed[token] = self.auth(token, INGEST)
        return allowed

    def _refuse_token(self, token: str | None, peer: str) -> None:
        code, text = why_refused(token, INGEST, None if token is None else self.intake.tokens.held(token))
        self.intake.refuse(VIA, BadInput(code, f"{text}; a datagram begins with a line `Bearer TOKEN`"), peer)

    def _take(self, data: bytes, peer: str) -> int:
        """Handles one datagram. Returns how many heartbeats it had."""
        token = None
        if data[:7] == b"Bearer ":
            line, _, data = data.partition(b"\n")
            token = line[7:].strip().decode(errors="replace")
        if not self._is_allowed(token):
            self._refuse_token(token, peer)
            return 1
        try:
            first = data[:1]
            if first == _OPEN_BRACE:
                self.intake.take(data, VIA, peer)
                return 1
            if first == _GZIP:
                self.intake.take(unpack(data, most_of_beat(self.intake.limits.meta_bytes)), VIA, peer)
                return 1
            if first == _OPEN_BRACKET or not data.strip():
                raise BadInput(
                    "format", "a datagram must be one heartbeat's JSON, plain or gzip, or plain keys, one a line"
                )
        except (*REFUSALS, FrameError) as error:
            self.intake.refuse(VIA, error, peer)
            return 1
        return self.intake.take_names(data, VIA, peer)

    def stats(self) -> dict[str, int | float]:
        """Returns the figures of this port. `kernel_drops` is -1 where the system does not report it."""
        out: dict[str, int | float] = dict(self.counts)
        if self._socket is not None:
            out["rcvbuf"] = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            out["kernel_drops"] = _kernel_drops(self._socket)
        out["waiting"] = len(self._waiting)
        return out

    def readings(self) -> Iterator[Reading]:
        stats = self.stats()
        is_counted = stats.get("kernel_drops", 0) >= 0
        yield from read(FIGURES if is_counted else {**FIGURES, "kernel_drops": None}, stats)


def _kernel_drops(sock: socket.socket) -> int:
    name = "udp6" if sock.family == socket.AF_INET6 else "udp"
    inode = str(os.fstat(sock.fileno()).st_ino)
    try:
        lines = Path(f"/proc/net/{name}").read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return -1
    for line in lines:
        columns = line.split()
        if len(columns) > 12 and columns[9] == inode:
            return int(columns[12])
    return -1


def _receive(sock: socket.socket) -> list[tuple[bytes, str]]:
    """Receives the waiting datagrams and their senders' addresses, at most DATAGRAMS_AT_ONCE. Does not block.

    Raises OSError only before the first datagram, so that an error never loses a received one.
    """
    received: list[tuple[bytes, str]] = []
    try:
        for _ in range(DATAGRAMS_AT_ONCE):
            data, address = sock.recvfrom(_LARGEST)
            received.append((data, plain_address(address[0])))
    except (BlockingIOError, InterruptedError):
        pass
    except OSError:
        if not received:
            raise
    return received
