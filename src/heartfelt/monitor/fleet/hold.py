# SPDX-License-Identifier: MIT
"""Whether losses are told now, or held: when so many come together that the fault may lie between, or with the monitor.

A hold begins with a loss, while nothing is held, if
- more than a share of its service, or of all, is lost or is about to be within one short window; or
- the monitor itself was stalled a moment ago; or
- nobody at all has been heard for a while, where before there were many beats a second.

It has one scope (a service, or all), one reason, and a latest end that nothing moves. What is in its scope is held:
shown as LATE, told to nobody, and forgotten if it beats again. At the end, or when somebody releases it, what is still
held is told at a limited rate, and then not held again for a while, so a hold cannot follow itself. If other services
are hit while one is held, the hold widens to all, with the same end.

**No loss is delayed in case more should follow.** A delay would make each loss late, and in a rack that dies losses
come spread over the interval of the beats, far longer than a delay could be. Instead the hold looks ahead: who has
missed a beat is LATE long before its lease runs out, so at a rack's first loss the others are known to be due, and
when; they count as if they were lost already. Only losses of instances whose interval is not known (or is longer than
two thirds of the lease) can be told before a hold of their fellows begins, and of those that come at once, none.

Shares are of those that beat (in all states but LOST, LEFT and PAUSED, and what was told within the window), so a fleet
that has shrunk is measured by its new size, and of distinct instances, so one that flaps counts once.

Pure: times are given, in ms by the registry's clock, and it asks to be called by what `next_ms` returns.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.loss_window import Windows
from heartfelt.monitor.fleet.policy import HoldPolicy
from heartfelt.monitor.model import Hold, HoldState
from heartfelt.monitor.reasons import NO_REASON, Reason

_STEP_MS = 50.0
_RATE_OVER_MS = 30_000.0


class Listening:
    """How many beats there are, and since when none. Fed once a second."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self.heard_ms: float | None = None
        self.gap_ms = 0.0
        """The longest time without a beat lately, which is nothing unusual."""
        self._total = 0

    def heard(self, now_ms: float, total: int) -> None:
        """`total`: beats since the start."""
        new, self._total = total - self._total, total
        if self.heard_ms is None:
            self.heard_ms = now_ms
        elapsed_ms = now_ms - self.heard_ms
        if not new or elapsed_ms <= 0:
            return
        part = 1.0 - math.exp(-elapsed_ms / _RATE_OVER_MS)
        self.per_s += part * (new * 1000.0 / elapsed_ms - self.per_s)
        self.gap_ms = max(elapsed_ms, 0.9 * self.gap_ms)
        self.heard_ms = now_ms

    def silent_ms(self, now_ms: float) -> float:
        return 0.0 if self.heard_ms is None else now_ms - self.heard_ms


