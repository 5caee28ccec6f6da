# SPDX-License-Identifier: MIT
"""Finds the server that has a shard: one server, or the primary that Sentinels name. Imports redis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from heartfelt.errors import StoreError
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.redis.address import RedisAddress, place
from heartfelt.monitor.store.redis.dial import Dialer
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.node import FAILURES, Node, Pipe
from heartfelt.monitor.store.redis.refusals import NotExecuted, why

log = logging.getLogger("heartfelt.redis")


SILENT_S = 10.0
"""For how long a Sentinel that has failed is not asked while another answers: one that is cut off costs a time-out."""


class Destination(NamedTuple):
    """The server for a shard's commands; `asking`: each is preceded by ASKING, as a move of the slot demands."""

    node: Node
    asking: bool = False


class Topology(Protocol):
    """Any thread may call it, `refresh` one at a time."""

    def target(self, shard: int) -> Destination:
        """Returns from memory which server has a shard. Raises Unreachable, with `refused`, if that is not known."""

    def again(self, shard: int, refusal: NotExecuted, target: Destination) -> Destination | None:
        """Returns where to repeat what this server has refused; None: there is no use in that now."""

    def refresh(self, *, probe: bool = False) -> None:
        """Asks which server has what; blocks. probe: asks those, too, that were down. Raises Unreachable."""

    def nodes(self) -> list[Node]: ...
    def trouble(self) -> str | None:
        """Returns why it is not known which server has what; None: it is."""

    def close(self) -> None: ...


class Single:
    def __init__(self, address: RedisAddress, dialer: Dialer, wake: Callable[[], None]) -> None:
        host, port = (address.path, 0) if address.path is not None else address.hosts[0]
        self._node = Node(host, port, lambda: dialer.server(host, port), wake)

    def target(self, shard: int) -> Destination:
        return Destination(self._node)

    def again(self, shard: int, refusal: NotExecuted, target: Destination) -> Destination | None:
        return target if refusal.code == "NOSCRIPT" else None

    def refresh(self, *, probe: bool = False) -> None:
        """Does nothing: there is only one server."""

    def nodes(self) -> list[Node]:
        return [self._node]

    def trouble(self) -> str | None:
        return None

    def close(self) -> None:
        self._node.close()


class Demoted(StoreError):
    """The server is no primary."""


class Sentinel:
    """Asks all Sentinels, and believes the one whose configuration is the newest (its config-epoch).

    So a Sentinel that was cut off from the others cannot lead back to a primary that was replaced. Each new connection
    to a primary checks its ROLE; a server that answers READONLY is not used until it is a primary again.
    """

    def __init__(self, address: RedisAddress, dialer: Dialer, wake: Callable[[], None]) -> None:
        self._address = address
        self._dialer = dialer
        self._wake = wake
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._pipes: dict[tuple[str, int], Pipe] = {}
        self._silent_until_s: dict[tuple[str, int], float] = {}
        self._node: Node | None = None
        self._epoch = -1
        self._error: str | None = None
        self._closed = False
        self._outage = OutageLog(log, f"the Sentinels of {address.service} name a primary again")

    def target(self, shard: int) -> Destination:
        if self._node is None and self._error is None:
            self.refresh()
        if (node := self._node) is None:
            raise Unreachable(str(self._error), refused=True)
        return Destination(node)

    def again(self, shard: int, refusal: NotExecuted, target: Destination) -> Destination | None:
        if refusal.code in ("READONLY", "MASTERDOWN"):
            target.node.fail("it is a replica now; the Sentinels are asked for the primary")
        return target if refusal.code == "NOSCRIPT" else None

    def nodes(self) -> list[Node]:
        node = self._node
        return [] if node is None else [node]

    def trouble(self) -> str | None:
        return self._error

    def refresh(self, *, probe: bool = False) -> None:
        with self._refreshing:
            found: list[tuple[int, str, int]] = []
            errors = []
            now_s = time.monotonic()
            for sentinel in sorted(self._address.hosts, key=lambda one: self._silent_until_s.get(one, 0.0)):
                if found and self._silent_until_s.get(sentinel, 0.0) > now_s:
                    continue
                try:
                    found.append(self._ask(sentinel))
                    self._silent_until_s.pop(sentinel, None)
                except FAILURES as error:
                    errors.append(f"{place(*sentinel)}: {why(error)}")
                    self._silent_until_s[sentinel] = time.monotonic() + SILENT_S
            if not found:
                self._error = f"no Sentinel names a primary of {self._address.service} ({'; '.join(errors)})"
                with self._lock:
                    self._outage.failed(self._error)
                self._wake()
                raise Unreachable(self._error, refused=True)
            self._error = None
            with self._lock:
                self._outage.worked()
            self._choose(*max(found))

    def _choose(self, epoch: int, host: str, port: int) -> None:
        with self._lock:
            node = self._node
            if self._closed or (node is not None and (node.host, node.port) == (host, port)):
                self._epoch = max(self._epoch, epoch)
                return
            if node is not None and node.is_up and epoch < self._epoch:
                return  # told by a Sentinel that knows less than the one which named the present primary
            self._node = Node(host, port, lambda: self._dial(host, port), self._wake)
            self._epoch = epoch
        if node is not None:
            log.warning("the primary of %s is now %s; it was %s", self._address.service, place(host, port), node.name)
            node.close()

    def _ask(self, sentinel: tuple[str, int]) -> tuple[int, str, int]:
        """Returns the config-epoch, host and port of the primary, as a Sentinel knows them. Raises one of FAILURES."""
        pipe = self._pipes.pop(sentinel, None)
        if pipe is None or pipe.is_stale():
            if pipe is not None:
                pipe.close()
            pipe = Pipe(self._dialer.sentinel(*sentinel))
        try:
            (reply,) = pipe.ask(("SENTINEL", "MASTER", self._address.service))
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            found = int(facts[b"config-epoch"]), facts[b"ip"].decode(), int(facts[b"port"])
        except (KeyError, TypeError, AttributeError):
            pipe.close()
            raise StoreError("its answer to SENTINEL MASTER is not understood") from None
        except BaseException:
            pipe.close()
            raise
        self._pipes[sentinel] = pipe
        return found

    def _dial(self, host: str, port: int) -> Any:
        """Connects to the primary. Raises Demoted if it is none."""
        connection = self._dialer.server(host, port)
        try:
            (role,) = Pipe(connection).ask(("ROLE",))
            if role[0] != b"master":
                raise Demoted("it is a replica; the Sentinels have not named another primary yet")
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            node = self._node
        if node is not None:
            node.close()
        with self._refreshing:
            for pipe in self._pipes.values():
                pipe.close()
            self._pipes.clear()
