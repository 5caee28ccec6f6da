# SPDX-License-Identifier: MIT
"""All instances in memory: takes beats, keeps the state of each, and publishes changes to listeners.

Everything here belongs to one thread, the event loop's, and nothing blocks or scans all instances. Timeouts are watched
by the native workers of five hubs (timers.py); `poll` reads their events (expiry.py); lifecycle.py alone decides what
follows from one, and hold.py whether a loss is held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from heartfelt.monitor.fleet import metrics, reasons
from heartfelt.monitor.fleet.admission import REASONS, Gate, InputRefused
from heartfelt.monitor.fleet.book_view import BookView
from heartfelt.monitor.fleet.by_hand import ByHand
from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.expiry import Verdicts
from heartfelt.monitor.fleet.hold import HoldMachine
from heartfelt.monitor.fleet.instance import Instance, beat_of, new_instance
from heartfelt.monitor.fleet.jobs import Jobs
from heartfelt.monitor.fleet.leases import LAG_TO_TELL_MS
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.owned import FIGURES as OWNED
from heartfelt.monitor.fleet.owned import OwnInstances
from heartfelt.monitor.fleet.owners import Elsewhere, Owners
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy, ServicePolicy
from heartfelt.monitor.fleet.restoring import Restorer
from heartfelt.monitor.fleet.retiming import retime, use_policy
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.fleet.shadows import NO_ID
from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.fleet.uptime import UptimeMeter
from heartfelt.monitor.metric import Reading, read
from heartfelt.monitor.model import AgentEvent, Beat, Hold, Limits, State
from heartfelt.testing import ManualClock

if TYPE_CHECKING:
    from heartfelt.monitor.store import Saved

__all__ = [
    "REASONS",
    "HoldPolicy",
    "InputRefused",
    "Instance",
    "Policy",
    "Registry",
    "ServiceCounts",
    "ServicePolicy",
]


def wall_clock_ms() -> int:
    """Returns ms since the epoch."""
    return time.time_ns() // 1_000_000


class Registry(ByHand, BookView):
    """The monitor's instances.

    `clock`: "monotonic", or a ManualClock. `wall_ms`: the time that is shown and stored; it decides nothing but how
    much of a pause or a cache time is left after a restart. `work_s`: the clock by which `poll` measures its work.
    `owners`: the fleet of monitors that this one belongs to; None: it is the only one. With it, beats and goodbyes of
    names that are not known here raise Elsewhere.

    Listeners:
    - on_change: each change of state
    - on_row: each instance with news beyond its last beat (so also with each change but REMOVED)
    - on_removed: each instance that is REMOVED, after its change
    - on_detected: the instance of a loss that was notified when its timeout expired, after its change (not one that
      was held, or that showed when a pause ended)
    - on_hold: the hold, when it changes
    - on_held: each instance whose loss is held from now on, until its next change
    - on_ack: each instance that is acknowledged from now on, or no longer
    - on_event: events that agents and the monitor report
    - on_run: a run of a job, when it begins, makes progress, ends or is overdue
    - on_uptime: how long services were watched and up, since that was published last

    A listener is called at once, in the loop's thread, and must not call back. If it raises, that is logged and
    counted.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        clock: str | ManualClock = "monotonic",
        wall_ms: Callable[[], int] = wall_clock_ms,
        limits: Limits | None = None,
        work_s: Callable[[], float] = time.perf_counter,
        owners: Owners | None = None,
    ) -> None:
        self.policy = Policy() if policy is None else policy
        book = Book()
        self._gate = Gate(Limits() if limits is None else limits)
        self._by_key = book.by_key
        self._timers = Timers(clock)
        self._hold = HoldMachine(self.policy.hold, self._beating, book.counts.intervals)
        now_ms = self._timers.now_ms
        self.uptime = book.uptime = UptimeMeter(
            now_ms, wall_ms, self.policy.min_up, book.publish_uptime, ticks=self._timers.is_real
        )
        """Adds up how long services are watched and up."""
        super().__init__(book, Life(book, self._timers, self.policy, self._hold, now_ms, wall_ms), wall_ms)
        self.jobs = Jobs(self._life, self.beat)
        """Takes what jobs report about their runs."""
        self._verdicts = Verdicts(self._life, self.jobs.due, work_s)
        self._now_ms = self.now_ms = now_ms
        self._dirty = book.dirty
        self.beats = 0
        """Beats taken since the start, of all instances."""
        self.goodbyes = self._not_restored = 0
        self.owners = owners
        self.owned: OwnInstances | None = None
        """The part that is needed in a fleet of monitors; None: this is the only one."""
        if owners is not None:
            self.owned = OwnInstances(owners, self._life, self._gate, self.jobs, self._beaten, self._count_one)
        self.on_change = book.on_change
        self.on_detected = book.on_detected
        self.on_hold = book.on_hold
        self.on_held = book.on_held
        self.on_ack = book.on_ack
        self.on_row = book.on_row
        self.on_event = book.on_event
        self.on_run = book.on_run
        self.on_uptime = book.on_uptime
        self.on_removed = book.on_removed

    # -- beats

    def renew(self, instance: Instance) -> None:
        """Takes a plain beat of a known instance. The hot path."""
        instance.lease()
        late = instance.late
        if late is not None:
            late()
        now_ms = self._wall_ms()
        gap_ms = now_ms - instance.last_beat_ms
        instance.last_beat_ms = now_ms
        n = instance.beats
        instance.beats = n + 1
        instance.note_gap(n, gap_ms)
        self._dirty[instance.id] = now_ms
        self.beats += 1
        if not instance.plain:
            self._beaten(instance, gap_ms, now_ms)

    def renewing(self) -> tuple[int, dict[int, int]]:
        """Returns what `heartfelt._ingest` needs to renew plain instances: the time, and the dict of last beats. Valid
        until the loop runs on; the caller adds the number it renewed to `beats`."""
        return self._wall_ms(), self._dirty

    def beat(self, beat: Beat) -> Instance:
        """Takes any heartbeat. An unknown instance joins.

        Raises InputRefused if it must not join. Metadata of a known instance that is too large is refused too, but the
        beat counts: the instance is alive. The goodbye of an unknown instance does nothing; the instance returned for
        it is REMOVED. A beat whose `meta` is the same object as before is the cheapest.
        """
        instance = self._by_key.get((beat.service, beat.instance_id))
        if beat.goodbye:
            return self._goodbye(instance, beat)
        if instance is None:
            return self._join(beat)
        now_ms = self._wall_ms()
        retimed = instance.learn(beat, now_ms)
        if retimed:
            self._life.set_terms(instance)
        fresh = retimed
        if beat.via and beat.via != instance.via:  # "": another monitor says only that it was heard
            instance.via = beat.via
            fresh = True
        self.renew(instance)
        if (beat.lag_ms or retimed) and instance.plain and self._life.is_stuck(instance):
            self._life.beaten(instance, 0, now_ms)
        if beat.peer and beat.peer != instance.peer:
            self._life.addresses.move(instance, beat.peer)
            fresh = True
        refused: InputRefused | None = None
        meta = beat.meta
        if meta is not None and meta is not instance.meta and meta != instance.meta:
            try:
                self._gate.check_meta(beat)
            except InputRefused as error:
                refused = error
            else:
                self._book.set_meta(instance, meta)
                fresh = True
        if fresh:
            self._book.publish_row(instance)
        if refused is not None:
            raise refused
        return instance

    def _join(self, beat: Beat) -> Instance:
        now_ms = self._wall_ms()
        if self.owned is not None:
            instance = new_instance(beat, now_ms, self.owned.admit(beat))
        else:
            self._gate.check_new(beat, self._book.counts)
            instance = new_instance(beat, now_ms, self._book.next_id)
            self._book.next_id += 1
        instance.beats = 1
        instance.learn(beat, now_ms)
        instance.reason = reasons.joined(instance)
        self._life.set_terms(instance)
        self.beats += 1
        self._dirty[instance.id] = now_ms
        self._book.join(instance, now_ms)
        self._life.came(instance, now_ms)
        if self._life.is_stuck(instance):
            self._life.beaten(instance, 0, now_ms)
        return instance

    def _beaten(self, instance: Instance, gap_ms: int, now_ms: int) -> None:
        if instance.state is not State.REMOVED:
            self.jobs.beaten(instance, gap_ms, now_ms)
            return
        # A caller kept the instance longer than the registry did. It beats, so it joins again.
        self._timers.forget(instance.id)
        del self._dirty[instance.id]
        known = self._by_key.get((instance.service, instance.instance_id))
        if known is not None:
            self.renew(known)
        else:
            self._join(beat_of(instance))

    def _goodbye(self, instance: Instance | None, beat: Beat) -> Instance:
        if instance is None and self.owned is not None:
            raise Elsewhere((beat.service, beat.instance_id), joins=False, beat=beat)
        self.goodbyes += 1
        if instance is None:
            instance = new_instance(beat, self._wall_ms(), 0)
            instance.state = State.REMOVED
            return instance
        self._life.leave(instance, "")
        return instance

    # -- other settings

    def use(self, policy: Policy, limits: Limits) -> None:
        """Decides by another policy and other limits from now on, except for those of holds and `min_up`. Call `retime`
        for all instances then. O(1)."""
        self.policy = policy
        use_policy(self._life, policy)
        self._gate.limits = limits

    def ids(self) -> list[int]:
        """Returns the ids of all instances. O(instances)."""
        return list(self._book.by_id)

    def retime(self, ids: Iterable[int]) -> None:
        """Applies the present policy to instances that joined under another one. Their timeouts count from their last
        beats. How long a lost one is remembered is decided at its next loss."""
        for id in ids:
            if (instance := self._book.by_id.get(id)) is not None:
                retime(self._life, instance)

    # -- other things that happen to an instance

    def goodbye(self, service: str, instance_id: str, text: str = "", event: AgentEvent | None = None) -> bool:
        """Notes that an instance ended normally, since it said so by `text` or an `event`. False if it is not known."""
        instance = self._by_key.get((service, instance_id))
        if instance is None and self.owned is not None:
            raise Elsewhere((service, instance_id), joins=False)
        self.goodbyes += 1
        if instance is None:
            return False
        self._life.leave(instance, text, event)
        return True

    def event(self, event: AgentEvent) -> None:
        """Publishes an event that an agent reported."""
        self._book.publish(self.on_event, event)

    # -- the hold

    def hold(self) -> Hold:
        return self._hold.hold(self._now_ms(), self._wall_ms())

    def release_hold(self, by: str) -> bool:
        """Releases the hold: its losses are notified from now on, at the limited rate. False if none is held."""
        released = self._hold.release(self._now_ms(), by)
        self.poll()
        return released

    def stalled(self, stall_ms: float) -> None:
        """Notes that the monitor could not run for this long, until now; for stalls that the hubs cannot detect."""
        self.uptime.stopped(stall_ms)
        self._verdicts.stalled(stall_ms)

    # -- time

    def poll(self) -> int:
        """Reads the timers' events and acts on them, for about 5 ms.

        Call it when a descriptor of `filenos` is readable; one stays readable as long as more is waiting. Returns how
        much was done: with a ManualClock, call it until that is 0.
        """
        self._verdicts.beats = self.beats
        return self._verdicts.poll()

    def filenos(self) -> list[int]:
        """Returns descriptors that are readable when `poll` has work. They live as long as the registry."""
        return self._verdicts.filenos()

    # -- reading

    def find(self, service: str, instance_id: str) -> Instance | None:
        return self._by_key.get((service, instance_id))

    def dirty_beats(self) -> dict[int, int]:
        """Hands over the last beats, by id, of instances that have beaten since the last call. O(1)."""
        dirty = self._dirty
        self._dirty = self._book.dirty = {}
        dirty.pop(NO_ID, None)
        return dirty

    def stats(self) -> dict[str, int | float]:
        """Returns counters since the start, and current numbers. O(1)."""
        book, hold, verdicts = self._book, self._hold, self._verdicts
        stats: dict[str, int | float] = {
            "instances": book.counts.all.total,
            "services": len(book.counts.services),
            "applications": len(book.counts.apps),
            "clients": len(book.counts.clients),
            "beats": self.beats,
            "beats_per_s": hold.outages.listening.per_s,
            "goodbyes": self.goodbyes,
            "changes": book.changes,
            **self._life.stats(),
            **self.jobs.stats(),
            "listener_errors": book.listener_errors,
            "not_restored": self._not_restored,
            "timers_waiting": self._timers.waiting(),
            "stalls": verdicts.stalls,
            "stalled_ms": verdicts.stalled_ms,
            "losses_deferred": verdicts.deferred,
            "losses_read_late_ms": verdicts.max_late_ms,
            "holds": hold.holds,
            "held": hold.held,
            "held_in_all": hold.held_in_all,
            "held_recovered": hold.recovered,
            "held_released": hold.released,
        }
        for reason, n in self._gate.refused.items():
            stats[f"refused_{reason}"] = n
        if self.owned is not None:
            stats |= self.owned.stats()
        return stats

    def readings(self) -> Iterator[Reading]:
        """The fleet's metrics. O(services)."""
        yield metrics.instances(self.totals(), self.services())
        yield metrics.UNNAMED.reading(max(0, len(self.services()) - metrics.SERVICES))
        yield from self.uptime.readings()
        stats = self.stats()
        yield from read(metrics.FIGURES, stats)
        if self.owned is not None:
            yield from read(OWNED, stats)

    # -- start and end

    def restore(self, saved: Saved) -> None:
        """Loads what the store knew into a registry that has taken no beat yet.

        Each that was alive then gets one full timeout from now on, over TCP with the time to reconnect. If it does not
        beat by then it is lost: losses while the monitor was down are found. Listeners are told only that a hold ended.
        """
        now_ms = self._wall_ms()
        restorer = Restorer(self._life, now_ms, now_ms)
        restorer.restore(saved.instances)
        self._not_restored = restorer.dropped
        self.jobs.restore(saved.runs, saved.next_run)
        self._hold.outages.started(self._now_ms(), self._book.counts.all.beating)
        self._book.next_id = max(self._book.next_id, saved.next_id)
        self._book.next_seq = max(self._book.next_seq, saved.next_seq)
        if saved.hold != Hold():
            self._book.publish_hold(saved.hold, Hold(), now_ms)

    def close(self) -> None:
        """Stops watching. Idempotent."""
        self._timers.close()
        self._verdicts.close()

    def lag_to_tell_ms(self, service: str) -> int:
        """Returns from which lag on a beat of the service is no plain one, as far as its interval does not matter."""
        return min(LAG_TO_TELL_MS, self.policy.stuck_ms(service, None) + 1)

    def _count_one(self) -> None:
        self.beats += 1

    def _beating(self, scope: str) -> int:
        counts = self._book.counts.services.get(scope) if scope else self._book.counts.all
        return 0 if counts is None else counts.beating
