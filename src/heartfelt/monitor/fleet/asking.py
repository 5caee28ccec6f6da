# SPDX-License-Identifier: MIT
"""A fleet of many monitors: a loss is asked first. Redis knows whether the instance is still this monitor's.

`ask` waits `settle` from the deadline, so that a move that is on its way arrives first, and asks then. That is also
when the hold decides: by then the other monitors have said how many of theirs are silent. Until the answer
the instance keeps its state. A beat meanwhile makes the question void: whatever is answered, the instance is not lost,
unless Redis has recorded the loss, which is then told together with its end.

Instances that were taken over from a monitor that has stopped are `away` until one that was its has beaten, here or to
another monitor. Until then their losses are held, as after a start of this monitor, and they are no sign of anything
for the losses of others. Those that beat are mostly taken over by their names, before the pages of their monitor are:
so what is taken over a moment after one has beaten is not away, either.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.others import Others
from heartfelt.monitor.fleet.owners import Loss, Owners
from heartfelt.monitor.model import Change, InstanceRow, Level, State

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance
    from heartfelt.monitor.fleet.losing import Losing

__all__ = ["LEAST_COMEBACK_MS", "Asking"]

BACK_MS = 1000.0
LEAST_COMEBACK_MS = 1000.0
_TIMER = "ask"
_BUSY_MS = 100.0
_MOST_DEFERRED_MS = 2000.0


class Asking:
    """Belongs to the loop's thread. age_ms: how much later than its last beat the timer of an instance was set.
    disown: forgets an instance that is another monitor's."""

    def __init__(
        self,
        life: Losing,
        owners: Owners,
        others: Others,
        age_ms: Callable[[Instance], float],
        disown: Callable[[int], None],
    ) -> None:
        self._life = life
        self._others = others
        self._owners = owners
        self._age_ms = age_ms
        self._disown = disown
        self._questions: dict[int, Loss] = {}
        """The open question about each instance. It is void if the instance beats or changes its state."""
        self._waiting: list[tuple[float, int, Loss]] = []
        """A heap of questions to be asked, by time."""
        self._unreachable: dict[int, Loss] = {}
        """Those that could not be answered."""
        self.away: dict[int, None] = {}
        self._back_until_ms = self._tell_ms = -math.inf
        self.on_back: Callable[[], object] = lambda: None
        """Tells the other monitors that instances of a monitor that has stopped beat again; at most once in BACK_MS."""
        self._away_asked_ms = -math.inf
        """When the last loss of those that are away is asked."""
        self._reached_ms = -math.inf
        """When Redis could be reached again."""
        self._n = 0
        self.asked = self.refusals = self.outdated = 0

    # -- questions

    def ask(
        self,
        instance: Instance,
        led: reasons.Led | None = None,
        level: Level = Level.EMERGENCY,
        *,
        detected: bool = False,
    ) -> None:
        """Asks whether it is lost. `led`, `level`: of the change if it is. `detected`: its timeout has just ended."""
        loss = self._loss(instance, led, level, detected=detected)
        if instance.state is State.PAUSED:  # its pause has ended
            now_ms = self._life.wall_ms()
            state, why = (
                (State.FAILED, reasons.still_failed(instance))
                if instance.failed
                else (State.LATE, reasons.checking(instance))
            )
            self._life.book.move(instance, state, why if led is None else led(why), Level.NORMAL, now_ms)
        if detected and self._life.hold.policy.enable:
            self._others.want(instance.service)
        wait_ms = max(self._owners.settle_ms - self._age_ms(instance), 0.0) if detected else 0.0
        self._put(loss, wait_ms)

    def keeps(self, instance: Instance) -> bool:
        """Holds its loss if it was taken over, and none of those that were has been heard yet."""
        hold = self._life.hold.policy
        if instance.id not in self.away or not hold.enable:
            return False
        loss = self._loss(instance, None, Level.EMERGENCY)
        now_ms = self._life.now_ms()
        ask_ms = max(now_ms + hold.settle_ms + hold.reconnect_ms, self._away_asked_ms + 1000.0 / hold.release_per_s)
        self._away_asked_ms = ask_ms
        self._put(loss, ask_ms - now_ms)
        self._life.keep(instance, reasons.none_back_here(len(self.away)))
        return True

    def due(self, now_ms: float, most: int) -> int:
        """Asks what is due, at most so many. Returns how many it looked at."""
        n = 0
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ms and n < most:
            due_ms, _, loss = heapq.heappop(waiting)
            n += 1
            if now_ms - due_ms > _BUSY_MS and not loss.is_deferred:  # beats may wait unread, as in expiry.py
                loss.is_deferred = True
                self._put(loss, min(now_ms - due_ms, _MOST_DEFERRED_MS))
                continue
            if (instance := self._open(loss)) is None:
                continue
            if (wait_ms := self._others_wait_ms(instance) - now_ms) > 0:
                self._put(loss, wait_ms)
            elif not self._holds(instance, loss):
                self._send(instance, loss)
        if n and waiting:
            self._set_timer(now_ms)
        return n

    def _holds(self, instance: Instance, loss: Loss) -> bool:
        """Lets the hold decide on a timeout that has ended, once: by now the other monitors have said what they count,
        if they can."""
        if not loss.detected or loss.is_judged:
            return False
        if self._life.is_held_now(instance):
            del self._questions[loss.id]
            return True
        loss.is_judged = True
        return False

    def forget(self, id: int) -> None:
        """Forgets what is known of an instance that leaves the registry."""
        self._questions.pop(id, None)
        self._unreachable.pop(id, None)
        self.away.pop(id, None)

    # -- instances that were taken over

    def took_over(self, id: int) -> None:
        """Notes that an instance was taken over from a monitor that has stopped, and was not heard since."""
        if self._life.now_ms() >= self._back_until_ms:
            self.away[id] = None

    def returned(self, id: int) -> None:
        """Notes the first beat of an instance that was taken over."""
        if id in self.away:
            self.came_back()

    def came_back(self) -> None:
        """Notes that an instance of a monitor that has stopped beats here."""
        self.came_back_elsewhere()
        now_ms = self._life.now_ms()
        if now_ms >= self._tell_ms:
            self._tell_ms = now_ms + BACK_MS
            self.on_back()

    def came_back_elsewhere(self) -> None:
        """Notes that an instance of a monitor that has stopped beats to another one: its agents reach the fleet."""
        self._back_until_ms = self._life.now_ms() + self._life.hold.policy.settle_ms
        self.away.clear()
        self._away_asked_ms = -math.inf

    # -- answers

    def accepted(self, loss: Loss, seq: int | None = None) -> None:
        """It is lost. `seq`: Redis has recorded the loss, `loss.change`, under this number; without one, nothing is
        recorded yet."""
        instance = self._open(loss)
        if instance is not None:
            self._lose(instance, loss, seq)
            if loss.detected:
                self._life.book.publish(self._life.book.on_detected, instance)
            return
        self.outdated += 1
        instance = self._life.book.by_id.get(loss.id)
        if seq is not None and instance is not None:
            self._lose_and_find(instance, loss, seq)

    def recorded(self, row: InstanceRow, change: Change) -> None:
        """Redis has recorded a loss, of which it had been said that nobody knew."""
        loss = self._questions.get(row.id)
        if loss is None or self._open(loss) is None:
            loss = Loss(
                id=row.id, service=row.service, instance_id=row.instance_id, deadline_ms=0, level=change.level, row=row
            )
        loss.change = change
        self.accepted(loss, change.seq)

    def refused(self, loss: Loss) -> None:
        """It is another monitor's: it is forgotten here, without a change."""
        if self._questions.get(loss.id) is loss:
            self.refusals += 1
            self._disown(loss.id)

    def early(self, loss: Loss, in_ms: float) -> None:
        """Its deadline has not passed by the fleet's clock: it is asked again after this time."""
        if self._open(loss) is not None:
            self._put(loss, max(in_ms, 1.0))

    def unreachable(self, loss: Loss) -> None:
        """Nobody knows: the loss is held until `ask_again`."""
        if (instance := self._open(loss)) is not None:
            self._unreachable[loss.id] = loss
            self._life.keep(instance, reasons.REDIS_UNREACHABLE)

    def ask_again(self) -> None:
        """Asks what could not be answered, now that Redis can be reached again."""
        unreachable, self._unreachable = self._unreachable, {}
        for loss in unreachable.values():
            if self._open(loss) is not None:
                self._put(loss, 0.0)

    def wait_for_others(self) -> None:
        """Notes that Redis can be reached again. Others could not ask it either: an instance may have begun to beat to
        one of them, which finds out only now whose it is. So nothing is asked until it had time to come back."""
        self._reached_ms = self._life.now_ms()

    def _others_wait_ms(self, instance: Instance) -> float:
        """Returns until when others need to say that they have heard it."""
        return self._reached_ms + max(min(self._owners.comeback_ms, instance.lease_ms), LEAST_COMEBACK_MS)

    def stats(self) -> dict[str, int]:
        return {
            "losses_asked": self.asked,
            "losses_refused": self.refusals,
            "losses_outdated": self.outdated,
            "losses_unreachable": len(self._unreachable),
            "away": len(self.away),
        }

    # -- how

    def _loss(self, instance: Instance, led: reasons.Led | None, level: Level, *, detected: bool = False) -> Loss:
        loss = self._questions[instance.id] = Loss(
            id=instance.id,
            service=instance.service,
            instance_id=instance.instance_id,
            deadline_ms=instance.last_beat_ms + instance.lease_ms,
            led=led,
            level=level,
            detected=detected,
        )
        self._unreachable.pop(instance.id, None)
        return loss

    def _open(self, loss: Loss) -> Instance | None:
        """Returns the instance of a question that still stands."""
        if self._questions.get(loss.id) is not loss:
            return None
        life = self._life
        instance = life.book.by_id[loss.id]
        if life.is_silent(instance):
            return instance
        del self._questions[loss.id]
        self._unreachable.pop(loss.id, None)
        return None

    def _put(self, loss: Loss, wait_ms: float) -> None:
        now_ms = self._life.now_ms()
        self._n += 1
        heapq.heappush(self._waiting, (now_ms + wait_ms, self._n, loss))
        if self._waiting[0][2] is loss:
            self._set_timer(now_ms)

    def _set_timer(self, now_ms: float) -> None:
        timers = self._life.timers
        timers.set(timers.control, _TIMER, max(self._waiting[0][0] - now_ms, 1.0))

    def _send(self, instance: Instance, loss: Loss) -> None:
        life = self._life
        now_ms = life.wall_ms()
        loss.deadline_ms = instance.last_beat_ms + instance.lease_ms
        reason = reasons.lost(instance, now_ms)
        reason = reason if loss.led is None else loss.led(reason)
        level = loss.level if instance.ack is None else Level.NORMAL
        loss.change = life.book.change_of(instance, State.LOST, reason, level, now_ms)
        down_ms = instance.last_beat_ms if instance.down_since_ms is None else instance.down_since_ms
        loss.row = replace(instance.row(), state=State.LOST, since_ms=now_ms, reason=reason, down_since_ms=down_ms)
        self.asked += 1
        self._owners.lose(loss)

    def _lose(self, instance: Instance, loss: Loss, seq: int | None) -> None:
        del self._questions[loss.id]
        self._unreachable.pop(loss.id, None)
        change = loss.change
        assert change is not None  # it was asked
        self._life.lost(instance, change.reason, loss.level, change.time_ms, seq=seq)

    def _lose_and_find(self, instance: Instance, loss: Loss, seq: int) -> None:
        """Tells a loss that Redis has recorded, and that it has ended: the instance has beaten since, or changed."""
        book, old, change = self._life.book, instance.state, loss.change
        if change is None:
            return
        if old is State.LOST:
            book.publish_row(instance)  # what was put before Redis' answer was heard is not stored
            return
        reason, now_ms = instance.reason, self._life.wall_ms()
        is_up = old in (State.NEW, State.UP, State.LATE, State.STUCK)
        outage_ms = max(instance.last_beat_ms - loss.row.last_beat_ms, 0) if is_up and loss.row is not None else None
        book.move(instance, State.LOST, change.reason, loss.level, change.time_ms, seq=seq)
        if is_up:
            reason = reasons.beats_again(outage_ms or 0)
        book.move(instance, old, reason, Level.IMPORTANT if is_up else Level.NORMAL, now_ms, outage_ms)
