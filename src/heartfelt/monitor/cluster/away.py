# SPDX-License-Identifier: MIT
"""Finds instances that must be taken from an owner that lives, but cannot be reached from here: only the network
between the two may be cut, or their protocols differ. What is heard here of its instances would reach nobody.

Such an instance is taken without asking, once its owner has not heard of it for so long, by the deadline in Redis, that
less than LEFT of its timeout is left, and it was heard here meanwhile. So an agent that beats to both monitors in turn
stays where it is. The former owner finds out by its next renewal. If both are cut from Redis, too, nothing is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from heartfelt.monitor.cluster.channel.peers import Peers
from heartfelt.monitor.fleet.owners import Forward
from heartfelt.monitor.fleet.shadows import Shadow, Shadows
from heartfelt.monitor.model import InstanceRow, State

__all__ = ["AwayOwners", "Looked"]

AWAY_S = 0.8
"""An owner from which nothing was heard for longer is away. Monitors that live say something twice a second."""
LEFT = 0.55
"""Part of its timeout that is needed to take an instance over: a quarter, by which the stored deadline is later, and as
long again as it takes to find that, and to move it."""
LATER_MS = 100
"""How much later than by its owner it must have been heard here. A former owner has the beat from which the stored
deadline is, too: by clocks that differ a little it would take the instance back, and so on in turn."""
AT_ONCE = 2000
RECENT_MS = 60_000
_GONE = frozenset((State.LOST, State.LEFT))


class Looked(NamedTuple):
    """An instance as it is in Redis."""

    row: InstanceRow
    lease_ms: int
    """Its timeout."""
    left_ms: float | None
    """Time until its stored deadline; None: no timeout runs."""


class AwayOwners:
    """Belongs to the loop's thread. now_s: a monotonic clock."""

    def __init__(self, peers: Peers, shadows: Shadows, now_s: Callable[[], float], wall_ms: Callable[[], int]) -> None:
        self._peers, self._shadows, self._now_s, self._wall_ms = peers, shadows, now_s, wall_ms
        self._due_s: dict[str, dict[int, float]] = {}
        """Owner that is away -> instances heard here since its last word -> when to look at each."""

    def is_away(self, owner: str) -> bool:
        """Returns whether an owner lives, as far as Redis says, and cannot be reached from here."""
        return self._peers.unheard_s(owner) > AWAY_S

    def owners(self) -> list[str]:
        """Returns those that were away when it was looked last."""
        return list(self._due_s)

    def heard(self, forward: Forward) -> None:
        """Notes what is on its way to an owner."""
        due_s = self._due_s.get(forward.owner)
        if due_s is not None:
            for id in forward.ids:
                due_s.setdefault(id, 0.0)
            for raw in forward.raws:
                shadow = self._shadows.by_name.get((raw.service, raw.instance_id))
                if shadow is not None:
                    due_s.setdefault(shadow.of, 0.0)

    def due(self) -> list[Shadow]:
        """Returns those to be looked at now, AT_ONCE at most."""
        self._note_away()
        now_s = self._now_s()
        found: list[Shadow] = []
        for owner, due_s in self._due_s.items():
            for id in [id for id, at_s in due_s.items() if at_s <= now_s]:
                shadow = self._shadows.by_id.get(id)
                if shadow is None or shadow.owner != owner:
                    del due_s[id]
                elif len(found) < AT_ONCE:
                    found.append(shadow)
        return found

    def _note_away(self) -> None:
        for owner in self._shadows.owners():
            if not self.is_away(owner):
                self._due_s.pop(owner, None)
            elif owner not in self._due_s:  # what was sent to it last may not have arrived
                since_ms = self._wall_ms() - RECENT_MS
                self._due_s[owner] = {
                    one.of: 0.0
                    for one in self._shadows.by_id.values()
                    if one.owner == owner and one.last_beat_ms >= since_ms
                }
        for owner in self._due_s.keys() - set(self._shadows.owners()):
            del self._due_s[owner]

    def must_take(self, shadow: Shadow, looked: Looked) -> bool:
        """Decides about one that was looked at, or when to look at it again."""
        if looked.row.state in _GONE:
            if shadow.last_beat_ms > looked.row.since_ms:
                return True
            wait_ms = looked.lease_ms / 4
        elif looked.left_ms is None:  # it is paused, or watched by its runs
            wait_ms = float(RECENT_MS)
        else:
            age_ms = self._wall_ms() - shadow.last_beat_ms
            heard_ms = 1.25 * looked.lease_ms - looked.left_ms  # by its owner, at the latest
            wait_ms = looked.left_ms - LEFT * looked.lease_ms
            if wait_ms <= 0:
                if age_ms < heard_ms - LATER_MS:
                    return True
                self._forget(shadow)  # it was not heard here, either
                return False
        due_s = self._due_s.get(shadow.owner)
        if due_s is not None and shadow.of in due_s:
            due_s[shadow.of] = self._now_s() + wait_ms / 1000
        return False

    def _forget(self, shadow: Shadow) -> None:
        due_s = self._due_s.get(shadow.owner)
        if due_s is not None:
            due_s.pop(shadow.of, None)  # until it is heard again

    def waits(self, shadows: Sequence[Shadow], wait_s: float) -> None:
        """Looks at these again later: Redis has not said anything."""
        for shadow in shadows:
            due_s = self._due_s.get(shadow.owner)
            if due_s is not None and shadow.of in due_s:
                due_s[shadow.of] = self._now_s() + wait_s
