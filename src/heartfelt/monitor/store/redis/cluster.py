# SPDX-License-Identifier: MIT
"""Finds the server of a Redis Cluster that has a shard. Imports redis."""

from __future__ import annotations

import binascii
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.redis.address import RedisAddress
from heartfelt.monitor.store.redis.dial import Dialer
from heartfelt.monitor.store.redis.link import FLEET, Unreachable
from heartfelt.monitor.store.redis.node import FAILURES, Node, Pipe
from heartfelt.monitor.store.redis.refusals import NotExecuted, address_of, why
from heartfelt.monitor.store.redis.topology import Destination

log = logging.getLogger("heartfelt.redis")

SLOTS = 16384
TRY_AGAIN_S = 0.02
FRESH_S = 0.05
"""For how long the map is not read again because of a CLUSTERDOWN: each shard of a batch gets one."""
Place = tuple[str, int]


def slot_of(shard: int) -> int:
    """Returns the slot of all keys of a shard, whose hash tag is {n}, or {f} for FLEET."""
    tag = b"f" if shard == FLEET else b"%d" % shard
    return binascii.crc_hqx(tag, 0) % SLOTS


class Cluster:
    """Takes the map of slots from a server that says `cluster_state:ok`: one that was cut off from most of the others
    does not. MOVED corrects one slot at once, and has the map read again."""

    def __init__(self, address: RedisAddress, dialer: Dialer, wake: Callable[[], None]) -> None:
        self._address = address
        self._dialer = dialer
        self._wake = wake
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._nodes: dict[Place, Node] = {}
        self._slots: list[Node | None] = [None] * SLOTS
        self._reads = 0
        self._asked_s = float("-inf")
        self._error: str | None = None
        self._closed = False
        self._outage = OutageLog(log, "the servers of the Redis Cluster tell again which of them has what")

    def target(self, shard: int) -> Destination:
        node = self._slots[slot_of(shard)]
        if node is None and self._reads == 0 and self._error is None:
            self.refresh(first=True)
            node = self._slots[slot_of(shard)]
        if node is None:
            error = self._error or f"no server of the Redis Cluster has the slot {slot_of(shard)}; see CLUSTER SLOTS"
            raise Unreachable(error, refused=True)
        return Destination(node)

    def again(self, shard: int, refusal: NotExecuted, target: Destination) -> Destination | None:
        code, slot = refusal.code, slot_of(shard)
        if code == "NOSCRIPT":
            return target
        if code == "TRYAGAIN":
            time.sleep(TRY_AGAIN_S)  # until one more key of the slot was moved
            return target
        if code in ("MOVED", "ASK"):
            found = self._node(address_of(refusal.error, (target.node.host, target.node.port)))
            if code == "ASK":
                return Destination(found, asking=True)
            with self._lock:
                self._slots[slot] = found
            self._wake()
            return Destination(found)
        if code in ("CLUSTERDOWN", "READONLY", "MASTERDOWN"):
            if time.monotonic() - self._asked_s > FRESH_S:
                try:
                    self.refresh(not_from=target.node)
                except Unreachable:
                    return None
            now = self._slots[slot]
            return None if now is None or now is target.node else Destination(now)
        return None

    def nodes(self) -> list[Node]:
        """Returns the servers that have slots."""
        with self._lock:
            return list(dict.fromkeys(node for node in self._slots if node is not None))

    def trouble(self) -> str | None:
        return self._error

    def refresh(self, not_from: Node | None = None, *, first: bool = False, probe: bool = False) -> None:
        """Reads the map. not_from: a server that is asked last. first: does nothing if it has been read. probe: servers
        that were down are tried, too."""
        with self._refreshing:
            if first and self._reads:
                return
            self._asked_s = time.monotonic()
            errors, second = [], None
            for node in self._to_ask(not_from):
                try:
                    if probe and not node.is_up:
                        node.check()
                    pipe = node.take()
                except Unreachable as error:
                    errors.append(str(error))
                    continue
                try:
                    is_ok, slots = self._ask(pipe, node)
                except FAILURES as error:
                    node.lost(pipe, error)
                    errors.append(f"{node.name}: {why(error)}")
                    continue
                node.give(pipe)
                if is_ok:
                    self._take(slots)
                    return
                second = second or slots
                errors.append(f"{node.name}: the cluster is down (cluster_state)")
            self._failed(errors)
            if second is not None and self._reads == 0:
                self._take(second, is_ok=False)
            else:
                raise Unreachable(str(self._error), refused=True)

    def _failed(self, errors: list[str]) -> None:
        text = f"no server of the Redis Cluster says which of them has what ({'; '.join(errors)})"
        with self._lock:
            self._error = text
            self._outage.failed(text)
        self._wake()

    def _to_ask(self, not_from: Node | None) -> Iterator[Node]:
        """Yields servers to ask: those in use, then those of the URL that are not; servers that are down the last."""
        with self._lock:
            known = list(self._nodes.values())
        known.sort(key=lambda node: (node is not_from, not node.is_up))
        yield from known
        for one in self._address.hosts:
            if one not in self._nodes:
                yield self._node(one)

    def _ask(self, pipe: Pipe, node: Node) -> tuple[bool, list[tuple[int, int, Place]]]:
        """Returns whether the cluster works, as a server sees it, and the primaries of ranges of slots. Raises one of
        FAILURES."""
        info, reply = pipe.ask(("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
        try:
            slots = [(int(first), int(last), primary[0], int(primary[1])) for first, last, primary, *_ in reply]
            is_ok = b"cluster_state:ok" in info
        except (TypeError, ValueError, IndexError):
            raise StoreError("its answer to CLUSTER SLOTS is not understood") from None
        if any(host == b"?" for _, _, host, _ in slots):
            raise StoreError("the servers do not know their own host names (cluster-announce-hostname)")
        # no host: that of the server which was asked
        return is_ok, [(first, last, (_text(host) or node.host, port)) for first, last, host, port in slots]

    def _take(self, slots: list[tuple[int, int, Place]], *, is_ok: bool = True) -> None:
        """Makes this the map, and forgets servers that have no slots."""
        made: list[Node | None] = [None] * SLOTS
        for first, last, where in slots:
            made[first : last + 1] = [self._node(where)] * (last + 1 - first)
        used = {where for _, _, where in slots}
        with self._lock:
            self._slots = made
            self._reads += 1
            gone = [self._nodes.pop(where) for where in [*self._nodes] if where not in used]
            if is_ok:
                self._error = None
                self._outage.worked()
        for node in gone:
            if not node.is_up:
                log.warning("Redis at %s is not used any more: it has no slots", node.name)
            node.close()

    def _node(self, where: Place) -> Node:
        with self._lock:
            if where not in self._nodes:
                self._nodes[where] = Node(*where, lambda: self._dial(*where), self._wake)
                if self._closed:
                    self._nodes[where].close()
            return self._nodes[where]

    def _dial(self, host: str, port: int) -> Any:
        return self._dialer.server(host, port)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            nodes = list(self._nodes.values())
        for node in nodes:
            node.close()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
