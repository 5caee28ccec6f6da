# SPDX-License-Identifier: MIT
"""Inputs of instances that this monitor does not own, in a fleet of many monitors.

An input of an unknown name is kept as it came, and asked for; its sender is answered at once. The answer replays it
here, or makes the name a shadow, whose beats are forwarded to the owner from then on (fleet/owners.py has the calls).

What a ping means may depend on which keys there are: `/ping/svc/3` is the exit status 3 of svc, or a beat of svc/3.

    svc is a job that is known here                  an exit status; refused if svc/3 is known here, too
    otherwise svc/3 is known here                    a beat of it
    otherwise other keys svc/N are known here        refused: write which of both it is
    otherwise, if any monitor knows svc/3            a beat of it
    otherwise                                        an exit status

"Known here": owned, or a shadow. Only the fourth line asks the fleet, and so does a key with a word in it, or behind a
key that is known here; such a ping is answered before it is decided. If it is refused then, that is counted and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.numbered import HasName
from heartfelt.monitor.fleet.owned import Disowned, OwnInstances
from heartfelt.monitor.fleet.owners import Elsewhere, Forward, Name, Owners, Raw, RawKind, Reply, TakenOver
from heartfelt.monitor.fleet.shadows import Shadows
from heartfelt.monitor.ingest.known import Known
from heartfelt.monitor.ingest.pending import PendingNames
from heartfelt.monitor.ingest.raws import BY_KEY, beat_raw, informed
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.model import AgentEvent, Beat

__all__ = ["Foreign"]

MOST_HOPS = 8
RESENT_MS = 60_000
"""A beat that is older is not handed over again."""
_DROPPED = counter(
    "heartfelt_foreign_dropped",
    "Inputs of names that are not this monitor's that were dropped to stay within bounds",
    labels=("what",),
)
FIGURES: Figures = {
    "pending": gauge("heartfelt_pending_names", "Names of which it is not known yet which monitor owns them"),
    "pending_bytes": gauge("heartfelt_pending_bytes", "Memory taken by their inputs", unit="bytes"),
    "pending_repeats": counter("heartfelt_pending_repeats", "Repeated inputs that took the place of the one before"),
    "pending_dropped": _DROPPED.of("pending"),
    "raws_dropped": _DROPPED.of("forward"),
    "hops_dropped": _DROPPED.of("hops"),
    "shadows": gauge("heartfelt_shadows", "Instances of other monitors that beat here"),
    "shadows_forgotten": counter("heartfelt_shadows_forgotten", "Shadows that were idle, or made room for others"),
    "stops_outdated": counter(
        "heartfelt_foreign_goodbyes_outdated", "Goodbyes from other monitors that a later beat had overtaken"
    ),
}
_ROUNDED_MS = 2
"""Two times may be rounded by so much."""
_encode = msgspec.msgpack.Encoder().encode


class Stranger(NamedTuple):
    """Stands for an instance that is nowhere yet."""

    service: str
    instance_id: str


class Foreign:
    """`intake.foreign`. Belongs to the loop's thread. take_raw: takes an input by the ordinary path. lag_to_tell_ms:
    the lag of a service's beats from which on a beat is forwarded whole."""

    def __init__(
        self,
        owned: OwnInstances,
        owners: Owners,
        known: Known,
        *,
        take_raw: Callable[[Raw], None],
        lag_to_tell_ms: Callable[[str], int],
        wall_ms: Callable[[], int],
        now_ms: Callable[[], float],
    ) -> None:
        self._owned = owned
        self._owners = owners
        self._known = known
        self._take_raw = take_raw
        self._lag_to_tell_ms = lag_to_tell_ms
        self._wall_ms = wall_ms
        self._now_ms = now_ms
        self.shadows = Shadows(known.forget, wall_ms, now_ms)
        self.pending = PendingNames()
        self._replayed: Raw | None = None
        """The input that is being replayed."""
        self._answered: Name | None = None
        """The name that it is replayed for, which no other monitor has."""
        self.hops_dropped = self.stops_outdated = 0
        owned.on_disowned.append(self._hand_over)

    # -- what comes in

    def took(self, found: Elsewhere, raw: Raw) -> HasName:
        """Keeps an input, or notes it for its owner. Raises InputRefused if a part of it is refused."""
        name = found.name
        if found.beat is not None:
            raw = beat_raw(found.beat)
            raw.joins = raw.joins and found.refused is None
        raw.heard_ms = self._now_ms()
        if (before := self._replayed) is not None:
            raw.heard_ms, raw.hops, raw.facts = before.heard_ms, before.hops + 1, before.facts
        shadow = self.shadows.by_name.get(name)
        if raw.hops > MOST_HOPS:
            self.hops_dropped += 1
        elif shadow is not None:
            if raw.kind is RawKind.PING:
                shadow.is_job = True
            self.shadows.say(shadow, raw)
        elif name != self._answered:
            self._keep(name, raw, joins=found.joins)
        elif raw.joins:
            if raw.repeats and not found.joins:
                self._owned.check_room(raw.peer)  # raises, unless there is room by now
            self._keep(name, raw, joins=found.joins or raw.repeats)
        if found.refused is not None:
            raise found.refused
        return Stranger(*name) if shadow is None else shadow

    def stop(self, name: Name, event: AgentEvent, via: str, peer: str) -> None:
        """Takes an event that is a goodbye of an instance that is not known here."""
        service, instance_id = name
        raw = Raw(
            kind=RawKind.STOP, service=service, instance_id=instance_id, data=_encode(event), via=via, peer=peer,
            joins=False,
        )  # fmt: skip
        self.took(Elsewhere(name, joins=False), raw)

    def is_here(self, name: Name) -> bool:
        return name in self.shadows.by_name or self._fact(name) is True

    def is_job(self, name: Name) -> bool:
        shadow = self.shadows.by_name.get(name)
        return shadow is not None and shadow.is_job

    def is_known(self, name: Name) -> bool:
        """Returns whether the fleet has an instance that is not this monitor's. Raises Elsewhere if it must be asked
        first."""
        if name in self.shadows.by_name:
            return True
        fact = self._fact(name)
        if fact is None:
            raise Elsewhere(name, joins=False)
        return fact

    def _fact(self, name: Name) -> bool | None:
        return None if self._replayed is None else self._replayed.facts.get(name[1])

    def _keep(self, name: Name, raw: Raw | None, *, joins: bool) -> None:
        if self.pending.put(name, raw, joins=joins):
            self._owners.unknown(name, joins=joins)

    # -- answers about names

    def mine(self, name: Name, id: int) -> None:
        """The name is this monitor's, and joins with this id."""
        self._owned.reserve(name, id)
        self._replay_all(name, informed(self.pending.pop(name), name[1], self._owned.find(name) is not None))
        self._owned.release()

    def nobody(self, name: Name) -> None:
        """No monitor has the name, and it was not asked to join."""
        self._replay_all(name, informed(self.pending.pop(name), name[1], False))

    def theirs(self, name: Name, id: int, owner: str) -> None:
        """The name is another monitor's."""
        raws = self.pending.pop(name)
        if self._owned.find(name) is not None:
            self._replay_all(name, raws)
            return
        last = raws[-1] if raws else None
        shadow = self.shadows.add(name, id, owner, last.via if last else "", last.peer if last else "")
        shadow.lag_to_tell_ms = self._lag_to_tell_ms(name[0])
        for raw in raws:
            if raw.kind is RawKind.PING:
                self._replay(raw)  # it may mean something else by now
            else:
                self.shadows.say(shadow, raw)

    def moved(self, found: Sequence[TakenOver], *, stopped: bool) -> None:
        """Instances are this monitor's now, since they beat here. `stopped`: the monitor of some has stopped."""
        if stopped:
            self._owned.asking.came_back()
        self._replace(found)
        names = [(one.row.service, one.row.instance_id) for one in found]
        shadows = {name: self.shadows.drop(name) for name in names}
        for instance in self._owned.adopt(found, moved=True):
            shadow = shadows[instance.service, instance.instance_id]
            if shadow is not None:
                self._owned.renew(instance, max(self._wall_ms() - shadow.last_beat_ms, 0))
        for name in names:
            self._replay_all(name, self.pending.pop(name))

    def adopt(self, found: Sequence[TakenOver]) -> None:
        """Instances are this monitor's now, since theirs has stopped. What was heard of them here counts."""
        self._replace(found)
        silent: list[TakenOver] = []
        heard: list[TakenOver] = []
        for one in found:
            (heard if self._is_heard_of(one) else silent).append(one)
        if heard:
            self.moved(heard, stopped=True)
        self._owned.adopt(silent)

    def _replace(self, found: Iterable[TakenOver]) -> None:
        """Forgets what was known of instances before others had them: only what was heard of them here counts."""
        self.disown([one.row.id for one in found])

    def _is_heard_of(self, one: TakenOver) -> bool:
        name = one.row.service, one.row.instance_id
        shadow = self.shadows.by_name.get(name)
        if shadow is None:
            return name in self.pending
        if shadow.last_beat_ms > one.row.last_beat_ms:
            return True
        self.shadows.drop(name)
        return False

    def waiting(self, name: Name) -> Raw | None:
        """Returns the newest plain beat of a name that is not known yet, unless another monitor has passed it on. It
        joins nowhere."""
        raw = self.pending.plain(name)
        if raw is None or raw.hops:
            return None
        return msgspec.structs.replace(raw, joins=False, age_ms=max(round(self._now_ms() - raw.heard_ms), 0))

    def ask_again(self) -> None:
        """Asks for all names again, now that Redis can be reached again."""
        for name, joins in self.pending.names():
            self._owners.unknown(name, joins=joins)

    def sweep(self) -> None:
        """Forgets shadows that are idle. Once a second."""
        self.shadows.sweep()

    # -- beats for others

    def take_forwards(self) -> list[Forward]:
        """Hands over what was heard for other monitors since the last call. Every 100 ms."""
        return self.shadows.take_forwards()

    def gone(self, owner: str, ids: Iterable[int]) -> None:
        """These are not this owner's: asks whose they are, with the newest beats that were heard of them."""
        for id in ids:
            shadow = self.shadows.by_id.get(id)
            if shadow is None or shadow.owner != owner:
                continue
            by_key = self._known.names.get(shadow.instance_id.encode(errors="surrogatepass")) is shadow
            age_ms = max(self._wall_ms() - shadow.last_beat_ms, 0)
            self.shadows.drop(shadow.name)
            if not shadow.last_beat_ms:
                continue  # it said goodbye, and was not heard before
            self._wait(shadow.name, shadow.via, shadow.peer, age_ms, by_key=by_key, joins=True)

    def doubt(self, name: Name, owner: str) -> None:
        """This owner is not sure to be it any more: asks whose the name is, with what was heard of it."""
        shadow = self.shadows.by_name.get(name)
        if shadow is not None:
            self.gone(owner, [shadow.of])

    def owner_stopped(self, owner: str) -> None:
        """Hands the newest beats of a stopped monitor's instances to whoever owns them now: what was forwarded to it
        last may have died with it. O(shadows)."""
        since_ms = self._wall_ms() - RESENT_MS
        shadows = list(self.shadows.by_id.values())
        self.gone(owner, [one.of for one in shadows if one.owner == owner and one.last_beat_ms >= since_ms])

    def unsent(self, forward: Forward) -> None:
        """Takes back what could not be forwarded, since its owner cannot be reached."""
        self.gone(forward.owner, forward.ids)
        self.again(forward.raws)

    def again(self, raws: Sequence[Raw]) -> None:
        """Takes back inputs that could not be forwarded: asks whose they are, with the newest beats that were heard."""
        for raw in raws:
            shadow = self.shadows.by_name.get((raw.service, raw.instance_id))
            if shadow is not None:
                self.gone(shadow.owner, [shadow.of])
        for raw in raws:
            self._replay(raw)

    def forwarded(self, forward: Forward, sender: str) -> Reply:
        """Takes what another monitor has heard of instances of this one."""
        reply = self._owned.forwarded(forward.ids, forward.ages_ms, sender)
        for raw in forward.raws:
            raw.heard_ms = self._now_ms() - raw.age_ms
            instance = self._replay(raw, sender)
            if instance is not None:
                reply.take.append(instance.id)
        return reply

    def disown(self, ids: Iterable[int]) -> None:
        """Instances are other monitors' now. The newest beats that were heard here go there."""
        for one in self._owned.disown(ids):
            self._hand_over(one)

    def went(self, ids: Iterable[int], owner: str) -> None:
        """Instances are this owner's now, as it says itself. What was heard here goes there, also without Redis."""
        for one in self._owned.disown(ids):
            self._hand_over(one)
            self.theirs(one.name, one.id, owner)

    def _hand_over(self, one: Disowned) -> None:
        if one.age_ms < one.lease_ms:
            self._wait(one.name, one.via, one.peer, one.age_ms, by_key=one.via in BY_KEY, joins=False)

    def _wait(self, name: Name, via: str, peer: str, age_ms: int, *, by_key: bool, joins: bool) -> None:
        """Keeps a plain beat until it is known whose it is."""
        service, instance_id = name
        raw = beat_raw(Beat(service=service, instance_id=instance_id, via=via, peer=peer, by_key=by_key))
        raw.heard_ms = self._now_ms() - age_ms
        self._keep(name, raw, joins=joins)

    # -- replaying

    def _replay_all(self, name: Name, raws: Iterable[Raw]) -> None:
        self._answered = name
        try:
            for raw in raws:
                self._replay(raw)
        finally:
            self._answered = None

    def _replay(self, raw: Raw, sender: str | None = None) -> Instance | None:
        """Takes an input by the ordinary path, as of when it was heard. Returns its instance if the sender may take
        it."""
        name = raw.service, raw.instance_id
        instance = self._owned.find(name)
        age_ms = max(round(self._now_ms() - raw.heard_ms), 0)
        n = before_ms = 0
        left_ms = 0.0
        if instance is not None:
            n, before_ms = instance.beats, instance.last_beat_ms
            left_ms = self._owned.left_ms(instance, age_ms)
            if (
                not raw.joins
                and not raw.repeats
                and self._wall_ms() - age_ms + _ROUNDED_MS < before_ms <= self._wall_ms()
            ):
                self.stops_outdated += 1
                return None
            if raw.repeats and self._owned.is_outdated(instance, age_ms):
                return None
        elif not raw.joins and name == self._answered:
            return None
        self._replayed = raw
        self._owned.hears(age_ms)
        try:
            self._take_raw(raw)
        finally:
            self._replayed = None
            self._owned.hears(0)
        if instance is None or instance.beats == n:
            return None
        self._owned.was_heard(instance, before_ms, left_ms, age_ms)
        may_take = sender is not None and self._owned.note_abroad(instance, n, sender, age_ms)
        return instance if may_take else None

    # -- figures

    def stats(self) -> dict[str, int | float]:
        return {
            "pending": len(self.pending),
            "pending_bytes": self.pending.n_bytes,
            "pending_repeats": self.pending.repeats,
            "pending_dropped": self.pending.dropped,
            "raws_dropped": self.shadows.raws_dropped,
            "hops_dropped": self.hops_dropped,
            "shadows": len(self.shadows),
            "shadows_forgotten": self.shadows.forgotten,
            "stops_outdated": self.stops_outdated,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
