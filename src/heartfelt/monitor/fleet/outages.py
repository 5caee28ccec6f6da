# SPDX-License-Identifier: MIT
"""Detects outages of the monitor and of its network, and beats that get lost on the way.

The monitor was stalled, or has started and none of the instances that it knew has come back; nobody is heard, though
several have missed their beats since; or many miss beats and then beat again. After each, agents need time until they
are heard again: as long as the outage, since they wait longer after each attempt to connect, but no longer than
`hold.reconnect`, and `settle_ms` for their next beat.
"""

from __future__ import annotations

import math

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.listening import Intervals, Listening, Misses, share_of
from heartfelt.monitor.fleet.others import Others, Quiet
from heartfelt.monitor.fleet.policy import HoldPolicy
from heartfelt.monitor.reasons import NO_REASON, Reason

_CUT = 0.6
"""If nobody is heard, at least this part of those that would be LATE by now is LATE."""
_UNUSUAL = 1.4
"""A silence is unusual if it is longer than the usual ones by this factor: a fleet may beat in bursts."""
_MOST_LEAK = 0.9


class Outages:
    """Belongs to the loop's thread; it is given the time, in ms by the registry's clock."""

    def __init__(self, policy: HoldPolicy, intervals: Intervals) -> None:
        self.policy = policy
        self.listening = Listening()
        self.misses = Misses(policy.leak_window_ms)
        self._intervals = intervals
        self._settled_ms = -math.inf
        """Until then losses may be those of instances that have not been heard again yet."""
        self._settle_reason = NO_REASON
        self._away = 0
        """The number of instances that were known at the start, as long as none of them has come back."""
        self._told_ms = -math.inf
        self.others: Others | None = None
        """The other monitors of the fleet: nobody may be heard by all of them, or beats to all of them get lost."""

    # -- what happens

    def late(self, id: int) -> None:
        """Notes that an instance has missed a beat."""
        self.listening.overdue.add(id)

    def started(self, now_ms: float, known: int) -> None:
        """Notes that the monitor has started, and knew this many instances that were alive."""
        self._away = known
        self.misses.ignore_before(now_ms)

    def returned(self) -> None:
        """Notes that one of those beats."""
        self._away = 0

    def stalled(self, now_ms: float, stall_ms: float) -> None:
        """Notes that the monitor could not run for this long, until now."""
        if stall_ms < self.policy.stall_ms:
            return
        self._settle(now_ms + self._settle_ms(stall_ms), reasons.stalled(stall_ms))
        self.misses.ignore_before(now_ms)

    def jumped(self, now_ms: float, jump_ms: float) -> None:
        """Notes that the clock of the fleet has jumped ahead: leases have ended, and instances were taken over."""
        self._settle(now_ms + self._settle_ms(jump_ms), reasons.clock_jumped(jump_ms))
        self.misses.ignore_before(now_ms)

    def _settle_ms(self, outage_ms: float) -> float:
        settle_ms = float(self.policy.settle_ms)
        return max(settle_ms, min(2.0 * outage_ms, settle_ms + self.policy.reconnect_ms))

    def heard(self, now_ms: float, total: int) -> float | None:
        """Takes the number of beats since the start, once a second. Returns until when agents may reconnect if it has
        grown, otherwise None."""
        silent_ms, overdue = self.listening.silent_ms(now_ms), self._overdue(now_ms)
        if overdue:
            self.misses.ignore_before(now_ms)
        settled_ms = None
        if self.listening.heard(now_ms, total, usual=not overdue and now_ms >= self._settled_ms):
            again_ms = max(min(silent_ms, float(self.policy.reconnect_ms)), self._intervals.longest_ms(silent_ms))
            settled_ms = now_ms + self.policy.settle_ms + again_ms
            if overdue:
                self._settle(settled_ms, reasons.silence(silent_ms, overdue))
        self.misses.tick(now_ms, total)
        return settled_ms

    def told(self, now_ms: float) -> None:
        """Notes that a hold was released: each outage until now has had its hold."""
        self._told_ms = self._settled_ms = now_ms
        self._away = 0

    # -- what is known

    def own(self, now_ms: float) -> tuple[Reason, float] | None:
        """Returns why instances may not have been heard again yet, and until when."""
        if now_ms < self._settled_ms:
            return self._settle_reason, self._settled_ms
        if self._away:
            return reasons.none_back(self._away), now_ms + self.policy.settle_ms + self.policy.reconnect_ms
        return None

    def silence(self, now_ms: float, id: int) -> Reason | None:
        """Returns a reason if nobody is heard, though several were due, instance `id` among them."""
        overdue = self._overdue(now_ms, id) or self._overdue_of_all(now_ms, id)
        return reasons.silence(self.listening.silent_ms(now_ms), overdue) if overdue else None

    def is_quiet(self, now_ms: float) -> bool:
        return self.listening.silent_ms(now_ms) >= self.policy.silence_ms

    def leak(self, now_ms: float, least: float) -> float:
        """Returns the share of the due beats that do not arrive, if it is above `least`; otherwise 0."""
        share = self.misses.share(self._intervals.known, self.policy.least)
        if share <= least and self.others is not None and (others := self.others.misses(now_ms)):
            n, received, missed, known = map(sum, zip(self.missing(), *others, strict=True))
            share = share_of(n, received, missed, known, self.policy.least)
        return min(share, _MOST_LEAK) if share > least else 0.0

    def missing(self) -> tuple[int, int, int, int]:
        """Returns the figures of the beats that do not arrive, for other monitors."""
        return *self.misses.figures(), self._intervals.known

    def _settle(self, settled_ms: float, reason: Reason) -> None:
        self._settled_ms = max(self._settled_ms, settled_ms)
        self._settle_reason = reason

    def quiet(self, now_ms: float, id: int = 0) -> Quiet | None:
        """Returns who is overdue in the present silence, instance `id` included. None: there is none that is unusual
        and new."""
        silent_ms = self.listening.silent_ms(now_ms)
        unusual_ms = max(float(self.policy.silence_ms), _UNUSUAL * self.listening.gap_ms)
        if silent_ms < unusual_ms or now_ms - silent_ms <= self._told_ms:
            return None
        late, due = len(self.listening.overdue), self._intervals.missed_in(silent_ms, self.listening.gap_ms)
        if id and not due and id not in self.listening.overdue:  # otherwise it may be among those that are `due`
            late += 1
        return Quiet(late, due, self._intervals.late_after(silent_ms))

    def _overdue(self, now_ms: float, id: int = 0) -> int:
        """Returns how many are overdue in the present silence. 0: there is none that is unusual and new, or it is one
        instance only, or far fewer than would be if nobody were heard."""
        quiet = self.quiet(now_ms, id)
        return 0 if quiet is None else _enough(quiet)

    def _overdue_of_all(self, now_ms: float, id: int) -> int:
        """Returns the same of all monitors, if none of them hears anybody."""
        if self.others is None or (quiet := self.quiet(now_ms, id)) is None:
            return 0
        others = self.others.quiet(now_ms)
        if others is None:
            return 0
        return _enough(Quiet(quiet.late + others.late, quiet.due + others.due, quiet.expected + others.expected))


def _enough(quiet: Quiet) -> int:
    n = quiet.late + quiet.due
    return n if n > 1 and quiet.late >= _CUT * quiet.expected else 0
