# SPDX-License-Identifier: MIT
"""Asks Redis whose names are, moves instances here, and asks about losses.

Questions are gathered for GATHER_S and asked many at a time; the writer's thread asks Redis.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster.away import AwayOwners
from heartfelt.monitor.cluster.channel.peers import Peers
from heartfelt.monitor.cluster.passing import Passing
from heartfelt.monitor.fleet.owners import Loss, Name, TakenOver
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.model import Run
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused
from heartfelt.monitor.store.redis.keys import Entry, Keys, name_of
from heartfelt.monitor.store.redis.link import Link, Unreachable
from heartfelt.monitor.store.redis.outcomes import AskedLoss
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import TimedEvent

GATHER_S = 0.005
AGAIN_S = 0.25
"""How long a question waits that Redis could not answer, or whose answer was outdated at once."""
AGAIN_MOST_S = 2.0
"""How long at most, if Redis cannot answer for long."""
AT_ONCE = 2000
"""Questions in one call."""
STRANGE_S = 10.0
"""How long it is waited for an owner that has a lease, but is not one of the living monitors."""
MOST_STRANGE = 1000
_logger = logging.getLogger("heartfelt.monitor.cluster")


class OwnerQuestions:
    """Belongs to the loop's thread. tell_moved: tells the former owner of entries. counts: "asked", "moves",
    "unanswered", "faults" of them are counted."""

    def __init__(
        self,
        registry: Registry,
        foreign: Foreign,
        store: RedisStore,
        peers: Peers,
        link: Link,
        away: AwayOwners,
        passing: Passing,
        tell_moved: Callable[[str, Iterable[bytes]], None],
        counts: dict[str, int],
    ) -> None:
        self._registry, self._foreign, self._store, self._peers = registry, foreign, store, peers
        self._link, self._away, self._passing, self._tell_moved, self.counts = link, away, passing, tell_moved, counts
        self._unknown: dict[Name, bool] = {}
        self._losses: list[Loss] = []
        self._moves: dict[Name, tuple[bytes, Owned, bool]] = {}
        self._of_away: set[Name] = set()
        """Those of `_moves` whose owner cannot be reached: its agents reach this monitor."""
        self._strange_s: dict[str, float] = {}
        """Owners that have a lease and are not known here -> since when."""
        self._wake = TimedEvent()
        self._timers: set[asyncio.TimerHandle] = set()
        self._again_s = AGAIN_S
        self._ended = False
        self.was_unreachable = False
        """Something could not be asked since it was last asked again."""
        self.on_urgent: Callable[[], None] = lambda: None
        """Called when something is to be forwarded that must not wait for the next turn: its owner may be about to ask
        for the loss."""

    def unknown(self, name: Name, *, joins: bool) -> None:
        self._unknown[name] = joins or self._unknown.get(name, False)
        self._wake.set()

    def lose(self, losses: Iterable[Loss]) -> None:
        self._losses += losses
        self._wake.set()

    async def names_known(self) -> None:
        """Waits until it is known whose the names are that wait now. It looks again and again; the caller limits it."""
        names = {name for name, _ in self._foreign.pending.names()}
        while names := {name for name in names if name in self._foreign.pending}:
            await asyncio.sleep(GATHER_S)

    def end(self) -> None:
        """Ends `work`, and asks nothing again by itself."""
        self._ended = True
        self._wake.set()
        for timer in self._timers:
            timer.cancel()

    async def ask_last(self) -> None:
        """Asks once about all that waits."""
        for name, joins in self._foreign.pending.names():
            self.unknown(name, joins=joins)
        await self._ask_names()
        await self._ask_moves()

    async def work(self) -> None:
        while not self._ended:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            for some in (self._ask_losses, self._ask_names, self._ask_moves):
                await self._guarded(some)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:  # one error must not end the work
            self.counts["faults"] += 1
            _logger.exception("work on ownership failed; it continues")

    async def _ask_losses(self) -> None:
        while losses := self._losses[:AT_ONCE]:
            del self._losses[:AT_ONCE]
            asked = [AskedLoss(one.row, one.change, one.deadline_ms, partial(self._stands, one))
                     for one in losses if one.row and one.change]  # fmt: skip
            try:
                if not self._passing.renewed_lately():
                    raise StoreError("the leases could not be renewed lately")
                answers: Sequence[Accepted | Refused | Unreachable] = await self._store.lose(asked)
            except StoreError as error:
                answers = [Unreachable(str(error))] * len(asked)
            asking = self._registry.owned.asking  # type: ignore[union-attr]
            for loss, answer in zip(losses, answers, strict=True):
                if isinstance(answer, Accepted):
                    self._store.heard([loss.id] if self._registry.get(loss.id) is not None else ())
                    asking.accepted(loss, answer.seqs[0])
                elif isinstance(answer, Unreachable):
                    self.counts["unanswered"] += 1
                    asking.unreachable(loss)
                    self.was_unreachable = True
                elif answer.early:
                    asking.early(loss, AGAIN_S * 1000)
                else:
                    asking.refused(loss)

    def _stands(self, loss: Loss) -> bool:
        """Returns whether it has not beaten or changed since it was asked for. The writer's thread."""
        instance, row, change = self._registry.get(loss.id), loss.row, loss.change
        if instance is None or row is None or change is None:
            return False
        return instance.last_beat_ms == row.last_beat_ms and instance.state is change.old

    async def _ask_names(self) -> None:
        while self._unknown:
            names = dict(list(self._unknown.items())[:AT_ONCE])
            for name in names:
                del self._unknown[name]
            self.counts["asked"] += len(names)
            joining = [name for name, joins in names.items() if joins]
            others = [name for name, joins in names.items() if not joins]
            try:
                found: list[Entry | Owned | Unreachable | None] = [
                    *(await self._store.reserve(joining) if joining else ()),
                    *(await self.find(others) if others else ()),
                ]
            except StoreError as error:
                found = [Unreachable(str(error))] * len(names)
            unanswered = []
            for name, answer in zip([*joining, *others], found, strict=True):
                if isinstance(answer, Unreachable):
                    unanswered.append(name)
                else:
                    self._take_answer(name, answer)
            if unanswered:
                self._later(unanswered, names, self._again_s)
                self._again_s = min(2 * self._again_s, AGAIN_MOST_S)
                self._passing.names(unanswered)
                self.was_unreachable = True
            else:
                self._again_s = AGAIN_S
                self._passing.names_answered()
            if others:  # beats of what this monitor had are among them
                self.on_urgent()

    async def find(self, names: list[Name]) -> list[Entry | Owned | Unreachable | None]:
        wanted = [name_of(*name) for name in names]
        found: list[Entry | Owned | Unreachable | None] = await self._store.lease_job(lambda one: one.find(wanted))
        return found

    def _take_answer(self, name: Name, answer: Entry | Owned | None) -> None:
        if answer is None:
            self._foreign.nobody(name)
        elif isinstance(answer, Entry):
            self._foreign.mine(name, answer.id)
        elif not answer.lives:
            self.move(name, answer, consent=False)
        elif answer.owner not in self._peers:
            self._wait_for_owner(name, answer)
        elif self._away.is_away(answer.owner) and self._says_more(name):
            self.move(name, answer, consent=True, is_away=True)  # a goodbye, or a result, must not wait for its owner
        else:
            self._strange_s.pop(answer.owner, None)
            self._foreign.theirs(name, answer.entry.id, answer.owner)

    def _wait_for_owner(self, name: Name, answer: Owned) -> None:
        """Asks again about a name whose owner has a lease, but is not known here: it has just started, or ends. If it
        stays so, its entry cannot be read, or there are too many monitors, and its instances are taken over."""
        now_s = time.monotonic()
        if len(self._strange_s) > MOST_STRANGE:
            self._strange_s.clear()
        if now_s - self._strange_s.setdefault(answer.owner, now_s) > STRANGE_S:
            self.move(name, answer, consent=True)
        else:
            self._later([name], {name: False})

    def _says_more(self, name: Name) -> bool:
        """Returns whether something was heard of a name that is more than a plain beat."""
        return any(not raw.repeats for raw in self._foreign.pending.get(name))

    def move(self, name: Name, owned: Owned, *, consent: bool, is_away: bool = False) -> None:
        """is_away: its owner cannot be reached, and has not agreed: perhaps it died, and its lease goes on."""
        self._moves[name] = (name_of(*name), owned, consent)
        if is_away:
            self._of_away.add(name)
        self._wake.set()

    async def take(self, names: list[Name], owner: str) -> None:
        """Moves instances here whose owner agreed."""
        try:
            for name, answer in zip(names, await self.find(names), strict=True):
                if isinstance(answer, Owned) and answer.owner == owner:
                    self.move(name, answer, consent=True)
        except StoreError as error:
            _logger.debug("Redis does not answer: %s", error)
        except Exception:
            self.counts["faults"] += 1
            _logger.exception("instances could not be taken over, though their owner agreed")

    async def _ask_moves(self) -> None:
        while self._moves:
            moves = dict(list(self._moves.items())[:AT_ONCE])
            for name in moves:
                del self._moves[name]
            wanted = list(moves.values())
            try:
                answers = await self._store.move(wanted)
            except StoreError as error:
                answers = [Unreachable(str(error))] * len(wanted)
            taken: list[Adopted] = []
            again: list[Name] = []
            told: dict[str, list[bytes]] = {}
            stopped = False
            for name, answer in zip(moves, answers, strict=True):
                if isinstance(answer, Adopted):
                    _, owned, consent = moves[name]
                    is_away = name in self._of_away
                    told.setdefault(owned.owner, []).append(owned.entry.pack())
                    if answer.is_kept and self._registry.get(answer.entry.id) is not None:
                        self._foreign.mine(name, answer.entry.id)
                    else:
                        taken.append(answer)
                        stopped = stopped or not consent or is_away
                elif isinstance(answer, Entry):
                    self._foreign.mine(name, answer.id)
                else:
                    again.append(name)
            for former, entries in told.items():
                if former in self._peers:
                    self._tell_moved(former, entries)
            if again:
                self._later(again, dict.fromkeys(again, True))
            self._of_away.difference_update(moves)
            if taken:
                self.counts["moves"] += len(taken)
                self._foreign.moved(await self.taken_over(taken), stopped=stopped)

    def _later(self, names: Iterable[Name], joins: dict[Name, bool], wait_s: float = AGAIN_S) -> None:
        """Asks again in a moment. The inputs of the names wait meanwhile."""

        def ask() -> None:
            self._timers.discard(timer)
            for name, joins_it in waiting.items():
                if name in self._foreign.pending:
                    self.unknown(name, joins=joins_it)

        waiting = {name: joins[name] for name in names}
        self.counts["unanswered"] += len(waiting)
        timer = asyncio.get_running_loop().call_later(wait_s, ask)
        self._timers.add(timer)

    async def taken_over(self, found: Sequence[Adopted]) -> list[TakenOver]:
        """Adds the open runs, and how much time each has left."""
        runs: dict[int, list[Run]] = {}
        ids = [one.entry.id for one in found if one.row.is_job]
        if ids:
            try:
                for run in await self._store.open_runs(ids):
                    runs.setdefault(run.id, []).append(run)
            except StoreError as error:
                _logger.error("the open runs of %d jobs that were taken over cannot be read: %s", len(ids), error)
        taken = []
        for one in found:
            shard = Keys.shard_of_id(one.entry.id)
            left_ms = float(one.deadline_ms - self._link.now_ms(shard)) if one.deadline_ms else 0.0
            taken.append(TakenOver(one.row, left_ms, runs.get(one.entry.id, ())))
        mine = set(self._store.heard(one.row.id for one in taken))
        return [one for one in taken if one.row.id in mine]  # others have gone again, which was told before
