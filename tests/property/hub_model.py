# SPDX-License-Identifier: MIT
"""A model of a hub in the plainest Python: a dict of keys, a loop over all of them, a list of unread events.

Times are whole nanoseconds from the start of the clock. Nothing here is fast, and nothing is clever.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from heartfelt._types import UNSET

TIME_OUT, HEART_BEAT, REMOVE_KEY, JOIN, RECOVER = "TIME_OUT", "HEART_BEAT", "REMOVE_KEY", "JOIN", "RECOVER"


class NoTimeoutError(Exception):
    """A key joins, and neither it nor the hub has a timeout."""


class NotWatchedError(Exception):
    """No such key, or an id of a life that remove() ended."""


class Terms(NamedTuple):
    """Options of a beat; None and UNSET leave the key's own."""

    timeout: int | None = None
    extra: object = UNSET
    disposable: bool | None = None


NO_TERMS = Terms()


class Happening(NamedTuple):
    """An event, as the model tells it."""

    type: str
    key: Hashable
    extra: object
    timeout: int
    disposable: bool
    missed: int
    join: int
    beat: int
    deadline: int
    at: int


@dataclass
class Life:
    """A watched key."""

    key: Any
    timeout: int
    disposable: bool
    extra: object
    join: int
    beat: int
    due: int
    lost: bool = False
    missed: int = 0  # timeouts since the last beat
    taken_in: int = 0  # and those of verdicts of before it that its own unread one stands for

    def happening(self, kind: str, at: int, deadline: int, missed: int) -> Happening:
        return Happening(
            kind, self.key, self.extra, self.timeout, self.disposable, missed, self.join, self.beat, deadline, at
        )


def ident(key: Any) -> tuple[type, Hashable]:
    """Identity of a key: its type and its value."""
    return type(key), key


class Model:
    """The operations of a HeartHub on a ManualClock."""

    def __init__(self, timeout: int | None, disposable: bool, wanted: Iterable[str]) -> None:
        self.timeout, self.disposable, self.wanted = timeout, disposable, frozenset(map(str, wanted))
        self.now = 0
        self.keys: dict[tuple[type, Hashable], Life] = {}
        self.unread: list[Happening] = []
        self.last_terms: dict[tuple[type, Hashable], Terms] = {}  # of keys with an id that are not watched now
        self.ids: dict[int, tuple[type, Hashable]] = {}  # the ids that are good
        self.counts = dict.fromkeys(("joins", "timeouts", "recoveries", "removals"), 0)

    # what happens

    def tell(self, kind: str, life: Life, missed: int = 0) -> None:
        if kind in self.wanted:
            self.unread.append(life.happening(kind, self.now, life.due, missed))

    def join(self, key: Any, terms: Terms, default: Terms = NO_TERMS) -> None:
        timeout = terms.timeout or default.timeout or self.timeout
        if timeout is None:
            raise NoTimeoutError
        stays = [said for said in (terms.disposable, default.disposable, self.disposable) if said is not None]
        extra = None if terms.extra is UNSET else terms.extra
        life = Life(key, timeout, stays[0], extra, self.now, self.now, self.now + timeout)
        self.keys[ident(key)] = life
        self.counts["joins"] += 1
        self.tell(JOIN, life)
        self.tell(HEART_BEAT, life)

    def time_out(self, life: Life) -> None:
        unread = [one for one in self.unread if one.type == TIME_OUT and ident(one.key) == ident(life.key)]
        assert len(unread) <= 1
        life.missed += 1
        if unread:  # at most one waits for a key: this one speaks for both, at its own place
            self.unread.remove(unread[0])
            if unread[0].beat != life.beat:
                life.taken_in = unread[0].missed
        self.counts["timeouts"] += 1
        self.tell(TIME_OUT, life, life.missed + life.taken_in)
        if life.disposable:
            del self.keys[ident(life.key)]
            self.last_terms[ident(life.key)] = Terms(timeout=life.timeout, disposable=True)
        else:
            life.lost = True
            life.due += life.timeout

    # operations

    def beat(self, key: Any, terms: Terms = NO_TERMS, to_join: Terms | None = None) -> None:
        life = self.keys.get(ident(key))
        if life is None:
            self.join(key, terms if to_join is None else to_join)
            return
        life.beat, life.timeout = self.now, terms.timeout or life.timeout
        life.disposable = life.disposable if terms.disposable is None else terms.disposable
        life.extra = life.extra if terms.extra is UNSET else terms.extra
        life.due = self.now + life.timeout
        if life.lost:
            self.counts["recoveries"] += 1
            self.tell(RECOVER, life, life.missed)
        life.lost, life.missed, life.taken_in = False, 0, 0
        self.tell(HEART_BEAT, life)

    def watch(self, key: Any) -> None:
        if ident(key) not in self.keys:
            self.join(key, Terms())

    def beat_id(self, number: int) -> None:
        if number not in self.ids:
            raise NotWatchedError
        identity = self.ids[number]
        if identity in self.keys:
            self.beat(identity[1])
        else:
            self.join(identity[1], Terms(), default=self.last_terms[identity])

    def remove(self, key: Any) -> None:
        self.ids = {number: other for number, other in self.ids.items() if other != ident(key)}
        life = self.keys.pop(ident(key), None)
        if life is None:
            raise NotWatchedError
        self.counts["removals"] += 1
        self.tell(REMOVE_KEY, life, life.missed if life.lost else 0)

    def advance(self, by: int) -> None:
        target = self.now + by
        while self.keys and (due := min(life.due for life in self.keys.values())) <= target:
            self.now = due
            for life in [life for life in self.keys.values() if life.due == due]:
                self.time_out(life)
        self.now = target

    def read(self, event: Happening) -> bool:
        """Takes the event out, if it may come next: it is the first, or of the verdicts of the first's instant."""
        for n, one in enumerate(self.unread):
            if one == event and ident(one.key) == ident(event.key):
                del self.unread[n]
                if one.type == TIME_OUT and ident(one.key) in self.keys:
                    self.keys[ident(one.key)].taken_in = 0
                return True
            if (one.type, one.at) != (TIME_OUT, self.unread[0].at):
                return False
        return False
