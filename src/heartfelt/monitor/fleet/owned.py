# SPDX-License-Identifier: MIT
"""The part of a registry that is needed only in a fleet of many monitors: which instances are its own.

Its instances join with ids from the fleet, renew by beats that other monitors have heard, come from other monitors
(`adopt`) and go to them (`disown`). A beat of any other name raises Elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, KeysView, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from heartfelt.monitor.fleet.admission import Gate, InputRefused
from heartfelt.monitor.fleet.asking import LEAST_COMEBACK_MS, Asking
from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.jobs import Jobs
from heartfelt.monitor.fleet.leases import GONE
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.others import CensusAnswer, Others
from heartfelt.monitor.fleet.owners import Elsewhere, Name, Owners, Reply, TakenOver
from heartfelt.monitor.fleet.restoring import Restorer
from heartfelt.monitor.metric import Figures, counter, gauge
from heartfelt.monitor.model import Beat, State

__all__ = ["FIGURES", "Disowned", "OwnInstances"]

_NONE = ServiceCounts()
_ROUNDS = 4
"""After so many timeouts without a beat heard here, any monitor may take an instance, rather than the only one that
hears it."""
FIGURES: Figures = {
    "losses_asked": counter("heartfelt_losses_asked", "Losses that Redis was asked to accept"),
    "losses_refused": counter(
        "heartfelt_losses_refused", "Losses that were none, since the instance had moved to another monitor"
    ),
    "losses_outdated": counter(
        "heartfelt_losses_outdated", "Losses that Redis accepted after the instance had beaten again"
    ),
    "losses_unreachable": gauge(
        "heartfelt_losses_unreachable", "Losses that are held because Redis cannot be reached to accept them"
    ),
    "away": gauge(
        "heartfelt_away_instances", "Instances taken over from a stopped monitor, of which none has beaten here yet"
    ),
    "beats_forwarded": counter("heartfelt_beats_from_monitors", "Beats that other monitors heard and forwarded"),
    "adopted": counter("heartfelt_adopted_instances", "Instances that came from another monitor"),
    "not_adopted": counter(
        "heartfelt_not_adopted_instances",
        "Instances of other monitors that were left out since their rows are invalid",
    ),
    "disowned": counter("heartfelt_disowned_instances", "Instances that went to another monitor"),
}


class Disowned(NamedTuple):
    """An instance that is another monitor's from now on."""

    id: int
    name: Name
    via: str
    peer: str
    age_ms: int
    """Time since its last beat here."""
    lease_ms: int
    """Its timeout."""


class _Abroad(msgspec.Struct, gc=False):
    """An instance that other monitors hear."""

    since_ms: float
    """It was heard only by them since then,"""
    sender: str
    sender_since_ms: float
    """and by this one only, since then."""
    beats: int
    """How often it had beaten then: by now it has more often if it has beaten here since."""
    age_ms: float
    """How late the last one was."""


