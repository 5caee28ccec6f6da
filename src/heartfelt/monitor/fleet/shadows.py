# SPDX-License-Identifier: MIT
"""Shadows: instances of other monitors that beat here, so that their beats are forwarded.

A shadow is a `Hot` like an instance: the fast paths renew it at the same cost. Its lease is not a timer but a note that
it was heard. It is in no count, list, metric or row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from heartfelt._known import Hot, untrack
from heartfelt.monitor.fleet.numbered import Numbered
from heartfelt.monitor.fleet.owners import Forward, Name, Raw
from heartfelt.monitor.model import State

__all__ = ["NO_ID", "Shadow", "Shadows"]

NO_ID = 0
"""The id of all shadows where a beat notes it. So they take one place in the dict of last beats, which is dropped."""
MOST = 200_000
MOST_BYTES = 128 << 20
MOST_RAWS = 10_000
MOST_RAW_BYTES = 32 << 20
"""Bounds on what waits to be forwarded to all owners."""
IDLE_MS = 600_000
"""One that was not heard for longer is forgotten."""
SWEPT = 64
_OVERHEAD = 900
"""Bytes of one: the object, its gaps, its lease and its places in the tables."""
_FIRST = 8
"""From so many beats on, the fast path renews it (heartfelt_core/_ingest.pyx)."""


class Shadow(Hot):
    """An instance of another monitor that beats here. Belongs to the loop's thread."""

    __slots__ = ("instance_id", "is_job", "made_ms", "of", "owner", "service")
    state = State.UP
    goodbye_ms = None

    def __init__(self, name: Name, of: int, owner: str, via: str, peer: str, lease: Callable[[], None]) -> None:
        self.service, self.instance_id = name
        self.of = of
        """The instance's id."""
        self.owner = owner
        self.is_job = False
        """It has reported runs, as far as that was heard here."""
        self.id = NO_ID
        self.via, self.peer = via, peer
        self.lease = lease
        self.late = None
        self.beats = _FIRST
        self.plain = True
        self.made_ms = 0
        self.last_beat_ms = 0
        """0: it is not known to have beaten here."""

    @property
    def name(self) -> Name:
        return self.service, self.instance_id

    @property
    def n_bytes(self) -> int:
        return _OVERHEAD + len(self.service) + len(self.instance_id)


