# SPDX-License-Identifier: MIT
"""Decides whether a loss is notified now or held: held when so many come together that the fault may lie in the
network between, or with the monitor.

While nothing is held, a loss begins a hold if
- more than a given share of its service, or of all instances, is lost or about to be lost within one short window; or
- the monitor itself was stalled a moment ago; or
- no instance at all has been heard for a while, after many beats a second before.

A hold has one scope (a service, or all), one reason, and a latest end that nothing moves. Losses within its scope are
held: the instances are shown as LATE, nobody is notified, and a loss is forgotten if its instance beats again. At the
end, or when somebody releases the hold, the remaining losses are notified at a limited rate, and are then not held
again for a while, so a hold cannot follow itself. If other services are hit during a hold, it widens to all services,
with the same end.

**No loss is delayed in case more should follow.** A delay would make every loss late, and when a rack dies its losses
are spread over the interval between beats, far longer than an acceptable delay. Instead the hold looks ahead: an
instance that missed a beat is LATE long before its timeout expires, so at a rack's first loss it is known which others
are due, and when; they count as if they were lost already. Only losses of instances with an unknown interval (or one
longer than two thirds of the timeout) can be notified before a hold of their fellows begins, and none of those that
come at the same moment.

Shares are of the instances that beat (all states but LOST, LEFT and PAUSED, plus the losses notified within the
window), so a fleet that has shrunk is measured by its new size. They count distinct instances, so one that flaps
counts once.

Pure: it is given the time, in ms by the registry's clock, and `next_ms` says when it wants to be called.
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
    """Measures the rate of beats, and for how long there has been none. Fed once a second."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self.heard_ms: float | None = None
        self.gap_ms = 0.0
        """The longest recent time without a beat, which is therefore not unusual."""
        self._total = 0

    def heard(self, now_ms: float, total: int) -> None:
        """Takes the number of beats since the start."""
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
    """The monitor's hold; there is one at most. Belongs to the loop's thread.

    `up` returns how many instances of a service ("": of all) are in a state that beats. An instance whose loss has not
    been notified is among them.
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
        """Grows with each change of what `hold` returns."""
        self.holds = self.held_in_all = self.released = self.recovered = 0
        self._held: OrderedDict[int, str] = OrderedDict()
        self._notified: set[int] = set()
        self._notified_until_ms = 0.0
        self._since_ms = self._until_ms = 0.0
        self._step_ms = 0.0
        self._for_silence = False
        self._settled_ms = -math.inf
        self._stall_reason = NO_REASON

    # -- what happens

    def lost(self, now_ms: float, id: int, service: str) -> bool:
        """Handles an expired timeout that `windows` counts. True: the loss is held, and `due` returns it later unless
        `forget` is called. O(window)."""
        if not self.policy.enable or id in self._notified:
            return self._notify(now_ms, service)
        if self.state is HoldState.NONE:
            held = self._begins(now_ms, service)
        elif not self.scope or self.scope == service:
            held = True
        else:
            held = self._widens(now_ms, service)
        if not held:
            return self._notify(now_ms, service)
        self._held[id] = service
        self.held_in_all += 1
        self.version += 1
        return True

    def forget(self, id: int) -> None:
        """Forgets a held loss: the instance beats again, has left, or is no longer watched."""
        if self._held.pop(id, None) is not None:
            self.recovered += 1
            self.version += 1

    def stalled(self, now_ms: float, stall_ms: float) -> None:
        """Notes that the monitor could not run for this long, until now."""
        if stall_ms >= self.policy.stall_ms:
            self._settled_ms = max(self._settled_ms, now_ms + max(float(self.policy.settle_ms), stall_ms))
            self._stall_reason = reasons.stalled(stall_ms)

    def heard(self, now_ms: float, total: int) -> None:
        """Takes the number of beats since the start, once a second."""
        before = self.listening.heard_ms
        self.listening.heard(now_ms, total)
        if self._for_silence and self.state is HoldState.HOLDING and self.listening.heard_ms != before:
            self._for_silence = False  # beats are back: give agents the time to reconnect, and no more
            self._until_ms = min(self._until_ms, now_ms + self.policy.settle_ms)
            self.version += 1
        self.windows.prune(int(now_ms // 1000))

    def release(self, now_ms: float, by: str) -> bool:
        """Ends the hold: held losses are notified from now on, at the limited rate. False if nothing is being held."""
        if self.state is not HoldState.HOLDING:
            return False
        self._release(now_ms, reasons.released(by, self.reason))
        return True

    def due(self, now_ms: float, most: int) -> list[int]:
        """Returns at most `most` ids whose loss is to be notified now. Call it by `next_ms`, and once a second."""
        if self.state is HoldState.HOLDING:
            if now_ms >= self._until_ms:
                held_ms = now_ms - self._since_ms
                self._release(now_ms, reasons.hold_expired(held_ms, self.policy.release_per_s, self.reason))
            elif not self._held and now_ms - self._since_ms >= self.policy.window_ms:
                self._end(now_ms)
        due: list[int] = []
        if self.state is HoldState.RELEASING:
            n = min(int((now_ms - self._step_ms) * self.policy.release_per_s / 1000.0 + 1e-9), most)
            self._step_ms += n * 1000.0 / self.policy.release_per_s
            for _ in range(min(n, len(self._held))):
                id, service = self._held.popitem(last=False)
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
        wait_ms = self._settled_ms - now_ms
        if self.state is HoldState.HOLDING and self.scope in ("", service):
            wait_ms = max(wait_ms, self._until_ms - now_ms)
        return max(wait_ms, 0.0) if self.policy.enable else 0.0

    def next_ms(self, now_ms: float) -> float | None:
        """Returns in how many ms to call `due`; None: once a second is enough."""
        if self.state is HoldState.HOLDING:
            return max(self._until_ms - now_ms, 1.0)
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
            until_ms=wall_ms + round(self._until_ms - now_ms),
        )

    @property
    def held(self) -> int:
        return len(self._held)

    # -- how it is decided

    def _begins(self, now_ms: float, service: str) -> bool:
        policy = self.policy
        if self._up("") >= policy.least_of_all:
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
        share = policy.share if scope else policy.share_of_all
        self._begin(now_ms, scope, reasons.share(n, total, policy.window_ms, scope, share), math.inf)
        return True

    def _widens(self, now_ms: float, service: str) -> bool:
        # Losses in the held service do not count here: they must not hold single losses elsewhere.
        if not self._is_hit(now_ms, service) and not self._are_others_hit(now_ms, self.scope):
            return False
        self.reason = reasons.many_services(self.scope, service)
        self.scope = ""
        self.version += 1
        return True

    def _is_hit(self, now_ms: float, scope: str) -> bool:
        n, total = self._share(now_ms, scope)
        if scope:
            return total >= self.policy.least and n > self.policy.share * total
        return total >= self.policy.least_of_all and n > self.policy.share_of_all * total

    def _are_others_hit(self, now_ms: float, service: str) -> bool:
        n, total = self._share(now_ms, service)
        n_all, total_all = self._share(now_ms, "")
        others = total_all - total
        return others >= self.policy.least and n_all - n > self.policy.share_of_all * others

    def _share(self, now_ms: float, scope: str) -> tuple[int, int]:
        now_s = int(now_ms // 1000)
        width = self.windows.width
        window = self.windows.of(scope) if scope else self.windows.all
        return window.most(now_s, width), self._up(scope) + window.notified_lately(now_s, width)

    def _begin(self, now_ms: float, scope: str, reason: Reason, until_ms: float) -> None:
        self.state, self.scope, self.reason = HoldState.HOLDING, scope, reason
        self._since_ms = now_ms
        self._until_ms = min(now_ms + self.policy.longest_ms, until_ms)
        self._for_silence = False
        self.holds += 1

    def _release(self, now_ms: float, reason: Reason) -> None:
        self.state = HoldState.RELEASING
        self.reason = reason
        self._until_ms = now_ms + len(self._held) * 1000.0 / self.policy.release_per_s
        self._step_ms = now_ms
        self._settled_ms = now_ms  # a stall begins one hold only
        self.version += 1

    def _end(self, now_ms: float) -> None:
        self.state = HoldState.NONE
        self._notified_until_ms = now_ms + self.policy.longest_ms
        self.version += 1

    def _notify(self, now_ms: float, service: str) -> bool:
        self.windows.notified(service, int(now_ms // 1000))
        return False
