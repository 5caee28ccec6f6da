# SPDX-License-Identifier: MIT
"""Decides whether a loss is notified now or held: held when the fault may lie in the network between, or with the
monitor.

While nothing is held, a loss begins a hold if
- the monitor itself was stalled a moment ago, or has started and none of the instances that it knew has come back; or
- no instance at all has been heard since before others missed their beats, too; or
- beats get lost on their way: many instances miss beats and then beat again; or
- more than a given share of its service, or of all instances, is lost or about to be lost close together.
All but the last are noticed by outages.py.

A hold has one scope (a service, or all), one reason, and a latest end that nothing moves. Losses within its scope are
held: they count as LOST, nobody is notified, and a loss is forgotten if its instance beats again. At the end, or when
somebody releases the hold, the remaining losses are notified at a limited rate, and are then not held again for a
while, so a hold cannot follow itself. If other services are hit during a hold, it widens to all services, with the
same end.

A leak, the loss of some beats, may last for days, so a hold for it has no end of its own. Instead each of its losses
is notified once the instance has missed more beats in a row than the leak explains.

**No loss is delayed in case more should follow.** A delay would make every loss late, and when a rack dies its losses
are spread over the interval between beats, far longer than an acceptable delay. Instead the hold looks ahead: an
instance that missed a beat is LATE long before its timeout expires, so at a rack's first loss it is known which others
are due, and when; they count as if they were lost already. Those that were cut off at one moment are lost within one
interval, so losses count together over the window and one interval. Only losses of instances with an unknown interval
(or one longer than two thirds of the timeout) can be notified before a hold of their fellows begins, and none of those
that come at the same moment.

**Nothing is due from a key that has beaten once or twice, and whose period is not known.** Its loss may be held
with others, but is no sign that more than itself is silent.

Shares are of the instances that beat (all states but LOST, LEFT and PAUSED, plus the losses notified within the
window), so a fleet that has shrunk is measured by its new size. They count distinct instances, so one that flaps
counts once.

In a fleet of monitors the shares are the fleet's (shares.py), and so is a hold that begins by them: a monitor that has
a loss in its scope joins it, with the same end. Its own outages are each monitor's own.

Pure: it is given the time, in ms by the registry's clock, and `next_ms` says when it wants to be called.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.listening import Intervals
from heartfelt.monitor.fleet.loss_window import Windows
from heartfelt.monitor.fleet.others import CensusAnswer, FleetHold, Others, part_of
from heartfelt.monitor.fleet.outages import Outages
from heartfelt.monitor.fleet.policy import HoldPolicy
from heartfelt.monitor.fleet.shares import NO_TIMING, LossShares, Timing
from heartfelt.monitor.model import Hold, HoldState
from heartfelt.monitor.reasons import NO_REASON, Reason

_STEP_MS = 50.0
_CHANCE = 1e-7
"""In a leak, an instance is lost once it has missed more beats in a row than would happen with this probability."""


class HoldMachine:
    """The monitor's hold; there is one at most. Belongs to the loop's thread.

    `beating` returns how many instances of a service ("": of all) may yet be lost. An instance whose loss has not been
    notified is among them.
    """

    def __init__(self, policy: HoldPolicy, beating: Callable[[str], int], intervals: Intervals | None = None) -> None:
        self.policy = policy
        self.windows = Windows(policy.window_ms)
        self.shares = LossShares(policy, self.windows, beating)
        self.outages = Outages(policy, Intervals() if intervals is None else intervals)
        self.state = HoldState.NONE
        self.scope = ""
        self.reason = NO_REASON
        self.version = 0
        """Grows with each change of what `hold` returns."""
        self.holds = self.held_in_all = self.released = self.recovered = 0
        self._held: OrderedDict[int, tuple[str, float, Timing]] = OrderedDict()
        """The service of each, when its timeout had passed, and its times."""
        self._patience: list[tuple[float, int]] = []
        """In a leak: a heap of times at which a held loss may have to be notified, and its id."""
        self._notified: set[int] = set()
        self._notified_until_ms = 0.0
        self._since_ms = self._until_ms = 0.0
        self._step_ms = 0.0
        self._others: Others | None = None
        self._released_ms = -math.inf
        self.is_of_fleet = False
        """It was begun by the numbers of a fleet of monitors, so the others join it."""
        self._for_silence = False
        self._leak = 0.0
        """The share of beats that do not arrive, if that is why losses are held; otherwise 0."""

    # -- what happens

    def lost(self, now_ms: float, id: int, service: str, timing: Timing = NO_TIMING) -> bool:
        """Handles an expired timeout that `windows` counts. True: the loss is held, and `due` returns it later unless
        `forget` is called. O(window)."""
        if not self.policy.enable:
            return self._notify(now_ms, service)
        own = self.outages.own(now_ms)
        if id in self._notified and own is None:
            held = False
        elif self._leak:
            self._begins_everywhere(now_ms, id)
            held = True
        elif self.state is HoldState.NONE:
            held = self._begins_everywhere(now_ms, id) or self._begins_for_leak(now_ms)
            held = held or self._begins_for_share(now_ms, service, timing) or self._joins(now_ms, service)
        elif not self.scope or self.scope == service:
            held = True
        else:
            held = self._widens(now_ms, id, service, timing) or self._begins_for_leak(now_ms)
        if not held:
            return self._notify(now_ms, service)
        self._held[id] = service, now_ms, timing
        if self._leak:
            heapq.heappush(self._patience, (now_ms + self._patience_ms(timing), id))
        self.held_in_all += 1
        self.version += 1
        return True

    def forget(self, id: int) -> None:
        """Forgets a held loss: the instance beats again, has left, or is no longer watched."""
        if self._held.pop(id, None) is not None:
            self.recovered += 1
            self.version += 1

    def heard(self, now_ms: float, total: int) -> None:
        """Takes the number of beats since the start, once a second."""
        settled_ms = self.outages.heard(now_ms, total)
        if settled_ms is not None and self._for_silence and self.state is HoldState.HOLDING:
            self._for_silence = False  # beats are back: give agents the time to reconnect, and no more
            self._until_ms = min(self._until_ms, settled_ms)
            self.version += 1
        self.windows.prune(int(now_ms // 1000))
        if self._leak and self._others is not None:
            self._others.want("")

    def use_others(self, others: Others) -> None:
        """Counts with the other monitors of a fleet from now on."""
        self._others = self.shares.others = self.outages.others = others

    def answer(self, now_ms: float, of: Mapping[str, ServiceCounts], all: ServiceCounts) -> CensusAnswer:
        """Returns what another monitor is told, of the given services."""
        hold = None
        if self.state is HoldState.HOLDING and self.is_of_fleet:
            reason = self.reason
            hold = FleetHold(self.scope, reason.code, reason.args, now_ms - self._since_ms, self._until_ms - now_ms)
        return CensusAnswer(
            part_of(all, self.windows.all, now_ms),
            {service: part_of(counts, self.windows.of(service), now_ms) for service, counts in of.items()},
            self.outages.quiet(now_ms),
            self.outages.missing(),
            hold,
        )

    def release(self, now_ms: float, by: str) -> bool:
        """Ends the hold: held losses are notified from now on, at the limited rate. False if nothing is being held."""
        if self.state is not HoldState.HOLDING:
            return False
        self._release(now_ms, reasons.released(by, self.reason))
        return True

    def due(self, now_ms: float, most: int) -> list[int]:
        """Returns at most `most` ids whose loss is to be notified now. Call it by `next_ms`, and once a second."""
        due: list[int] = []
        if self.state is HoldState.HOLDING:
            if now_ms >= self._until_ms:
                held_ms = now_ms - self._since_ms
                self._release(now_ms, reasons.hold_expired(held_ms, self.policy.release_per_s, self.reason))
            elif self._leak:
                leak = self.outages.leak(now_ms, self.policy.leak / 2)
                self._grows(leak)
                due = self._beyond_patience(now_ms, most)
                if not self._held and not leak:
                    self._end(now_ms)
            elif not self._held and now_ms - self._since_ms >= self.policy.window_ms:
                self._end(now_ms)
        if self.state is HoldState.RELEASING:
            n = min(int((now_ms - self._step_ms) * self.policy.release_per_s / 1000.0 + 1e-9), most)
            self._step_ms += n * 1000.0 / self.policy.release_per_s
            for _ in range(min(n, len(self._held))):
                id, (service, _, _) = self._held.popitem(last=False)
                self._notified.add(id)
                due.append(id)
                self._notify(now_ms, service)
            self.released += len(due)
            self.version += bool(due)
            if not self._held:
                self._end(now_ms)
        elif self._notified and self.state is HoldState.NONE and now_ms >= self._notified_until_ms:
            self._notified.clear()
        return due

    def unsettled_ms(self, now_ms: float, service: str) -> float:
        """Returns for how long from now silence of this service proves nothing: until its hold ends, or until agents
        have reconnected after a stall. 0: it does."""
        own = self.outages.own(now_ms)
        wait_ms = 0.0 if own is None else own[1] - now_ms
        if self.state is HoldState.HOLDING and self.scope in ("", service):
            longest_ms = float(self.policy.settle_ms) if self._leak else math.inf  # then it is asked again
            wait_ms = max(wait_ms, min(self._until_ms - now_ms, longest_ms))
        return wait_ms if self.policy.enable else 0.0

    def next_ms(self, now_ms: float) -> float | None:
        """Returns in how many ms to call `due`; None: once a second is enough."""
        if self.state is HoldState.HOLDING:
            return None if self._leak else max(self._until_ms - now_ms, 1.0)
        if self.state is HoldState.RELEASING:
            return max(1000.0 / self.policy.release_per_s, _STEP_MS)
        return None

    def hold(self, now_ms: float, wall_ms: int) -> Hold:
        """Returns the hold as it is shown and stored."""
        if self.state is HoldState.NONE:
            return Hold()
        return Hold(
            state=self.state,
            reason=self.reason,
            scope=self.scope,
            held=len(self._held),
            since_ms=wall_ms - round(now_ms - self._since_ms),
            until_ms=None if math.isinf(self._until_ms) else wall_ms + round(self._until_ms - now_ms),
        )

    @property
    def held(self) -> int:
        return len(self._held)

    # -- how it is decided

    def _begins_everywhere(self, now_ms: float, id: int) -> bool:
        everywhere = self._everywhere(now_ms, id)
        if everywhere is not None:
            self._begin(now_ms, "", *everywhere)
        return everywhere is not None

    def _begins_for_share(self, now_ms: float, service: str, timing: Timing) -> bool:
        for view in self.shares.views(now_ms, timing):
            own = view.is_hit(service, timing)
            if not own and not view.is_hit("", timing):
                continue
            scope = service if own and not view.are_others_hit(service, timing) else ""
            n, total = view.share("" if view.is_part else scope, timing)
            share = self.policy.share if scope or view.is_part else self.policy.share_of_all
            window_ms = self.policy.window_ms + timing.spread_ms
            reason = reasons.share_here if view.is_part else reasons.share
            self._begin(now_ms, scope, reason(n, total, window_ms, scope, share), math.inf)
            self.is_of_fleet = view.is_fleet
            return True
        return False

    def _joins(self, now_ms: float, service: str) -> bool:
        """Joins the hold of another monitor that holds losses of this service, unless it was released here."""
        if self._others is None:
            return False
        for scope, reason, since_ms, until_ms in self._others.holds(service, now_ms):
            if since_ms > self._released_ms:
                self._begin(now_ms, scope, reason, until_ms)
                self._since_ms, self.is_of_fleet = min(since_ms, now_ms), True
                return True
        return False

    def _everywhere(self, now_ms: float, id: int) -> tuple[Reason, float] | None:
        """Returns why losses of all services are held, and until when, if that does not depend on how many they are."""
        own = self.outages.own(now_ms)
        if own is None and (silence := self.outages.silence(now_ms, id)) is not None:
            self._for_silence = True
            return silence, math.inf
        return own

    def _begins_for_leak(self, now_ms: float) -> bool:
        leak = self.outages.leak(now_ms, self.policy.leak)
        if leak:
            self._begin(now_ms, "", reasons.leak(1.0 - leak), math.inf)
            self._leak, self._until_ms = leak, math.inf
            self._patience = [(now_ms, id) for id in self._held]
        return bool(leak)

    def _grows(self, leak: float) -> None:
        """Notes that more beats get lost than it seemed, and says so: a leak shows little by little."""
        if round(leak, 2) > round(self._leak, 2):
            self.reason = reasons.leak(1.0 - leak)
            self.version += 1
        self._leak = max(self._leak, leak)

    def _patience_ms(self, timing: Timing) -> float:
        """Returns for how much longer an instance may be silent by chance, as beats get lost."""
        interval_ms = timing.interval_ms or timing.lease_ms / 2
        beats = math.ceil(math.log(_CHANCE) / math.log(self._leak))
        return min(max(beats * interval_ms - timing.lease_ms, interval_ms), float(self.policy.longest_ms))

    def _beyond_patience(self, now_ms: float, most: int) -> list[int]:
        due: list[int] = []
        if self.outages.is_quiet(now_ms):
            return due  # nobody is heard, so a silence says nothing about one of them
        while self._patience and self._patience[0][0] <= now_ms and len(due) < most:
            _, id = heapq.heappop(self._patience)
            if id not in self._held:
                continue
            service, lost_ms, timing = self._held[id]
            until_ms = lost_ms + self._patience_ms(timing)
            if until_ms > now_ms:  # it was held again later, or more beats get lost than it seemed
                heapq.heappush(self._patience, (until_ms, id))
                continue
            del self._held[id]
            due.append(id)
            self._notify(now_ms, service)
        self.released += len(due)
        self.version += bool(due)
        return due

    def _widens(self, now_ms: float, id: int, service: str, timing: Timing) -> bool:
        # Losses in the held service do not count here: they must not hold single losses elsewhere.
        hit = [
            view
            for view in self.shares.views(now_ms, timing)
            if view.is_hit(service, timing) or view.are_others_hit(self.scope, timing)
        ]
        if hit:
            self.reason = reasons.many_services(self.scope, service)
            self.is_of_fleet = hit[0].is_fleet
        elif everywhere := self._everywhere(now_ms, id):
            self.reason = everywhere[0]
            self.is_of_fleet = False
        else:
            return False
        self.scope = ""
        self.version += 1
        return True

    def _begin(self, now_ms: float, scope: str, reason: Reason, until_ms: float) -> None:
        self.state, self.scope, self.reason = HoldState.HOLDING, scope, reason
        self._since_ms = now_ms
        self._until_ms = min(now_ms + self.policy.longest_ms, until_ms)
        self._leak, self.is_of_fleet = 0.0, False
        self._patience.clear()
        self.holds += 1
        self.version += 1

    def _release(self, now_ms: float, reason: Reason) -> None:
        self.state = HoldState.RELEASING
        self.reason = reason
        self._until_ms = now_ms + len(self._held) * 1000.0 / self.policy.release_per_s
        self._step_ms = self._released_ms = now_ms
        self.outages.told(now_ms)
        self._leave()

    def _end(self, now_ms: float) -> None:
        self.state = HoldState.NONE
        self._notified_until_ms = now_ms + self.policy.longest_ms
        self._leave()

    def _leave(self) -> None:
        self._leak, self._for_silence, self.is_of_fleet = 0.0, False, False
        self._patience.clear()
        self.version += 1

    def _notify(self, now_ms: float, service: str) -> bool:
        self.windows.notified(service, int(now_ms // 1000))
        return False
