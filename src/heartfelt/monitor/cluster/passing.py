# SPDX-License-Identifier: MIT
"""Passes on what this monitor hears while it cannot renew its leases: others take its instances over, and its agents do
not know. Another monitor, to which there is a connection, finds out whose the beats are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from heartfelt.monitor.cluster.channel.frames import Input
from heartfelt.monitor.cluster.channel.peers import Peers
from heartfelt.monitor.fleet.owners import Name, Raw
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.ingest.raws import plain_raw
from heartfelt.monitor.store.redis.answers import Renewal
from heartfelt.monitor.store.redis.keys import Keys

__all__ = ["PASSED_ON", "Passing"]

PASSED_ON = "passed on"
"""The kind of an input that is passed on."""
AT_ONCE = 1000
"""Instances in one step."""
_encode = msgspec.msgpack.Encoder().encode


class Passing:
    """Belongs to the loop's thread. Call `attach` before anything else."""

    def __init__(
        self,
        keys: Keys,
        lease_s: float,
        *,
        wall_ms: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = range(keys.shards)
        self._lease_s = lease_s
        self._wall_ms, self._now_s = wall_ms, now_s
        self._sure_until_s = [0.0] * keys.shards
        """Until when this monitor's lease certainly lasts, by shard."""
        self._ends_s = 0.0
        """When the first of them ends."""
        self._renewed_s = 0.0
        """When the last renewal that succeeded was asked for."""
        self._was_out = False
        self._unsure = set(self._shards)
        self._waiting: dict[int, int] = {}
        """Last beats that are to be passed on, by instance."""
        self._passed_s: dict[int, float] = {}
        """When a beat of an instance was passed on last."""
        self._names: dict[Name, float] = {}
        """Names of which Redis cannot be asked, and when the beats were heard that were passed on last."""
        self.on_names: Callable[[], None] = lambda: None
        """Called when there are names to be passed on: `step` must be called soon."""

    def attach(self, registry: Registry, foreign: Foreign, peers: Peers, passed: Callable[[], None]) -> None:
        """passed: called for each beat that was passed on."""
        self._registry, self._foreign, self._peers, self._passed = registry, foreign, peers, passed

    def renewed(self, renewal: Renewal) -> bool:
        """Notes a renewal. Returns whether Redis could not be reached before it, for so long that others may have had
        the same trouble."""
        for shard in renewal.renewed:
            self._sure_until_s[shard] = renewal.asked_s + self._lease_s
        self._ends_s = min(self._sure_until_s)
        was_out = self._was_out or 0 < self._renewed_s < renewal.asked_s - self._lease_s / 2
        if renewal.renewed:
            self._renewed_s = renewal.asked_s
        self._was_out = bool(renewal.unreachable)
        return was_out

    def calm_s(self) -> float:
        """Returns for how long there is nothing to be passed on, unless a lease is renewed; 0: there may be now."""
        return 0.0 if self._unsure or self._names else max(0.0, self._ends_s - self._now_s())

    @property
    def is_unsure(self) -> bool:
        """Whether this monitor may have no lease of some shard: what it hears of its instances is passed on."""
        return bool(self._unsure)

    def renewed_lately(self) -> bool:
        return self._now_s() - self._renewed_s <= self._lease_s / 2

    def heard(self, last_beat_ms: dict[int, int]) -> None:
        """Notes beats of own instances."""
        if self._unsure:
            self._waiting.update(last_beat_ms)

    def step(self) -> None:
        """Passes on what waits. When a lease has ended, that is all that was heard lately: what was written of it last
        may not have arrived. Every 100 ms."""
        now_s = self._now_s()
        if now_s < self._ends_s and not self._unsure and not self._names:
            return
        unsure = {shard for shard in self._shards if now_s >= self._sure_until_s[shard]}
        if new := unsure - self._unsure:
            self._waiting.update((one.id, one.last_beat_ms) for one in self._registry.instances()
                                 if Keys.shard_of_id(one.id) in new)  # fmt: skip
        self._unsure = unsure
        if self._names:
            self._send_names()
        if not unsure:
            self._waiting.clear()
            self._passed_s.clear()
        elif self._waiting:
            self._send(now_s)

    def _send(self, now_s: float) -> None:
        peer = self._peer()
        if peer is None:
            return
        wall_ms, now_ms = self._wall_ms(), time.monotonic_ns() // 1_000_000
        for id in list(islice(self._waiting, AT_ONCE)):
            beat_ms = self._waiting.pop(id)
            age_ms = max(wall_ms - beat_ms, 0)
            instance = self._registry.get(id)
            if instance is None or Keys.shard_of_id(id) not in self._unsure or age_ms >= instance.lease_ms:
                continue
            if now_s - self._passed_s.get(id, -math.inf) < instance.lease_ms / 4000:
                self._waiting[id] = beat_ms
            elif self._pass(peer, plain_raw(instance), now_ms - age_ms):
                self._passed_s[id] = now_s
            else:  # there is no room
                self._waiting[id] = beat_ms
                return

    def names(self, names: Iterable[Name]) -> None:
        """Passes on what is heard of names that are not known here, and of which Redis cannot be asked, until
        `names_answered`."""
        for name in names:
            self._names.setdefault(name, -math.inf)
        self.on_names()

    def _send_names(self) -> None:
        peer = self._peer()
        if peer is None:
            return
        now_ms = time.monotonic_ns() // 1_000_000
        for name in list(islice(self._names, AT_ONCE)):
            passed_ms = self._names.pop(name)
            if name not in self._foreign.pending:
                continue
            raw = self._foreign.waiting(name)
            if raw is not None and raw.heard_ms != passed_ms:
                if not self._pass(peer, raw, now_ms - raw.age_ms):
                    self._names[name] = passed_ms
                    return
                passed_ms = raw.heard_ms
            self._names[name] = passed_ms  # at the end: the others have their turn

    def names_answered(self) -> None:
        """Redis can be asked again."""
        self._names.clear()

    def _peer(self) -> str | None:
        return min(self._peers.connected, default=None)

    def _pass(self, peer: str, raw: Raw, heard_ms: int) -> bool:
        done = self._peers.forward_input(peer, Input(PASSED_ON, _encode(raw), raw.via, raw.peer, heard_ms))
        if done:
            self._passed()
        return done
