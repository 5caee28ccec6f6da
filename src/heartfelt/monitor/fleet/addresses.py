# SPDX-License-Identifier: MIT
"""Notices that the beats of one instance come from several addresses, as with a cloned machine or a copied crontab.

Then one of the senders may stop while the other keeps the instance UP. An address that comes back after a few beats
from others is the sign (A, B, A). A single move to another address is none, nor is a return after a while, as with a
laptop. Only beats from another address than the last one come here, and what is known of an instance is forgotten
two timeouts after its last change of address.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from heartfelt.monitor.fleet import own_events
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.model import AgentEvent, State
from heartfelt.monitor.peer import plain_address

MOST = 8
"""Addresses that are kept of an instance; a further one replaces the one that was heard least recently. Also the number
of beats within which an address must come back."""
TOLD_EVERY_MS = 3_600_000
"""An instance is reported once in this time at most, even if its addresses begin to alternate several times."""
BURST, REFILL_MS = 20, 30_000
"""Events at once, and the time until another one may follow: a proxy that balances may be in front of the monitor."""
MOST_TOLD = 10_000


class _Heard(msgspec.Struct):
    at_ms: dict[str, float]
    """When each address was last heard, by the registry's clock."""
    at_beat: dict[str, int]
    """The number of that beat, among all of the instance."""
    is_many: bool = False
    """There were more than are kept."""


class Addresses:
    """Belongs to the loop's thread."""

    def __init__(self, book: Book, timers: Timers, now_ms: Callable[[], float], wall_ms: Callable[[], int]) -> None:
        self._book = book
        self._timers = timers
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._heard: dict[int, _Heard] = {}
        self._told_ms: dict[int, float] = {}
        self._tokens, self._filled_ms = float(BURST), now_ms()
        self.marked: set[int] = set()
        """Instances whose beats come from several addresses."""
        self.untold = 0
        """Events that were left out because there were too many."""

    def move(self, instance: Instance, peer: str) -> None:
        """Takes the address of a beat that is counted already, if the beat before came from another one."""
        before, address = plain_address(instance.peer), plain_address(peer)
        self._book.set_peer(instance, peer)
        if before == address or not before:
            return
        now_ms, span_ms = self._now_ms(), 2 * instance.lease_ms
        heard = self._heard.get(instance.id)
        if heard is None:
            heard = self._heard[instance.id] = _Heard({}, {})
        is_back = address in heard.at_beat and instance.beats - heard.at_beat[address] <= MOST
        heard.at_ms[before] = now_ms - instance.gap_at(instance.beats - 1)[0] * 10
        heard.at_beat[before] = instance.beats - 1
        heard.at_ms[address], heard.at_beat[address] = now_ms, instance.beats
        self._drop_silent(instance, heard, now_ms - span_ms)
        if len(heard.at_ms) > MOST:
            heard.is_many = True
            oldest = min(heard.at_ms, key=heard.at_ms.__getitem__)
            del heard.at_ms[oldest], heard.at_beat[oldest]
        self._timers.set(self._timers.cache, str(instance.id), span_ms)
        if instance.addresses or is_back:
            self._mark(instance, heard)

    def quiet(self, id: int) -> None:
        """Handles that no beat came from another address for two timeouts."""
        heard = self._heard.pop(id, None)
        instance = self._book.by_id.get(id)
        self.marked.discard(id)
        if heard is None or instance is None or not instance.addresses:
            return
        instance.addresses = ()
        goes_on = instance.id in self._timers.lease and instance.state is not State.PAUSED
        if not goes_on or heard.is_many:
            return
        now_ms, last = self._now_ms(), plain_address(instance.peer)
        for address, at_ms in heard.at_ms.items():
            if address != last:
                self._stopped(instance, address, now_ms - at_ms, (last,))

    def _drop_silent(self, instance: Instance, heard: _Heard, since_ms: float) -> None:
        silent = {address: at_ms for address, at_ms in heard.at_ms.items() if at_ms < since_ms}
        for address in silent:
            del heard.at_ms[address], heard.at_beat[address]
        if instance.addresses and not heard.is_many:  # no single one of many is expected to come back
            for address, at_ms in silent.items():
                self._stopped(instance, address, self._now_ms() - at_ms, tuple(heard.at_ms))

    def _mark(self, instance: Instance, heard: _Heard) -> None:
        is_new = not instance.addresses
        instance.addresses = tuple(heard.at_ms)
        if not is_new:
            return
        self.marked.add(instance.id)
        now_ms = self._now_ms()
        told_ms = self._told_ms.pop(instance.id, None)
        if told_ms is not None and now_ms - told_ms < TOLD_EVERY_MS:
            self._told_ms[instance.id] = told_ms
            self.untold += 1
            return
        if self._tell(own_events.addresses(instance, self._wall_ms(), is_many=heard.is_many)):
            if len(self._told_ms) >= MOST_TOLD:
                del self._told_ms[next(iter(self._told_ms))]
            self._told_ms[instance.id] = now_ms

    def _stopped(self, instance: Instance, address: str, silent_ms: float, others: tuple[str, ...]) -> None:
        self._tell(own_events.address_stopped(instance, self._wall_ms(), address, silent_ms, others))

    def _tell(self, event: AgentEvent) -> bool:
        now_ms = self._now_ms()
        self._tokens = min(BURST, self._tokens + (now_ms - self._filled_ms) / REFILL_MS)
        self._filled_ms = now_ms
        if self._tokens < 1:
            self.untold += 1
            return False
        self._tokens -= 1
        self._book.publish(self._book.on_event, event)
        return True

    def stats(self) -> dict[str, int]:
        return {"shared": len(self.marked), "address_events_left_out": self.untold}