class HoldMachine:
    """The one hold that there is. Belongs to the loop's thread.

    up: how many instances of a service ("": of all) are in no other state than those that beat; one whose loss has not
    been told is among them.
    """

    def __init__(self, policy: HoldPolicy, up: Callable[[str], int]) -> None:
        self.policy = policy
        self._up = up
        self.windows = Windows(policy.window_ms)
        self.listening = Listening()
        self.state = HoldState.NONE
        self.scope = ""
        self.reason = NO_REASON
        self.version = 0
        """Grows with each change of what `hold` shows."""
        self.holds = self.held_in_all = self.released = self.recovered = 0
        self._held: OrderedDict[int, str] = OrderedDict()
        self._told: set[int] = set()
        self._told_until_ms = 0.0
        self._since_ms = self._until_ms = 0.0
        self._step_ms = 0.0
        self._for_silence = False
        self._settled_ms = -math.inf
        self._stall_reason = NO_REASON

    # -- what happens

    def lost(self, now_ms: float, id: int, service: str) -> bool:
        """An instance's lease ran out, and `windows` counts it. True: it is held, and comes back by `due` unless
        `forget` is called. O(window)."""
        if not self.policy.enabled or id in self._told:
            return self._tell(now_ms, service)
        if self.state is HoldState.NONE:
            held = self._begins(now_ms, service)
        elif not self.scope or self.scope == service:
            held = True
        else:
            held = self._widens(now_ms, service)
        if not held:
            return self._tell(now_ms, service)
        self._held[id] = service
        self.held_in_all += 1
        self.version += 1
        return True

    def forget(self, id: int) -> None:
        """It beats again, has left, or is no longer watched."""
        if self._held.pop(id, None) is not None:
            self.recovered += 1
            self.version += 1

    def stalled(self, now_ms: float, stall_ms: float) -> None:
        """The monitor could not run for so long, until now."""
        if stall_ms >= self.policy.stall_ms:
            self._settled_ms = max(self._settled_ms, now_ms + max(float(self.policy.settle_ms), stall_ms))
            self._stall_reason = reasons.stalled(stall_ms)

    def heard(self, now_ms: float, total: int) -> None:
        """Once a second: how many beats there have been since the start."""
        before = self.listening.heard_ms
        self.listening.heard(now_ms, total)
        if self._for_silence and self.state is HoldState.HOLDING and self.listening.heard_ms != before:
            self._for_silence = False  # the beats are back: once more the time in which agents connect anew, not longer
            self._until_ms = min(self._until_ms, now_ms + self.policy.settle_ms)
            self.version += 1
        self.windows.prune(int(now_ms // 1000))

    def release(self, now_ms: float, by: str) -> bool:
        """From now on what is held is told, at the limited rate. False if nothing is being held."""
        if self.state is not HoldState.HOLDING:
            return False
        self._release(now_ms, reasons.released(by, self.reason))
        return True

    def due(self, now_ms: float, most: int) -> list[int]:
        """At most so many whose loss is to be told now. To be called when `next_ms` says so, and once a second."""
        if self.state is HoldState.HOLDING:
            if now_ms >= self._until_ms:
                held_ms = now_ms - self._since_ms
                self._release(now_ms, reasons.hold_expired(held_ms, self.policy.release_per_s, self.reason))
            elif not self._held and now_ms - self._since_ms >= self.policy.window_ms:
                self._end(now_ms)
        told: list[int] = []
        if self.state is HoldState.RELEASING:
            n = min(int((now_ms - self._step_ms) * self.policy.release_per_s / 1000.0 + 1e-9), most)
            self._step_ms += n * 1000.0 / self.policy.release_per_s
            for _ in range(min(n, len(self._held))):
                id, service = self._held.popitem(last=False)
                self._told.add(id)
                told.append(id)
                self._tell(now_ms, service)
            self.released += len(told)
            self.version += bool(told)
            if not self._held:
                self._end(now_ms)
        elif self._told and self.state is HoldState.NONE and now_ms >= self._told_until_ms:
            self._told.clear()
        return told

    def next_ms(self, now_ms: float) -> float | None:
        """In how many ms `due` is to be called; None: once a second is enough."""
        if self.state is HoldState.HOLDING:
            return max(self._until_ms - now_ms, 1.0)
        if self.state is HoldState.RELEASING:
            return max(1000.0 / self.policy.release_per_s, _STEP_MS)
        return None

    def hold(self, now_ms: float, wall_ms: int) -> Hold:
        """What is shown."""
        if self.state is HoldState.NONE:
            return Hold()
        return Hold(
            state=self.state,
            reason=self.reason,
            scope=self.scope,
            held=len(self._held),
            since_ms=wall_ms - round(now_ms - self._since_ms),
            until_ms=wall_ms + round(self._until_ms - now_ms),
        )

    @property
    def held(self) -> int:
        return len(self._held)

    # -- how it is decided

    def _begins(self, now_ms: float, service: str) -> bool:
        policy = self.policy
        if self._up("") >= policy.all_min:
            if now_ms < self._settled_ms:
                self._begin(now_ms, "", self._stall_reason, self._settled_ms)
                return True
            silent_ms = self.listening.silent_ms(now_ms)
            usual_ms = max(float(policy.silence_ms), 3.0 * self.listening.gap_ms)
            if silent_ms >= usual_ms and self.listening.per_s > policy.silence_beats_per_s:
                self._begin(now_ms, "", reasons.silence(silent_ms, self.listening.per_s), math.inf)
                self._for_silence = True
                return True
        own = self._is_hit(now_ms, service)
        if not own and not self._is_hit(now_ms, ""):
            return False
        scope = service if own and not self._are_others_hit(now_ms, service) else ""
        n, total = self._share(now_ms, scope)
        share = policy.service_share if scope else policy.all_share
        self._begin(now_ms, scope, reasons.share(n, total, policy.window_ms, scope, share), math.inf)
        return True

    def _widens(self, now_ms: float, service: str) -> bool:
        # What is silent in the service that is held does not count: it must not hold single losses elsewhere.
        if not self._is_hit(now_ms, service) and not self._are_others_hit(now_ms, self.scope):
            return False
        self.reason = reasons.many_services(self.scope, service)
        self.scope = ""
        self.version += 1
        return True

    def _is_hit(self, now_ms: float, scope: str) -> bool:
        n, total = self._share(now_ms, scope)
        if scope:
            return total >= self.policy.service_min and n > self.policy.service_share * total
        return total >= self.policy.all_min and n > self.policy.all_share * total

    def _are_others_hit(self, now_ms: float, service: str) -> bool:
        n, total = self._share(now_ms, service)
        n_all, total_all = self._share(now_ms, "")
        others = total_all - total
        return others >= self.policy.service_min and n_all - n > self.policy.all_share * others

    def _share(self, now_ms: float, scope: str) -> tuple[int, int]:
        now_s = int(now_ms // 1000)
        width = self.windows.width
        window = self.windows.of(scope) if scope else self.windows.all
        return window.most(now_s, width), self._up(scope) + window.told_lately(now_s, width)

    def _begin(self, now_ms: float, scope: str, reason: Reason, until_ms: float) -> None:
        self.state, self.scope, self.reason = HoldState.HOLDING, scope, reason
        self._since_ms = now_ms
        self._until_ms = min(now_ms + self.policy.max_ms, until_ms)
        self._for_silence = False
        self.holds += 1

    def _release(self, now_ms: float, reason: Reason) -> None:
        self.state = HoldState.RELEASING
        self.reason = reason
        self._until_ms = now_ms + len(self._held) * 1000.0 / self.policy.release_per_s
        self._step_ms = now_ms
        self._settled_ms = now_ms  # a stall is used up with the hold that it made
        self.version += 1

    def _end(self, now_ms: float) -> None:
        self.state = HoldState.NONE
        self._told_until_ms = now_ms + self.policy.max_ms
        self.version += 1

    def _tell(self, now_ms: float, service: str) -> bool:
        self.windows.tell(service, int(now_ms // 1000))
        return False
