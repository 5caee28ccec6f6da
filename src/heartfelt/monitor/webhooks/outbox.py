# SPDX-License-Identifier: MIT
"""Takes deliveries from the store and calls the targets: several at a time, in order per subject (the store's part).

A failed delivery is retried after 2 s, 4 s, 8 s ... 10 min, each shortened by a random amount of up to half, for a day;
then it is given up. A message that the target refuses is given up at the third attempt, within a minute; at the fifth,
within minutes, if the target refuses all. What waits for it meanwhile is only about the same instance. A target that
takes nothing at all is called less often (breaker.py).

A recovery is sent after the message of its loss, even if that is a message of several, and not at all if that was given
up. Such a message of several waits a minute at most, since it is about others, too.

The store may fail at any time. The result of a call is kept until the store has recorded it, and a delivery that the
store returns again meanwhile is not sent again. If the process dies between an answer and its record, the delivery is
sent again with the same idempotency key.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from heartfelt.monitor.store import FLUSH_S, Delivery, Store
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within
from heartfelt.monitor.webhooks.caller import Answer
from heartfelt.monitor.webhooks.notices import Notice, subject_of
from heartfelt.monitor.webhooks.target_state import Refusal, Retry, TargetState
from heartfelt.monitor.webhooks.targets import Target
from heartfelt.monitor.webhooks.texts import title

__all__ = ["Outbox", "Retry", "StopLimits", "pause"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_IDLE_S = 5.0
_SEVERAL_WAIT_MS = 60_000
_ALARM_RETRY_MS = 2_000


class StopLimits(msgspec.Struct, kw_only=True, frozen=True):
    """How long each part of a stop may take."""

    tasks_s: float = 1.0
    """Until a task that was cancelled has ended."""
    store_s: float = 1.0
    """Until the store has taken what it is to know."""
    sessions_s: float = 1.0
    """Until the connections are closed."""


Pause = Callable[[TimedEvent, float], Awaitable[object]]


async def pause(event: TimedEvent, seconds: float) -> None:
    """Waits until the event is set or the seconds have passed. Replaceable in tests."""
    await event.wait(seconds)


class Ended(msgspec.Struct, frozen=True):
    """The result of a call, for the store."""

    ok: bool
    retry_at_ms: int | None
    answer: str
    tried: bool = True


class Outbox:
    """Belongs to the loop. `targets`: the targets as they are now; `call` is `Caller.call`.

    on_given_up: called for each message that is given up, with the target and the refusal, if it was one.
    """

    def __init__(
        self,
        store: Store,
        targets: Mapping[str, Target],
        call: Callable[[Target, Notice], Awaitable[Answer]],
        settings: Retry,
        *,
        wall_ms: Callable[[], int],
        pause: Pause = pause,
        rng: random.Random | None = None,
        stop_limits: StopLimits | None = None,
        on_given_up: Callable[[Target, Notice, Refusal | None], None] = lambda target, notice, refusal: None,
    ) -> None:
        self._store = store
        self._targets = targets
        self._call = call
        self._settings = settings
        self._wall_ms = wall_ms
        self._pause = pause
        self._rng = rng or random.Random()
        self._on_given_up = on_given_up
        self._lines: dict[str, TargetState] = {}
        self._ended: dict[int, Ended] = {}
        """Results of calls that the store has not recorded yet."""
        self._busy: set[int] = set()
        self._wake = TimedEvent()
        self._due_ms: list[int] = []
        self._store_log = OutageLog(_log, "the store responds again; webhooks continue")
        self._limits = stop_limits or StopLimits()
        self._running = False
        self._worker: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        """All that are in progress, also those of targets that are deleted."""
        self.counts = dict.fromkeys(
            ("put", "attempts", "delivered", "retries", "given_up", "refused", "dropped", "postponed", "blocked",
             "moot", "store_errors", "faults", "left_running"),
            0,
        )  # fmt: skip

    # -- for the service

    def put(self, target: Target, notice: Notice) -> None:
        """Queues a message without waiting. The store takes each key only once per target."""
        stored = msgspec.structs.replace(notice, generation=target.generation, members={})
        self._store.put_delivery(
            target.id, notice.key, msgspec.to_builtins(stored), subject=subject_of(notice), level=notice.level
        )
        self.counts["put"] += 1
        self._look_at(self._wall_ms())
        self._look_at(self._wall_ms() + int(FLUSH_S * 1200))  # the store will have written it by then

    def line(self, target: Target) -> TargetState:
        line = self._lines.get(target.id)
        if line is None:
            line = self._lines[target.id] = TargetState(target, self._settings)
        return line

    def forget(self, target_id: str) -> None:
        self._lines.pop(target_id, None)

    async def drop(self, target_id: str, why: str, *, forget: bool = False) -> None:
        """Gives up all that waits for a target. forget: also what it was told. Raises what the store raises."""
        self.counts["dropped"] += await self._store.drop_deliveries(target_id, why, forget=forget)

    def fault(self, error: Exception) -> None:
        """Logs a fault of the program itself; webhooks continue."""
        self.counts["faults"] += 1
        n = self.counts["faults"]
        if n & (n - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            _log.error("internal error in the webhooks (%d so far); they continue", n, exc_info=error)

    def wake(self) -> None:
        self._look_at(self._wall_ms())

    def start(self) -> None:
        self._running = True
        self._worker = asyncio.create_task(self._work(), name="webhooks outbox")

    def halt(self) -> None:
        """Claims no more deliveries. `stop` must follow, and records the results of the calls in progress."""
        self._running = False
        self._wake.set()

    async def stop(self) -> None:
        """Cancels calls in progress; the store returns their deliveries again after the next start.

        Takes at most `tasks_s` and `store_s` of the StopLimits; a call that does not end is logged and left.
        """
        self.halt()
        tasks = [*self._calls] if self._worker is None else [self._worker, *self._calls]
        self._worker = None
        left = await end_tasks(tasks, seconds=self._limits.tasks_s, logger=_log)
        self.counts["left_running"] += len(left)
        try:
            await within(self._limits.store_s, self._record(every=True))
        except asyncio.TimeoutError:
            self.counts["store_errors"] += 1
            _log.error(
                "the store did not record %d deliveries within %g s: they may go out again after the next start",
                len(self._ended),
                self._limits.store_s,
            )

    # -- the worker

    def _look_at(self, at_ms: int) -> None:
        if len(self._due_ms) < 1000:  # any more are found by the idle poll
            self._due_ms.append(at_ms)
        self._wake.set()

    async def _work(self) -> None:
        while self._running:
            self._wake.clear()
            now_ms = self._wall_ms()
            self._due_ms = [at_ms for at_ms in self._due_ms if at_ms > now_ms]
            await self._record()
            found: list[Delivery] = []
            limit = self._settings.calls - len(self._calls)
            if limit > 0:
                room = {id: self.line(target).room(now_ms) for id, target in self._targets.items()}
                try:
                    found = await self._store.next_deliveries(now_ms, limit, room)
                    self._store_well()
                except Exception as error:
                    self._store_ill(error)
            for delivery in found if self._running else ():
                try:
                    self._take(delivery)
                except Exception as error:  # a bug of ours must not end the worker
                    self.fault(error)
            if found:
                await asyncio.sleep(0)
                self._wake.set()
                continue
            wait_s = min([_IDLE_S, *((at_ms - self._wall_ms()) / 1000 for at_ms in self._due_ms), *self._room_in_s()])
            if wait_s > 0 and not self._wake.is_set():
                await self._pause(self._wake, wait_s)

    def _room_in_s(self) -> list[float]:
        """Returns the waits of the targets that must not be called now."""
        now_ms = self._wall_ms()
        waits = (self.line(target).wait_ms(now_ms) for target in self._targets.values())
        return [wait_ms / 1000 for wait_ms in waits if wait_ms > 0]

    def _take(self, delivery: Delivery) -> None:
        if delivery.number in self._busy or delivery.number in self._ended:
            return  # in progress, or sent and not yet recorded
        target = self._targets.get(delivery.target)
        notice, problem = _notice(delivery)
        if target is None or not target.enabled or (notice is not None and notice.generation != target.generation):
            self.counts["dropped"] += 1
            why = "switched off" if target is not None and not target.enabled else "the webhook was deleted"
            self._end(delivery.number, Ended(False, None, why))
            return
        if notice is None:
            self.counts["given_up"] += 1
            _log.error("webhook %s (%s): a stored message cannot be read: %s", target.id, target.name, problem)
            self._end(delivery.number, Ended(False, None, f"the stored message cannot be read: {problem}"))
            return
        now_ms = self._wall_ms()
        line = self.line(target)
        if line.room(now_ms) <= 0:  # it was called more often than the store knows, as by a test
            self.counts["postponed"] += 1
            self._end(delivery.number, Ended(False, now_ms + max(line.wait_ms(now_ms), 50), "waiting", tried=False))
            return
        line.began(now_ms, delivery.number)
        self._busy.add(delivery.number)
        task = asyncio.create_task(self._deliver(target, line, delivery, notice), name=f"webhook {target.id}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _deliver(self, target: Target, line: TargetState, delivery: Delivery, notice: Notice) -> None:
        called = False
        try:
            ended = await self._without_alarm(target, delivery, notice)
            if ended is not None:
                self._end(delivery.number, ended)
                return
            called = True
            self.counts["attempts"] += 1
            answer = await self._call(target, notice)
            self._judge(target, line, delivery, notice, answer)
        finally:
            self._busy.discard(delivery.number)
            line.ended(delivery.number, called=called)
            self._wake.set()

    async def _without_alarm(self, target: Target, delivery: Delivery, notice: Notice) -> Ended | None:
        """Decides about a recovery whose loss was not delivered. None: it is to be sent."""
        if not notice.alarms:
            return None
        try:
            states = set((await self._store.delivery_states(target.id, notice.alarms)).values())
        except Exception as error:
            self._store_ill(error)
            return Ended(False, self._wall_ms() + _ALARM_RETRY_MS, "waiting for the store", tried=False)
        now_ms = self._wall_ms()
        is_due = notice.kind == "mass" and now_ms - delivery.created_ms >= _SEVERAL_WAIT_MS
        if states & {"waiting", "claimed"} and not is_due:
            wait_ms = max(_ALARM_RETRY_MS, min((now_ms - delivery.created_ms) // 4, _SEVERAL_WAIT_MS))
            return Ended(False, now_ms + wait_ms, "waiting for the message of its loss", tried=False)
        if states == {"failed"} and notice.kind != "mass":
            self.counts["moot"] += 1
            return Ended(False, None, "not sent, because the message of its loss was given up")
        return None

    def _judge(self, target: Target, line: TargetState, delivery: Delivery, notice: Notice, answer: Answer) -> None:
        now_ms = self._wall_ms()
        line.note_answer(answer, now_ms)
        if answer.ok:
            self.counts["delivered"] += 1
            self._end(delivery.number, Ended(True, None, answer.text()))
            return
        self.counts["blocked"] += answer.blocked
        if self._targets.get(target.id) is not target:  # it was changed meanwhile: what was wrong may be mended
            self.counts["retries"] += 1
            self._end(delivery.number, Ended(False, now_ms + self._settings.first_ms, answer.text()))
            return
        tried = max(1, delivery.attempts)  # includes this attempt: the store counts at each claim
        wait_ms = self._wait_ms(tried, answer)
        if answer.limited:
            wait_ms = max(wait_ms, line.hold(now_ms, _asked_ms(answer)))
        elif answer.all_refused or not (answer.refused or answer.reached):
            line.breaker.failed(now_ms, delivery.number)
        else:
            line.breaker.succeeded()
        if line.breaker.open_until_ms is not None:  # so that another message is the probe, if one waits
            wait_ms = max(wait_ms, line.breaker.wait_ms(now_ms) + self._settings.first_ms)
        takes_others = line.last_success_ms is not None and line.last_success_ms >= delivery.created_ms
        refuses_all = answer.all_refused and not takes_others
        refusals = self._settings.refusals_of_all if refuses_all else self._settings.refusals
        is_last = answer.refused and tried >= refusals
        is_last = is_last or now_ms + wait_ms >= delivery.created_ms + self._settings.give_up_ms
        if answer.refused:
            self._refused(target, line, notice, answer, is_last)
        if is_last:
            self._give_up(target, line, notice, answer, tried)
            self._end(delivery.number, Ended(False, None, answer.text()))
            return
        self.counts["retries"] += 1
        if not answer.refused:
            line.note_failure(target, tried, answer, now_ms)
        self._end(delivery.number, Ended(False, now_ms + wait_ms, answer.text()))

    def _refused(self, target: Target, line: TargetState, notice: Notice, answer: Answer, is_last: bool) -> None:
        refusal = Refusal(
            time_ms=self._wall_ms(),
            title=title(notice, "en"),
            answer=answer.text(),
            remedy=answer.remedy,
            given_up=is_last,
        )
        line.note_refusal(target, refusal)

    def _give_up(self, target: Target, line: TargetState, notice: Notice, answer: Answer, tried: int) -> None:
        line.given_up += 1
        line.refused += answer.refused
        self.counts["refused" if answer.refused else "given_up"] += 1
        if not answer.refused:
            _log.warning(
                "webhook %s (%s): given up after %d attempts: %s", target.id, target.name, tried, answer.text()
            )
        self._on_given_up(target, notice, line.last_refusal if answer.refused else None)

    def _wait_ms(self, tried: int, answer: Answer) -> int:
        first_ms = self._settings.refused_ms if answer.refused else self._settings.first_ms
        most = min(self._settings.most_ms, first_ms << min(tried - 1, 30))
        return max(int(most * self._rng.uniform(0.5, 1.0)), _asked_ms(answer))

    # -- results for the store

    def _end(self, number: int, ended: Ended) -> None:
        self._ended[number] = ended
        if ended.retry_at_ms is not None:
            self._look_at(ended.retry_at_ms)
        self._wake.set()

    async def _record(self, *, every: bool = False) -> None:
        """every: also those after one that could not be recorded."""
        for number, ended in list(self._ended.items()):
            try:
                await self._store.finish_delivery(number, **msgspec.structs.asdict(ended))
            except Exception as error:
                self._store_ill(error)
                if not every:
                    return
            else:
                self._ended.pop(number, None)

    def _store_ill(self, error: Exception) -> None:
        self.counts["store_errors"] += 1
        self._store_log.failed(f"webhooks are waiting because the store does not respond: {error}")
        self._due_ms = [*self._due_ms[:999], self._wall_ms() + 1000]

    def _store_well(self) -> None:
        self._store_log.worked()


def _asked_ms(answer: Answer) -> int:
    """Returns for how long the target asked to be left alone."""
    return 0 if answer.retry_after_s is None else int(answer.retry_after_s * 1000)


def _notice(delivery: Delivery) -> tuple[Notice | None, str]:
    """The message of a delivery; None and the reason, if it cannot be read."""
    try:
        return msgspec.convert(delivery.payload, Notice), ""
    except msgspec.ValidationError as error:
        return None, str(error)
