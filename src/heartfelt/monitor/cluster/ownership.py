# SPDX-License-Identifier: MIT
"""Asks Redis for the registry whose instances are, takes over, and lets go. `forwarding.py` carries the beats.

Questions are gathered for GATHER_S and asked many at a time; the writer's thread asks Redis. What this monitor may take
over, and what became of what it had, comes with the renewal of its leases, or from the monitor that has taken it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster.away import AwayOwners, Looked
from heartfelt.monitor.cluster.catching_up import CatchingUp
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.emptied import LOOK_S as RESTORE_S
from heartfelt.monitor.cluster.emptied import Emptied
from heartfelt.monitor.cluster.forwarding import Forwarding
from heartfelt.monitor.cluster.passing import Passing
from heartfelt.monitor.cluster.questions import AGAIN_S, OwnerQuestions
from heartfelt.monitor.fleet.owners import Loss, Name, run_number
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.store.redis.answers import Owned, Renewal
from heartfelt.monitor.store.redis.keys import Entry, Keys, name_of, parts_of
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.link import Link, Unreachable
from heartfelt.monitor.store.redis.looking import Foreigner
from heartfelt.monitor.store.redis.outcomes import Recorded, WriteRefusal
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within

FORWARD_S = 0.1
"""How often beats are forwarded at least: all that was heard since the last time, at once."""
LOOK_S = 0.1
"""How often it is looked for instances of owners that cannot be reached from here."""
LEAST_PAUSE_S = 0.01
IDLE_S = 1.0
"""How often both are done while nothing of another monitor's instances is heard here."""
SWEEP_S = 1.0
COMPARE_S = 5.0
PAGES_AT_ONCE = 16
END_S = 1.0
HAND_OVER_S = 1.0
"""How long each step of the hand-over at the stop may take."""
FIGURES: Figures = {
    "asked": counter("heartfelt_ownership_asked", "Names of which Redis was asked who owns them"),
    "moves": counter("heartfelt_ownership_moves", "Instances that were taken over since they beat to this monitor"),
    "moves_unasked": counter(
        "heartfelt_ownership_moves_unasked",
        "Instances of which their owner was not asked before they were taken over, since it could not be reached",
    ),
    "adopted": counter("heartfelt_ownership_adopted", "Instances that were taken over from monitors without a lease"),
    "disowned": counter("heartfelt_ownership_disowned", "Instances that other monitors have taken over"),
    "unanswered": counter("heartfelt_ownership_unanswered", "Questions that Redis could not answer; they are repeated"),
    "astray": counter(
        "heartfelt_ownership_astray", "Instances that this monitor had and did not own, or owned and did not have"
    ),
    "faults": counter("heartfelt_ownership_faults", "Exceptions in the work on ownership"),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class Ownership:
    """Implements fleet.owners.Owners, and the store's Listener. Belongs to the loop's thread. Call `attach` once the
    registry and its ingests are made, and `start` once the store is open and the channel listens.

    number: this monitor's place among all incarnations, for the numbers of runs. accepted: called with the changes that
    Redis has accepted. lease_ms_of: returns the timeout of an instance by its row.
    """

    def __init__(
        self,
        *,
        settle_s: float,
        comeback_s: float,
        lease_s: float,
        link: Link,
        keys: Keys,
        lease_ms_of: Callable[[InstanceRow], int],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settle_ms = settle_s * 1000
        self.forward_s = min(FORWARD_S, settle_s / 2)
        """How often beats are forwarded: the rest of `settle` is for the way to their owner."""
        self.comeback_ms = comeback_s * 1000
        self._lease_ms_of = lease_ms_of
        self._now_s = now_s
        self._link = link
        self._keys = keys
        self._wall_ms = wall_ms
        self._passing = Passing(keys, lease_s, wall_ms=wall_ms, now_s=now_s)
        self.forwarding = Forwarding(self, self._passing)
        self._living: frozenset[str] = frozenset()
        self._strays: set[int] = set()
        self._missing: dict[bytes, Entry] = {}
        self._orphaned = TimedEvent()
        self._hears, self._looks = TimedEvent(), TimedEvent()
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self._taking: set[asyncio.Task[None]] = set()
        self._run = 0
        self.number = 0
        self.counts = dict.fromkeys(FIGURES, 0)
        self.collect_beats: Callable[[], None] = lambda: None
        """Has the last beats put now that were heard since the last time."""
        self.on_accepted: list[Callable[[Sequence[Any]], None]] = []

    def attach(self, registry: Registry, foreign: Foreign, store: RedisStore, channel: Channel) -> None:
        self._registry, self._foreign, self._store, self._channel = registry, foreign, store, channel
        self.forwarding.attach(registry, foreign, channel)
        self.forwarding.on_unsaid = self._passing.on_names = self._hears.set
        foreign.shadows.on_first = self._hears_others
        self._away = AwayOwners(channel.peers, foreign.shadows, self._now_s, self._wall_ms)
        self.emptied = Emptied(registry, store, registry.owned.asking.ask_again)  # type: ignore[union-attr]
        self.forwarding.is_away = self._away.is_away
        self.forwarding.on_forward = self._away.heard
        self._questions = OwnerQuestions(
            registry, foreign, store, channel.peers, self._link, self._away, self._passing, self.forwarding.tell_moved,
            self.counts,
        )  # fmt: skip
        self._questions.on_urgent = self._hears.set
        self._catching_up = CatchingUp(channel, self._questions.lose, self._catch_up, self._now_s)

    @property
    def _leases(self) -> Leases:
        return self._store.leases

    def start(self, adopt_every_s: float) -> None:
        self._running = True
        self._tasks = [
            asyncio.create_task(self._questions.work(), name="questions about ownership"),
            asyncio.create_task(self._repeat(self._forward_in_s, self._forward, self._hears), name="forwarding"),
            asyncio.create_task(self._repeat(lambda: adopt_every_s, self._adopt, self._orphaned), name="taking over"),
            asyncio.create_task(self._repeat(self._look_in_s, self._look_away, self._looks), name="owners away"),
            asyncio.create_task(
                self._repeat(lambda: RESTORE_S, self.emptied.step, self.emptied.wake), name="what Redis has lost"
            ),
            asyncio.create_task(self._repeat(lambda: SWEEP_S, self._sweep), name="sweep of shadows"),
            asyncio.create_task(self._repeat(lambda: COMPARE_S, self._compare), name="comparison of what is owned"),
        ]

    stop_s = END_S + 5 * HAND_OVER_S

    async def stop(self) -> int:
        """Hands over what was heard, and gives up the leases, so that the others adopt at once. Returns how many tasks
        did not end within END_S."""
        if not self._tasks:
            return 0
        self._running = False
        self._catching_up.end()
        self._questions.end()
        self._orphaned.set()
        tasks, self._tasks = [*self._tasks, *self._taking], []
        left = len(await end_tasks(tasks, seconds=END_S))
        for name, step in (
            ("ask whose is what it has heard", self._questions.ask_last),
            ("forward what it has heard", self._drain),
            ("write again what Redis has lost", self.emptied.restore),
            ("give up its leases, which end by themselves", self._give_up),
            ("close its port", self._channel.close_port),
        ):
            try:
                await within(HAND_OVER_S, step())
            except (StoreError, asyncio.TimeoutError) as error:
                _logger.warning("this monitor could not %s: %s", name, error or "it took too long")
            except Exception:
                self.counts["faults"] += 1
                _logger.exception("this monitor could not %s", name)
        self.forwarding.tell_left()
        return left

    async def _drain(self) -> None:
        self.forwarding.send()
        if not await self._channel.peers.drain(HAND_OVER_S * 0.9, reachable=True):
            raise asyncio.TimeoutError("the others did not acknowledge it")

    async def _give_up(self) -> None:
        if beats := self._registry.dirty_beats():
            self.put_beats(beats)
        await self._store.give_up()

    # -- asked by the registry and its ingests

    def unknown(self, name: Name, *, joins: bool) -> None:
        self._questions.unknown(name, joins=joins)

    def lose(self, loss: Loss) -> None:
        self._catching_up.wait(loss)

    def next_run(self) -> int:
        self._run = run_number(self._run, self._wall_ms(), self.number)
        return self._run

    # -- what the renewal of the leases has found, and what Redis refused

    def accepted(self, changes: Sequence[Any]) -> None:
        for listener in self.on_accepted:
            listener(changes)

    def recorded(self, losses: Sequence[Recorded]) -> None:
        for row, change in losses:
            if self._registry.get(row.id) is not None:
                self._store.heard([row.id])
                self._registry.owned.asking.recorded(row, change)  # type: ignore[union-attr]

    def refused(self, refusals: Sequence[WriteRefusal]) -> None:
        self._disown([one.id for one in refusals])

    def renewed(self, renewal: Renewal) -> None:
        self._disown([entry.id for _, entry in (*renewal.moved, *renewal.dropped)])
        self.emptied.renewed(renewal)
        if self._passing.renewed(renewal):
            self._registry.owned.asking.wait_for_others()  # type: ignore[union-attr]
        if renewal.unreachable:
            self._questions.was_unreachable = True
        elif self._questions.was_unreachable:
            self._questions.was_unreachable = False
            self._registry.owned.asking.ask_again()  # type: ignore[union-attr]
            self._foreign.ask_again()

    def _disown(self, ids: Sequence[int]) -> None:
        if ids:
            self.counts["disowned"] += len(ids)
            self._foreign.disown(ids)

    async def _adopt(self) -> None:
        """Takes over pages of monitors without a lease, a few at a time."""
        orphans = await self._store.lease_job(lambda leases: leases.orphans())
        for begin in range(0, len(orphans), PAGES_AT_ONCE):
            some = orphans[begin : begin + PAGES_AT_ONCE]
            found = await self._store.adopt(some)
            if found:
                self.counts["adopted"] += len(found)
                self._foreign.adopt(await self._questions.taken_over(found))
                self.look_for_orphans()  # so that its owner is soon not said to be missing any more

    async def _sweep(self) -> None:
        self._foreign.sweep()

    async def _compare(self) -> None:
        """Compares the instances here with those that this monitor owns. What differs twice is a fault: nobody would
        watch it, or its beats would end here."""
        strays, found = self._store.compare(self._registry.owned.ids)  # type: ignore[union-attr]
        missing = dict(found)
        gone = strays & self._strays
        back = [(name, entry) for name, entry in missing.items() if self._missing.get(name) == entry]
        self._strays, self._missing = strays - gone, missing
        if gone or back:
            self.counts["astray"] += len(gone) + len(back)
            _logger.error("%d instances were not this monitor's any more, and %d were missing here; both are mended",
                          len(gone), len(back))  # fmt: skip
            self._disown(list(gone))
        for name, entry in back:
            self._questions.move(parts_of(name), Owned(entry, self._channel.own, lives=False), consent=False)

    def _hears_others(self) -> None:
        self._hears.set()
        self._looks.set()

    def _forward_in_s(self) -> float:
        if len(self._foreign.shadows) or self.forwarding.has_unsaid:
            return self.forward_s
        return min(IDLE_S, max(self.forward_s, self._passing.calm_s()))

    def _look_in_s(self) -> float:
        return LOOK_S if len(self._foreign.shadows) else IDLE_S

    async def _forward(self) -> None:
        self.forwarding.send()
        if self._passing.is_unsure:
            self.collect_beats()
        self._passing.step()
        self._channel.peers.send_now()

    async def _catch_up(self) -> None:
        try:
            if self._passing.renewed_lately():  # otherwise what is heard is passed on, or soon will be
                await self._store.look_for_moved()
            await self._questions.names_known()
        finally:
            await self._forward()

    async def _look_away(self) -> None:
        """Takes instances whose owner lives, but cannot be reached from here, before their timeouts end there."""
        shadows = self._away.due()
        for owner in self._away.owners():
            self.forwarding.take_back(owner)
        if not shadows:
            return
        wanted = [name_of(*one.name) for one in shadows]
        try:
            found: Sequence[Foreigner | Unreachable | None] = await self._store.lease_job(partial(_look, wanted=wanted))
        except StoreError:
            self._away.waits(shadows, AGAIN_S)
            raise
        for shadow, one in zip(shadows, found, strict=True):
            if isinstance(one, Foreigner) and one.owned.owner == shadow.owner:
                left_ms = None
                if one.deadline_ms:
                    left_ms = float(one.deadline_ms - self._link.now_ms(self._shard_of_id(shadow.of)))
                if self._away.must_take(shadow, Looked(one.row, self._lease_ms_of(one.row), left_ms)):
                    self.counts["moves_unasked"] += 1
                    self._away.waits([shadow], AGAIN_S)
                    self._questions.move(shadow.name, one.owned, consent=True, is_away=True)
            elif isinstance(one, Unreachable):
                self._away.waits([shadow], AGAIN_S)
            else:  # it is somebody else's by now
                self._foreign.gone(shadow.owner, [shadow.of])

    async def _repeat(
        self, in_s: Callable[[], float], work: Callable[[], Awaitable[None]], at_once: TimedEvent | None = None
    ) -> None:
        at_once = TimedEvent() if at_once is None else at_once
        while self._running:
            await at_once.wait(in_s())
            at_once.clear()
            try:
                await work()
            except StoreError as error:  # it is reported by the store's health
                _logger.debug("Redis does not answer: %s", error)
            except Exception:  # one error must not end the work
                self.counts["faults"] += 1
                _logger.exception("work on ownership failed; it continues")
            if at_once.is_set():  # by the work itself, perhaps: it must not keep the loop busy
                await asyncio.sleep(LEAST_PAUSE_S)

    def _shard_of_id(self, id: int) -> int:
        return Keys.shard_of_id(id) % self._keys.shards

    def set_living(self, living: Iterable[str]) -> None:
        """Notes which monitors live."""
        before, self._living = self._living, frozenset(living)
        if self._running:
            for id in before - self._living:
                self.owner_gone(id)

    def owner_gone(self, owner: str) -> None:
        """Notes that a monitor does not live any more: what was forwarded to it last may have died with it."""
        self._foreign.owner_stopped(owner)
        self.look_for_orphans()

    # -- asked by the part that forwards

    def is_unwritten(self, id: int) -> bool:
        return self._store.is_unwritten(id)

    def still_has(self, entry: Entry) -> bool:
        return self._leases.still_has(entry)

    def went(self, ids: list[int], peer: str) -> None:
        self.counts["disowned"] += len(ids)
        self._foreign.went(ids, peer)
        self._hears.set()

    def look_for_orphans(self) -> None:
        self._orphaned.set()

    def left(self, peer: str) -> None:
        self._channel.peers.take_back(peer)
        self.owner_gone(peer)

    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        """Puts last beats into the store, and passes those on for which this monitor has no lease."""
        self._passing.heard(last_beat_ms)
        self._store.put_beats(last_beat_ms)

    def take(self, ids: Iterable[int], peer: str) -> None:
        names = []
        for id in ids:
            shadow = self._foreign.shadows.by_id.get(id)
            if shadow is not None and shadow.owner == peer:
                names.append(shadow.name)
        if names and self._running:
            taking = self._questions.take(names, peer)
            task = asyncio.get_running_loop().create_task(taking, name="taking instances over")
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    # -- figures

    def stats(self) -> dict[str, int]:
        return self.counts | self.forwarding.stats() | self._catching_up.stats()

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.counts)
        yield from self.forwarding.readings()
        yield from self._catching_up.readings()


def _look(leases: Leases, wanted: Sequence[bytes]) -> list[Foreigner | Unreachable | None]:
    return leases.look(wanted)