class OwnInstances:
    """`registry.owned`. Belongs to the loop's thread. beaten: the registry's handling of a beat that may change a
    state. count: counts beats."""

    def __init__(
        self,
        owners: Owners,
        life: Life,
        gate: Gate,
        jobs: Jobs,
        beaten: Callable[[Instance, int, int], None],
        count: Callable[[], None],
    ) -> None:
        self._owners = owners
        self._life = life
        self._book = life.book
        self._gate = gate
        self._jobs = jobs
        self._beaten = beaten
        self._count = count
        self._reserved: tuple[Name, int] | None = None
        self._abroad: dict[int, _Abroad] = {}
        self.beats = self.adopted = self.disowned = self.dropped = 0
        self.others = Others()
        life.hold.use_others(self.others)
        life.kept.others = self.others
        self.asking = life.asking = Asking(life, owners, self.others, self._age_ms, lambda id: self._disown_refused(id))
        self.on_disowned: list[Callable[[Disowned], None]] = []
        """Called with each instance of which a question for its loss was refused."""
        life.runs.take_number = owners.next_run  # type: ignore[method-assign]
        self._book.on_removed.append(self._removed)

    def _removed(self, instance: Instance) -> None:
        self._abroad.pop(instance.id, None)

    def jumped(self, jump_ms: float) -> None:
        """Notes that the clock by which leases and stored deadlines end has jumped ahead by this much."""
        self._life.hold.outages.jumped(self._life.now_ms(), jump_ms)

    def answer(self, services: Iterable[str]) -> CensusAnswer:
        """Returns what this monitor counts, for another one."""
        counts = self._book.counts
        of = {service: counts.services.get(service) or _NONE for service in services}
        return self._life.hold.answer(self._life.now_ms(), of, counts.all)

    def took(self, monitor: str, answer: CensusAnswer) -> None:
        """Takes what another monitor counts."""
        self.others.took(monitor, answer, self._life.now_ms())

    def prune_others(self) -> None:
        """Forgets what others counted some time ago."""
        self.others.prune(self._life.now_ms())

    # -- names

    def admit(self, beat: Beat) -> int:
        """Returns the id with which an unknown instance joins. Raises InputRefused, or Elsewhere if it is not ours."""
        name = beat.service, beat.instance_id
        if self._reserved is not None and self._reserved[0] == name:
            self._gate.check_new(beat, self._book.counts)
            id, self._reserved = self._reserved[1], None
            return id
        self._gate.check_name(beat)
        if beat.meta is not None:
            try:
                self._gate.check_meta(beat)
            except InputRefused as error:  # but it is alive
                raise Elsewhere(name, joins=False, beat=replace(beat, meta=None), refused=error) from None
        raise Elsewhere(name, joins=self._gate.has_room(beat.peer, self._book.counts))

    def check_room(self, peer: str) -> None:
        """Raises InputRefused if no instance of this client may join."""
        self._gate.check_room(peer, self._book.counts)

    def reserve(self, name: Name, id: int) -> None:
        """Lets a name join with this id, in the next beat."""
        self._reserved = name, id

    def release(self) -> None:
        """Ends `reserve`."""
        self._reserved = None

    def find(self, name: Name) -> Instance | None:
        return self._book.by_key.get(name)

    @property
    def ids(self) -> KeysView[int]:
        """Those of all instances here."""
        return self._book.by_id.keys()

    # -- beats that others have heard

    def forwarded(self, ids: Sequence[int], ages_ms: Sequence[int], sender: str) -> Reply:
        """Renews instances that another monitor has heard, as of when it heard them."""
        reply = Reply(take=[], gone=[])
        wall_ms, now_ms = self._life.wall_ms(), self._life.now_ms()
        for id, age_ms in zip(ids, ages_ms, strict=True):
            instance = self._book.by_id.get(id)
            if instance is None:
                reply.gone.append(id)
                continue
            n = instance.beats
            self._renew(instance, age_ms, wall_ms)
            if self._note_abroad(instance, n, sender, now_ms, age_ms):
                reply.take.append(id)
        return reply

    def note_abroad(self, instance: Instance, n: int, sender: str, age_ms: int) -> bool:
        """Notes that another monitor has heard it, which had beaten `n` times before. Returns whether that may take
        it."""
        return self._note_abroad(instance, n, sender, self._life.now_ms(), age_ms)

    def renew(self, instance: Instance, age_ms: int) -> None:
        """Takes a beat that was heard this long ago. Does nothing if there was a newer one."""
        self._renew(instance, age_ms, self._life.wall_ms())

    def _renew(self, instance: Instance, age_ms: int, wall_ms: int) -> None:
        heard_ms, before_ms = wall_ms - age_ms, instance.last_beat_ms
        if heard_ms <= before_ms <= wall_ms:  # if it is later than now, the wall clock was set back
            return
        if instance.state is not State.UP and self.is_outdated(instance, age_ms):
            return
        self.beats += 1
        self._count()
        is_late = age_ms > self._owners.settle_ms
        left_ms = self.left_ms(instance, age_ms) if is_late else 0.0
        instance.lease()
        if instance.late is not None:
            instance.late()
        n = instance.beats
        instance.note_gap(n, heard_ms - before_ms)
        instance.beats = n + 1
        instance.last_beat_ms = self._book.dirty[instance.id] = heard_ms
        if instance.state is State.STUCK:  # a beat that says so is not a plain one
            instance.note_times(None, None, 0, wall_ms)
        if not instance.plain:
            jobs, former_ms = self._jobs, self._jobs.age_ms
            jobs.age_ms = age_ms
            try:
                self._beaten(instance, heard_ms - before_ms, wall_ms)
            finally:
                jobs.age_ms = former_ms
        if is_late:
            self._set_back(instance, age_ms, left_ms)

    def is_outdated(self, instance: Instance, age_ms: int) -> bool:
        """Returns whether a plain beat that was heard this long ago does not end that it is LOST, or has LEFT: it has
        been silent for as long as that again, or it left later."""
        wall_ms = self._life.wall_ms()
        state = instance.before_pause if instance.state is State.PAUSED else instance.state
        if state is State.LEFT and wall_ms - age_ms < instance.since_ms <= wall_ms:
            return True
        return state in GONE and age_ms >= instance.lease_ms

    def was_heard(self, instance: Instance, before_ms: int, left_ms: float, age_ms: int) -> None:
        """Corrects what a beat that was just taken has set: it was heard this long ago. `before_ms`, `left_ms`: its
        last beat before that, and the time that it had left."""
        now_ms = instance.last_beat_ms
        if before_ms <= now_ms:
            age_ms = min(age_ms, now_ms - before_ms)
        if age_ms > 0 and instance.state is not State.REMOVED:
            instance.last_beat_ms = self._book.dirty[instance.id] = now_ms - age_ms
            self._set_back(instance, age_ms, left_ms)

    def hears(self, age_ms: int) -> None:
        """Says how long ago was heard what is taken from now on."""
        self._jobs.age_ms = age_ms

    def left_ms(self, instance: Instance, age_ms: int) -> float:
        """Returns the time that a beat of this age must leave it: that which it has left. 0: its age is too small to
        matter."""
        timers = self._life.timers
        return timers.left_ms(timers.lease, instance.id) if age_ms > self._owners.settle_ms else 0.0

    def _set_back(self, instance: Instance, age_ms: int, left_ms: float) -> None:
        """Lets its timeout end as much earlier, but not earlier than it did before. What is less than settle is made up
        for when its loss is asked."""
        timers = self._life.timers
        if age_ms <= self._owners.settle_ms or instance.id not in timers.lease:
            return
        timers.set(timers.lease, instance.id, max(instance.lease_ms - age_ms, left_ms, 1))
        instance.waiting = True  # so that the next beat sets the timer again
        instance.plain = False

    def _note_abroad(self, instance: Instance, n: int, sender: str, now_ms: float, age_ms: int) -> bool:
        one = self._abroad.get(instance.id)
        if one is None or one.beats != n:
            one = self._abroad[instance.id] = _Abroad(now_ms, sender, now_ms, 0, 0.0)
        elif one.sender != sender:
            one.sender, one.sender_since_ms = sender, now_ms
        one.beats, one.age_ms = instance.beats, age_ms
        lease_ms = instance.lease_ms
        return now_ms - one.sender_since_ms >= lease_ms / 2 or now_ms - one.since_ms >= _ROUNDS * lease_ms

    def _age_ms(self, instance: Instance) -> float:
        one = self._abroad.get(instance.id)
        late = one is not None and one.beats == instance.beats and one.age_ms <= self._owners.settle_ms
        return one.age_ms if one is not None and late else 0.0

    # -- instances that come and go

    def adopt(self, found: Iterable[TakenOver], *, moved: bool = False) -> list[Instance]:
        """Takes over instances of other monitors, as after a start. Each has until its deadline, and at least as long
        as a client needs to beat here. `moved`: the instance beats here, rather than that its monitor has stopped."""
        life, book = self._life, self._book
        came = {one.row.id: one for one in found if one.row.id not in book.by_id}
        for one in came.values():
            if (old := book.by_key.get((one.row.service, one.row.instance_id))) is not None:
                self._disown(old)  # it was removed and joined again elsewhere
        now_ms = life.wall_ms()
        restorer = Restorer(life, now_ms, 0)
        restorer.restore(one.row for one in came.values())
        self.dropped += restorer.dropped
        adopted = [book.by_id[id] for id in came if id in book.by_id]
        for instance in adopted:
            if instance.id in life.timers.lease:
                self._set_first(instance, came[instance.id].left_ms)
                if not moved:
                    self.asking.took_over(instance.id)
        self._jobs.restore([run for one in came.values() for run in one.runs], 0)
        for instance in adopted:
            if instance.state not in GONE:
                life.came(instance, now_ms)
        self.adopted += len(adopted)
        return adopted

    def _set_first(self, instance: Instance, left_ms: float) -> None:
        timers, terms = self._life.timers, instance.terms
        comeback_ms = max(min(self._owners.comeback_ms, instance.lease_ms), LEAST_COMEBACK_MS)
        first_ms = max(left_ms, comeback_ms)
        instance.reconnect_ms = round(first_ms) - terms.look_ms
        instance.waiting = terms.look_ms != terms.timeout_ms  # its deadline has that in it
        timers.set(timers.lease, instance.id, first_ms)

    def disown(self, ids: Iterable[int]) -> list[Disowned]:
        """Forgets instances that are other monitors' now: no change, no row. Returns those that it knew."""
        instances = [self._book.by_id.get(id) for id in ids]
        return [self._disown(instance) for instance in instances if instance is not None]

    def _disown(self, instance: Instance) -> Disowned:
        self.disowned += 1
        age_ms = max(self._life.wall_ms() - instance.last_beat_ms, 0)
        name = instance.service, instance.instance_id
        self._life.disown(instance)
        return Disowned(instance.id, name, instance.via, instance.peer, age_ms, instance.lease_ms)

    def _disown_refused(self, id: int) -> None:
        for one in self.disown([id]):
            for listener in self.on_disowned:
                listener(one)

    def stats(self) -> dict[str, int]:
        counts = {
            "beats_forwarded": self.beats,
            "adopted": self.adopted,
            "not_adopted": self.dropped,
            "disowned": self.disowned,
        }
        return counts | self.asking.stats()
