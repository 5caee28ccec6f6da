# SPDX-License-Identifier: MIT
"""Whose instances are: asks Redis for the registry, and carries beats to and from the other monitors.

Questions are gathered for GATHER_S and asked many at a time; the writer's thread asks Redis. Beats of others' instances
are sent every FORWARD_S, which is shorter than `settle`. What this monitor may take over, and what became of what it
had, comes with the renewal of its leases.

A monitor that cannot renew a lease is, by its own clock, not the owner any more: others take its instances over, and
its agents do not know. So it passes what it hears on to another monitor, which finds out whose that is, as soon as
Redis can be reached.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster.channel.feed import Undelivered
from heartfelt.monitor.cluster.channel.frames import BeatBatch, Input
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.passing import PASSED_ON, Passing
from heartfelt.monitor.fleet.owners import Forward, Loss, Name, Raw, Reply, TakenOver, run_number
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.model import Run
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused, Renewal
from heartfelt.monitor.store.redis.keys import Entry, Keys, name_of, parts_of
from heartfelt.monitor.store.redis.link import Link, Unreachable
from heartfelt.monitor.store.redis.outcomes import Loss as AskedLoss
from heartfelt.monitor.store.redis.outcomes import Recorded, Refusal
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import TimedEvent, end_tasks

GATHER_S = 0.005
FORWARD_S = 0.05
SWEEP_S = 1.0
COMPARE_S = 5.0
AGAIN_S = 0.25
"""How long a question waits that Redis could not answer, or whose answer was outdated at once."""
AGAIN_MOST_S = 2.0
"""How long at most, if Redis cannot answer for long."""
AT_ONCE = 2000
"""Questions in one call."""
PAGES_AT_ONCE = 16
END_S = 1.0
REPLY = "taken"
"""The notice that answers forwarded beats."""
BACK = "back"
"""The notice that instances of a monitor that has stopped beat again."""
FIGURES: Figures = {
    "asked": counter("heartfelt_ownership_asked", "Names of which Redis was asked who owns them"),
    "moves": counter("heartfelt_ownership_moves", "Instances that were taken over since they beat to this monitor"),
    "adopted": counter("heartfelt_ownership_adopted", "Instances that were taken over from monitors without a lease"),
    "disowned": counter("heartfelt_ownership_disowned", "Instances that other monitors have taken over"),
    "forwarded": counter("heartfelt_ownership_forwarded", "Beats that were forwarded to the instances' owners"),
    "received": counter("heartfelt_ownership_received", "Beats that other monitors have forwarded to this one"),
    "passed_on": counter(
        "heartfelt_ownership_passed_on", "Beats that were passed on since this monitor could not reach Redis in time"
    ),
    "passed_to": counter(
        "heartfelt_ownership_passed_to", "Beats that monitors without a lease have passed on to this one"
    ),
    "unanswered": counter("heartfelt_ownership_unanswered", "Questions that Redis could not answer; they are repeated"),
    "astray": counter(
        "heartfelt_ownership_astray", "Instances that this monitor had and did not own, or owned and did not have"
    ),
    "faults": counter("heartfelt_ownership_faults", "Exceptions in the work on ownership"),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class _Taken(msgspec.Struct, array_like=True):
    """A Reply, as a notice."""

    take: list[int]
    gone: list[int]


class Ownership:
    """Implements fleet.owners.Owners, and the store's Listener. Belongs to the loop's thread. Call `attach` once the
    registry and its ingests are made, and `start` once the store is open and the channel listens.

    number: this monitor's place among all incarnations, for the numbers of runs. accepted: called with the changes that
    Redis has accepted.
    """

    def __init__(
        self,
        *,
        settle_s: float,
        comeback_s: float,
        lease_s: float,
        link: Link,
        keys: Keys,
        wall_ms: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settle_ms = settle_s * 1000
        self.comeback_ms = comeback_s * 1000
        self._lease_s = lease_s
        self._now_s = now_s
        self._link = link
        self._keys = keys
        self._passing = Passing(keys, lease_s, wall_ms=wall_ms, now_s=now_s, passed=lambda: self._count("passed_on"))
        self._living: frozenset[str] = frozenset()
        self._wall_ms = wall_ms
        self._unknown: dict[Name, bool] = {}
        self._losses: list[Loss] = []
        self._moves: dict[Name, tuple[bytes, Owned, bool]] = {}
        self._wake = TimedEvent()
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self._taking: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._run = 0
        self.number = 0
        self._strays: set[int] = set()
        self._missing: dict[bytes, Entry] = {}
        self._was_unreachable = False
        self._was_out = False
        self._again_s = AGAIN_S
        self._renewed_s = 0.0
        """When the last renewal that succeeded was asked for."""
        self.counts = dict.fromkeys(FIGURES, 0)
        self.on_accepted: list[Callable[[Sequence[Any]], None]] = []

    def attach(self, registry: Registry, foreign: Foreign, store: RedisStore, channel: Channel) -> None:
        self._registry, self._foreign, self._store, self._channel = registry, foreign, store, channel
        self._passing.attach(registry, foreign, channel.peers)
        channel.on_beats(self._beats)
        channel.on_inputs(self._inputs)
        channel.on_notice(REPLY, self._replied, _Taken)
        asking = registry.owned.asking  # type: ignore[union-attr]
        asking.on_back = self._tell_back
        channel.on_notice(BACK, lambda peer, body: asking.came_back_elsewhere(), type(None))
        channel.peers.on_undelivered = self._undelivered

    def start(self, adopt_every_s: float) -> None:
        self._running = True
        self._tasks = [
            asyncio.create_task(self._work(), name="questions about ownership"),
            asyncio.create_task(self._repeat(FORWARD_S, self._forward), name="forwarding of beats"),
            asyncio.create_task(self._repeat(adopt_every_s, self._adopt), name="taking over"),
            asyncio.create_task(self._repeat(SWEEP_S, self._sweep), name="sweep of shadows"),
            asyncio.create_task(self._repeat(COMPARE_S, self._compare), name="comparison of what is owned"),
        ]

    async def stop(self) -> int:
        """Forwards what was heard, and ends the work. Returns how many tasks did not end within END_S."""
        self._running = False
        self._wake.set()
        for timer in self._timers:
            timer.cancel()
        tasks, self._tasks = [*self._tasks, *self._taking], []
        left = len(await end_tasks(tasks, seconds=END_S))
        self._send_forwards()
        return left

    # -- asked by the registry and its ingests

    def unknown(self, name: Name, *, joins: bool) -> None:
        self._unknown[name] = joins or self._unknown.get(name, False)
        self._wake.set()

    def lose(self, loss: Loss) -> None:
        self._losses.append(loss)
        self._wake.set()

    def next_run(self) -> int:
        self._run = run_number(self._run, self._wall_ms(), self.number)
        return self._run

    # -- asking Redis

    async def _work(self) -> None:
        while self._running:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            for some in (self._ask_losses, self._ask_names, self._ask_moves):
                await self._guarded(some)

    def _count(self, what: str) -> None:
        self.counts[what] += 1

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
                if self._now_s() - self._renewed_s > self._lease_s / 2:
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
                    self._was_unreachable = True
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
                    *(await self._find(others) if others else ()),
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
                self._was_unreachable = True
            else:
                self._again_s = AGAIN_S
                self._passing.names_answered()

    async def _find(self, names: list[Name]) -> list[Entry | Owned | Unreachable | None]:
        wanted = [name_of(*name) for name in names]
        found: list[Entry | Owned | Unreachable | None] = await self._store.lease_job(lambda one: one.find(wanted))
        return found

    def _take_answer(self, name: Name, answer: Entry | Owned | None) -> None:
        if answer is None:
            self._foreign.nobody(name)
        elif isinstance(answer, Entry):
            self._foreign.mine(name, answer.id)
        elif answer.lives and answer.owner in self._channel.peers:
            self._foreign.theirs(name, answer.entry.id, answer.owner)
        elif answer.lives:  # it has just started, and is not known here yet
            self._later([name], {name: False})
        else:
            self._move(name, answer, consent=False)

    def _move(self, name: Name, owned: Owned, *, consent: bool) -> None:
        self._moves[name] = (name_of(*name), owned, consent)
        self._wake.set()

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
            stopped = False
            for name, answer in zip(moves, answers, strict=True):
                if isinstance(answer, Adopted):
                    if answer.is_kept and self._registry.get(answer.entry.id) is not None:
                        self._foreign.mine(name, answer.entry.id)
                    else:
                        taken.append(answer)
                        stopped = stopped or not moves[name][2]
                elif isinstance(answer, Entry):
                    self._foreign.mine(name, answer.id)
                else:
                    again.append(name)
            if again:
                self._later(again, dict.fromkeys(again, True))
            if taken:
                self.counts["moves"] += len(taken)
                self._foreign.moved(await self._taken_over(taken), stopped=stopped)

    def _tell_back(self) -> None:
        for peer in self._channel.peers.connected:
            self._channel.peers.notify(peer, BACK)

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

    async def _taken_over(self, found: Sequence[Adopted]) -> list[TakenOver]:
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

    # -- what the renewal of the leases has found, and what Redis refused

    def accepted(self, changes: Sequence[Any]) -> None:
        for listener in self.on_accepted:
            listener(changes)

    def recorded(self, losses: Sequence[Recorded]) -> None:
        for row, change in losses:
            if self._registry.get(row.id) is not None:
                self._store.heard([row.id])
                self._registry.owned.asking.recorded(row, change)  # type: ignore[union-attr]

    def refused(self, refusals: Sequence[Refusal]) -> None:
        self._disown([one.id for one in refusals])

    def renewed(self, renewal: Renewal) -> None:
        self._disown([entry.id for _, entry in (*renewal.moved, *renewal.dropped)])
        self._passing.renewed(renewal)
        was_out = self._was_out or 0 < self._renewed_s < renewal.asked_s - self._lease_s / 2
        self._renewed_s, self._was_out = renewal.asked_s, bool(renewal.unreachable)
        if was_out:
            self._registry.owned.asking.wait_for_others()  # type: ignore[union-attr]
        if renewal.unreachable:
            self._was_unreachable = True
        elif self._was_unreachable:
            self._was_unreachable = False
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
                self._foreign.adopt(await self._taken_over(found))

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
            self._move(parts_of(name), Owned(entry, self._channel.own, lives=False), consent=False)

    async def _repeat(self, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while self._running:
            await asyncio.sleep(every_s)
            try:
                await work()
            except StoreError as error:  # it is reported by the store's health
                _logger.debug("Redis does not answer: %s", error)
            except Exception:  # one error must not end the work
                self.counts["faults"] += 1
                _logger.exception("work on ownership failed; it continues")

    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        """Puts last beats into the store, and passes those on for which this monitor has no lease."""
        self._passing.heard(last_beat_ms)
        self._store.put_beats(last_beat_ms)

    # -- beats for others, and from them

    def set_living(self, living: Iterable[str]) -> None:
        """What was forwarded last to a monitor that is gone may have died with it: hands it to whoever adopts."""
        before, self._living = self._living, frozenset(living)
        if self._running:
            for id in before - self._living:
                self._foreign.owner_stopped(id)

    async def _forward(self) -> None:
        self._send_forwards()
        self._passing.step()

    def _send_forwards(self) -> None:
        peers, now_ms = self._channel.peers, _monotonic_ms()
        for one in self._foreign.take_forwards():
            if one.owner not in peers:
                self._foreign.unsent(one)
                continue
            refused = [id for id, age in zip(one.ids, one.ages_ms, strict=True)
                       if not peers.forward(one.owner, id, now_ms - age)]  # fmt: skip
            raws = [raw for raw in one.raws if not peers.forward_input(one.owner, _input(raw, now_ms))]
            self.counts["forwarded"] += len(one.ids) + len(one.raws) - len(refused) - len(raws)
            if refused or raws:
                self._foreign.unsent(Forward(owner=one.owner, ids=refused, ages_ms=[], raws=raws))

    def _undelivered(self, peer: str, left: Undelivered) -> None:
        now_ms = _monotonic_ms()
        raws = [_raw(one, now_ms) for one in left.inputs]
        self._foreign.unsent(Forward(owner=peer, ids=list(left.beats), ages_ms=[], raws=raws))

    def _beats(self, peer: str, batch: BeatBatch) -> None:
        late_ms = max(_monotonic_ms() - batch.at_ms, 0)
        self.counts["received"] += len(batch.ids)
        forward = Forward(
            owner=self._channel.own, ids=list(batch.ids), ages_ms=[age + late_ms for age in batch.ages], raws=[]
        )
        self._reply(peer, self._foreign.forwarded(forward, peer))

    def _inputs(self, peer: str, inputs: list[Input]) -> None:
        now_ms = _monotonic_ms()
        self.counts["received"] += len(inputs)
        raws = []
        for one in inputs:
            raws.append(raw := _raw(one, now_ms))
            if one.kind == PASSED_ON:
                self.counts["passed_to"] += 1
                self._foreign.doubt((raw.service, raw.instance_id), peer)
        forward = Forward(owner=self._channel.own, ids=[], ages_ms=[], raws=raws)
        self._reply(peer, self._foreign.forwarded(forward, peer))

    def _reply(self, peer: str, reply: Reply) -> None:
        if reply.take or reply.gone:
            self._channel.peers.notify(peer, REPLY, _Taken(reply.take, reply.gone))

    def _replied(self, peer: str, reply: _Taken) -> None:
        self._foreign.gone(peer, reply.gone)
        names = []
        for id in reply.take:
            shadow = self._foreign.shadows.by_id.get(id)
            if shadow is not None and shadow.owner == peer:
                names.append(shadow.name)
        if names:
            task = asyncio.get_running_loop().create_task(self._take(names, peer), name="taking instances over")
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    async def _take(self, names: list[Name], peer: str) -> None:
        """Moves instances here whose owner agreed."""

        async def find() -> None:
            for name, answer in zip(names, await self._find(names), strict=True):
                if isinstance(answer, Owned) and answer.owner == peer:
                    self._move(name, answer, consent=True)

        try:
            await find()
        except StoreError as error:
            _logger.debug("Redis does not answer: %s", error)

    # -- figures

    def stats(self) -> dict[str, int]:
        return dict(self.counts)

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.counts)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


_encode = msgspec.msgpack.Encoder().encode
_decode_raw = msgspec.msgpack.Decoder(Raw).decode


def _input(raw: Raw, now_ms: int) -> Input:
    return Input(raw.kind.value, _encode(raw), raw.via, raw.peer, now_ms - raw.age_ms)


def _raw(one: Input, now_ms: int) -> Raw:
    raw = _decode_raw(one.data)
    raw.age_ms = max(now_ms - one.heard_ms, 0)
    return raw
