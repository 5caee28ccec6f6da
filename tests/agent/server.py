# SPDX-License-Identifier: MIT
"""The server that receives what agents send, and misbehaves as told: `with Server("sermant") as server: ...`.

Kinds: "sermant" (TCP frames), "http" (beats and pings), "udp". One thread with an asyncio loop; all that it received
stays in lists that may be read at any time, in the order of arrival:

| list | of |
|---|---|
| beats | dicts: each beat's JSON, goodbyes not among them; `arrivals` has the time.monotonic() of each |
| goodbyes | dicts |
| tokens | str: one for each frame, request or datagram that had one |
| events | dicts: the JSON of Sermant's EVENT_DATA |
| requests | http: Request(method, path, headers, body, at), whatever was answered |
| pings | http: Ping(key, action, body), key decoded, action "" if there was none |
| keys | udp: str: simple beats by plain keys |
| opened, closed | time.monotonic() of each connection's accept, and of its end; `connections` is how many were opened |
| errors | str: what could not be read |

An http server answers as `server.answer` says at that time; beats that get another status than 200 or 202 are in
`requests` only, not in `beats`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from heartfelt.errors import FrameError
from heartfelt.wire import unpack
from tests.agent.http_side import Answer, HttpConnection, Ping, Request
from tests.agent.stream_side import SermantConnection

__all__ = ["Answer", "Ping", "Request", "Server"]

LONG_S = 40.0
T = TypeVar("T")


class Server:
    """See above. `tls`: a server's context, for "sermant" and "http". `port` 0: any free one, kept until `stop`."""

    def __init__(self, kind: str, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        if kind not in ("sermant", "http", "udp"):
            raise ValueError(f"no such kind of server: {kind!r}")
        self.kind, self.tls, self.host, self.port = kind, tls, host, port
        self.beats: list[dict[str, Any]] = []
        self.arrivals: list[float] = []
        self.goodbyes: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.pings: list[Ping] = []
        self.keys: list[str] = []
        self.opened: list[float] = []
        self.closed: list[float] = []
        self.errors: list[str] = []
        self.answer = Answer()
        self.closes_at_once = False  # accept, and close without having read
        self.changed = threading.Condition()
        self._transports: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="test server", daemon=True)
        self._listener: socket.socket | None = None
        self._kept: socket.socket | None = None  # keeps the port while nobody listens at it
        self._accepting: asyncio.Task[None] | None = None
        self._openings: set[asyncio.Task[None]] = set()

    # -- its life

    def start(self) -> Server:
        self._thread.start()
        self.listen()
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._call(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONG_S)
        assert not self._thread.is_alive(), "the test server does not end"

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        scheme = {"sermant": "tcp", "udp": "udp", "http": "https" if self.tls else "http"}[self.kind]
        return f"{scheme}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many were ever accepted."""
        return len(self.opened)

    @property
    def open_connections(self) -> int:
        return len(self.opened) - len(self.closed)

    def wait_for(self, predicate: Callable[[], T], deadline: float = LONG_S) -> T:
        """Waits until predicate(), looked at after each change, is true, and returns that; at most `deadline` s."""
        end = time.monotonic() + deadline
        with self.changed:
            while not (value := predicate()):
                left = end - time.monotonic()
                assert left > 0, f"it did not come about in {deadline} s; {self}"
                self.changed.wait(min(left, 0.05))  # a predicate may look at the agent, too
            return value

    def __repr__(self) -> str:
        return (
            f"<Server {self.url}: {len(self.beats)} beats, {len(self.goodbyes)} goodbyes, "
            f"{len(self.requests)} requests, {self.connections} connections, {self.open_connections} open, "
            f"errors {self.errors}>"
        )

    # -- its misbehaviour

    def listen(self) -> None:
        """Takes connections: at the start; and again, at the same port, after `refuse` or `stop_accepting`."""
        self._call(self._listen)

    def refuse(self) -> None:
        """No longer listens: who connects is refused. Connections there are stay."""
        self._call(self._refuse)

    def stop_accepting(self) -> None:
        """Listens, but does not accept: who connects is connected by the kernel, and nobody reads what it writes."""
        self._call(self._stop_accepting)

    def drop_connections(self, *, reset: bool = False) -> None:
        """Closes all there are; by RST if `reset`."""
        self._call(self._drop, reset)

    def pause_reading(self) -> None:
        """Reads nothing more from connections there are, so that their buffers fill."""
        self._call(lambda: [transport.pause_reading() for transport in self._transports])

    def resume_reading(self) -> None:
        self._call(lambda: [transport.resume_reading() for transport in self._transports])

    def say(self, data: bytes) -> None:
        """Writes to all connections."""
        self._call(lambda: [transport.write(data) for transport in self._transports])

    # -- on the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        async def run() -> None:
            done = function(*arguments)
            if asyncio.iscoroutine(done):
                await done

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(LONG_S)

    async def _listen(self) -> None:
        if self._listener is None:
            kind = socket.SOCK_DGRAM if self.kind == "udp" else socket.SOCK_STREAM
            listener = socket.socket(socket.AF_INET, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if kind == socket.SOCK_DGRAM:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            listener.bind((self.host, self.port))
            self.port = listener.getsockname()[1]
            if self._kept is None and sys.platform == "linux":  # elsewhere SO_REUSEADDR means something else
                self._kept = self._keep_port(kind)
            if kind == socket.SOCK_STREAM:
                listener.listen(1024)
            listener.setblocking(False)
            self._listener = listener
        if self._accepting is None:
            take = self._datagrams if self.kind == "udp" else self._accept
            self._accepting = self._loop.create_task(take(self._listener))

    def _keep_port(self, kind: socket.SocketKind) -> socket.socket:
        """A socket at the server's port that takes nothing: who connects is refused, and nobody else gets the port."""
        kept = socket.socket(socket.AF_INET, kind)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((self.host, self.port))
        if kind == socket.SOCK_DGRAM:
            kept.connect((self.host, 1))  # now it takes datagrams of that port alone
        return kept

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
            self._accepting = None

    async def _refuse(self) -> None:
        await self._stop_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _drop(self, reset: bool = False) -> None:
        if self.tls is None:  # a handshake may hang
            await asyncio.gather(*self._openings)
        dropped = set(self._transports)
        for transport in dropped:
            if reset:
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        while dropped & self._transports:
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        await self._refuse()
        for task in list(self._openings):
            task.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        await self._drop()
        if self._kept is not None:
            self._kept.close()
        await self._loop.shutdown_default_executor()

    async def _accept(self, listener: socket.socket) -> None:
        # Not sock_accept: cancelled at the wrong moment, it loses a connection that it has accepted.
        readable = asyncio.Event()
        self._loop.add_reader(listener, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                with contextlib.suppress(BlockingIOError):
                    self._take_connection(listener.accept()[0])
        finally:
            self._loop.remove_reader(listener)

    def _take_connection(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.take(("opened", time.monotonic()))
        if self.closes_at_once:
            connection.close()
            self.take(("closed", time.monotonic()))
            return
        task = self._loop.create_task(self._open(connection))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _open(self, connection: socket.socket) -> None:
        make = HttpConnection if self.kind == "http" else SermantConnection
        try:
            await self._loop.connect_accepted_socket(lambda: make(self), connection, ssl=self.tls)
        except (OSError, ssl.SSLError):  # a handshake that failed is the agent's to tell
            connection.close()
            self.take(("closed", time.monotonic()))
        except asyncio.CancelledError:
            connection.close()
            raise

    async def _datagrams(self, receiver: socket.socket) -> None:
        while True:
            data = await self._loop.sock_recv(receiver, 65536)
            if data.startswith(b"Bearer "):
                line, _, data = data.partition(b"\n")
                self.take(("tokens", line[len(b"Bearer ") :].decode()))
            if data[:1] in (b"{", b"\x1f", b"["):
                self.beat(data)
            else:
                self.take(*(("keys", key) for key in data.decode().splitlines() if key))

    # -- what connections call

    def take(self, *updates: tuple[str, Any]) -> None:
        """(name of a list, item) each."""
        with self.changed:
            for list_name, item in updates:
                getattr(self, list_name).append(item)
            self.changed.notify_all()

    def beat(self, data: bytes, list_name: str = "") -> None:
        """A beat's or goodbye's JSON, or a batch of beats; packed or not."""
        try:
            text = unpack(data, 16 << 20) if data[:2] == b"\x1f\x8b" else data
            read = json.loads(text)
        except (FrameError, ValueError) as error:
            self.take(("errors", f"{error}: {data[:100]!r}"))
            return
        updates = []
        for one in read if isinstance(read, list) else [read]:
            if list_name or one.get("goodbye") is True:
                updates.append((list_name or "goodbyes", one))
            else:
                updates += [("arrivals", time.monotonic()), ("beats", one)]
        self.take(*updates)

    def opened_one(self, transport: asyncio.Transport) -> None:
        self._transports.add(transport)

    def closed_one(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)
        self.take(("closed", time.monotonic()))