class Shadows:
    """Bounded in number and bytes. forget: called with each that is dropped. wall_ms: the clock of the last beats.
    now_ms: the registry's clock."""

    def __init__(
        self, forget: Callable[[Shadow], None], wall_ms: Callable[[], int], now_ms: Callable[[], float]
    ) -> None:
        self._forget = forget
        self._wall_ms = wall_ms
        self._now_ms = now_ms
        self.by_name: dict[Name, Shadow] = {}
        """Those that were looked at last are at the end."""
        self.by_id: dict[int, Shadow] = {}
        self.numbered = Numbered()
        self.n_bytes = 0
        self.n_raws = self.raw_bytes = 0
        self.forgotten = self.raws_dropped = 0
        self._heard: dict[str, set[int]] = {}
        """Owner -> ids of those that have beaten since they were forwarded last. It is the same set as long as there is
        a shadow of the owner."""
        self._n_of: dict[str, int] = {}
        """Owner -> how many there are."""
        self._raws: dict[str, list[Raw]] = {}
        self._taken_ms = now_ms()
        self.on_first: Callable[[], None] = lambda: None
        """Called when there is one, after there was none."""

    def __len__(self) -> int:
        return len(self.by_name)

    def add(self, name: Name, of: int, owner: str, via: str, peer: str) -> Shadow:
        """Makes a shadow, in place of an earlier one of this name."""
        before = self.by_name.get(name)
        is_heard = before is not None and self.is_heard(before)
        self.drop(name)
        if (other := self.by_id.get(of)) is not None:
            self.drop(other.name)
        while self.by_name and (len(self.by_name) >= MOST or self.n_bytes >= MOST_BYTES):
            self._forget_one()
        heard = self._heard.setdefault(owner, set())
        shadow = untrack(Shadow(name, of, owner, via, peer, untrack(partial(heard.add, of))))
        shadow.made_ms = self._wall_ms()
        if before is not None:
            shadow.last_beat_ms = before.last_beat_ms
        if is_heard:
            shadow.lease()
        if not self.by_name:
            self.on_first()
        self.by_name[name] = self.by_id[of] = shadow
        self._n_of[owner] = self._n_of.get(owner, 0) + 1
        self.numbered.join(shadow)
        self.n_bytes += shadow.n_bytes
        return shadow

    def drop(self, name: Name) -> Shadow | None:
        """Forgets a shadow, and that it was heard. Returns it."""
        shadow = self.by_name.pop(name, None)
        if shadow is None:
            return None
        del self.by_id[shadow.of]
        self._heard[shadow.owner].discard(shadow.of)
        self._n_of[shadow.owner] -= 1
        self._forget_owner(shadow.owner)
        self.numbered.leave(shadow)
        self.n_bytes -= shadow.n_bytes
        self._forget(shadow)
        return shadow

    def _forget_owner(self, owner: str) -> None:
        """Forgets an owner of which there is no shadow, and nothing to forward."""
        if not self._n_of[owner] and owner not in self._raws:
            del self._n_of[owner], self._heard[owner]

    def owners(self) -> list[str]:
        """Returns the owners of those that there are, and of what waits to be forwarded."""
        return list(self._heard)

    def is_heard(self, shadow: Shadow) -> bool:
        """Returns whether it has beaten since it was forwarded last."""
        return shadow.of in self._heard[shadow.owner]

    def say(self, shadow: Shadow, raw: Raw) -> None:
        """Takes an input that is more than a plain beat, to be forwarded. It takes the place of plain beats before."""
        shadow.via, shadow.peer = raw.via, raw.peer
        if raw.joins or raw.repeats:  # a goodbye is no beat
            heard_ms = self._wall_ms() - round(self._now_ms() - raw.heard_ms)
            shadow.last_beat_ms = max(shadow.last_beat_ms, heard_ms)
        shadow.beats += 1
        self._heard[shadow.owner].discard(shadow.of)
        size = len(raw.data)
        if self.n_raws >= MOST_RAWS or self.raw_bytes + size > MOST_RAW_BYTES:
            shadow.lease()  # that it beats is forwarded at least
            self.raws_dropped += 1
            return
        self._raws.setdefault(shadow.owner, []).append(raw)
        self.n_raws += 1
        self.raw_bytes += size

    def take_forwards(self) -> list[Forward]:
        """Hands over what was heard since the last call, by owner: O(what was heard)."""
        now_ms, wall_ms = self._now_ms(), self._wall_ms()
        most_ms = now_ms - self._taken_ms  # the wall clock may have been set
        self._taken_ms = now_ms
        raws, self._raws = self._raws, {}
        self.n_raws = self.raw_bytes = 0
        found = []
        for owner in [owner for owner, ids in self._heard.items() if ids or owner in raws]:
            ids = list(self._heard[owner])
            self._heard[owner].clear()
            ages = [round(min(max(wall_ms - self.by_id[of].last_beat_ms, 0), most_ms)) for of in ids]
            said = raws.get(owner, [])
            for raw in said:
                raw.age_ms = max(round(now_ms - raw.heard_ms), 0)
            found.append(Forward(owner=owner, ids=ids, ages_ms=ages, raws=said))
            self._forget_owner(owner)
        return found

    def sweep(self) -> None:
        """Looks at a few, and forgets those that are idle. Once a second."""
        for _ in range(min(max(SWEPT, len(self.by_name) // 300), len(self.by_name))):
            self._look_at_one(IDLE_MS)

    def _forget_one(self) -> None:
        """Makes room: forgets the first of a few that was not heard lately, otherwise the last of them."""
        for _ in range(8):
            if self._look_at_one(IDLE_MS // 10):
                return
        self.drop(next(iter(self.by_name)))
        self.forgotten += 1

    def _look_at_one(self, idle_ms: int) -> bool:
        """Forgets the first if it is idle, and nothing of it waits; otherwise it becomes the last."""
        name, shadow = next(iter(self.by_name.items()))
        if self._wall_ms() - max(shadow.last_beat_ms, shadow.made_ms) > idle_ms and not self.is_heard(shadow):
            self.drop(name)
            self.forgotten += 1
            return True
        self.by_name[name] = self.by_name.pop(name)
        return False
