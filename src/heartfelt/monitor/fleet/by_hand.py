# SPDX-License-Identifier: MIT
"""Actions that people, and programs for them, ask for: pause, resume, remove, acknowledge."""

from __future__ import annotations

from collections.abc import Callable

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.roster import Book
from heartfelt.monitor.model import Ack, State


class ByHand:
    """The part of the registry for these. `by` and `why`: who asks for it, and what they say about it, for the record.
    Each method returns False if it changed nothing, as when the instance is not known."""

    def __init__(self, book: Book, life: Life, wall_ms: Callable[[], int]) -> None:
        self._book = book
        self._life = life
        self._wall_ms = wall_ms

    def pause(self, id: int, until_ms: int | None = None, *, by: str = "", why: str = "") -> bool:
        """Suppresses its notifications until that time by the wall clock, or until it is resumed."""
        instance = self._book.by_id.get(id)
        if instance is None:
            return False
        self._life.pause(instance, until_ms, by, why)
        return True

    def resume(self, id: int, *, by: str = "", why: str = "") -> bool:
        """Ends a pause: its state becomes what is true now."""
        instance = self._book.by_id.get(id)
        if instance is None or instance.state is not State.PAUSED:
            return False
        self._life.resume(instance, reasons.resumed(by, why))
        return True

    def remove(self, id: int, why: str = "", *, by: str = "") -> bool:
        """Forgets an instance; its next beat joins it as a new one."""
        instance = self._book.by_id.get(id)
        if instance is None:
            return False
        self._life.remove(instance, reasons.removed(why, by))
        return True

    def ack(self, id: int, *, by: str, why: str = "", until_ms: int | None = None) -> bool:
        """Acknowledges a loss or a failure: until it recovers, or that time, nobody is notified about it again. Changes
        nothing unless it is LOST or FAILED."""
        instance = self._book.by_id.get(id)
        ack = Ack(by=by, why=why, at_ms=self._wall_ms(), until_ms=until_ms)
        return instance is not None and self._life.acks.ack(instance, ack)

    def withdraw_ack(self, id: int, *, by: str = "", why: str = "") -> bool:
        """Ends an acknowledgement; nobody is notified because of that."""
        instance = self._book.by_id.get(id)
        return instance is not None and self._life.acks.withdraw(instance, by, why)
