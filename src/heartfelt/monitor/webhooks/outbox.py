# SPDX-License-Identifier: MIT
"""Takes deliveries from the store and calls the targets: each target in order, one call at a time, all in parallel.

A failed delivery is retried after 2 s, 4 s, 8 s ... 10 min, each shortened by a random amount of up to half, for a day;
then it is given up. A message that the target refuses for its content (400, 413, 415, 422) is given up at the third
attempt, so that it does not block the others for a day. Later deliveries wait: the store returns a target's next one
only when the one before is done or given up.

The store may fail at any time. The result of a call is kept until the store has recorded it, and a delivery that the
store returns again meanwhile is not sent again. If the process dies between an answer and its record, the delivery is
sent again with the same idempotency key.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import msgspec

from heartfelt.monitor.store import FLUSH_S, Delivery, Store
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within
from heartfelt.monitor.webhooks.breaker import Breaker, BreakerSettings, Pace
from heartfelt.monitor.webhooks.caller import Answer
from heartfelt.monitor.webhooks.notices import Notice
from heartfelt.monitor.webhooks.targets import MAX_TARGETS, Kind, Target

__all__ = ["Outbox", "Retry", "StopLimits", "TargetState", "pause"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_DAY_MS = 86_400_000
_IDLE_S = 5.0
_PER_MINUTE = {Kind.DINGTALK: 18, Kind.FEISHU: 90, Kind.SLACK: 55, Kind.GENERIC: 6000}


class Retry(msgspec.Struct, kw_only=True, frozen=True):
    first_ms: int = 2_000
    most_ms: int = 600_000
    give_up_ms: int = _DAY_MS
    refusals: int = 3
    """Attempts for a message that the target refuses for its content."""
    breaker: BreakerSettings = BreakerSettings()


class StopLimits(msgspec.Struct, kw_only=True, frozen=True):
    """How long each part of a stop may take."""

    tasks_s: float = 1.0
    """Until a task that was cancelled has ended."""
    store_s: float = 1.0
    """Until the store has taken what it is to know."""
    sessions_s: float = 1.0
    """Until the connections are closed."""


class TargetState:
    """The state of one target since the start."""

    def __init__(self, target: Target, settings: Retry) -> None:
        self.breaker = Breaker(settings.breaker)
        self.pace = Pace(_PER_MINUTE[target.kind])
        self.task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.failed = 0
        self.last_answer = ""
        self.last_success_ms: int | None = None


Pause = Callable[[TimedEvent, float], Awaitable[object]]


async def pause(event: TimedEvent, seconds: float) -> None:
    """Waits until the event is set or the seconds have passed. Replaceable in tests."""
    await event.wait(seconds)


class Outbox:
    """Belongs to the loop. `target(id)` returns a target as it is now; `call` is `Caller.call`."""

    def __init__(
        self,
        store: Store,
        target: Callable[[str], Target | None],
        call: Callable[[Target, Notice], Awaitable[Answer]],
        settings: Retry,
        *,
        wall_ms: Callable[[], int],
        pause: Pause = pause,
        rng: random.Random | None = None,
        stop_limits: StopLimits | None = None,
    ) -> None:
        self._store = store
        self._target = target
        self._call = call
        self._settings = settings
        self._wall_ms = wall_ms
        self._pause = pause
        self._rng = rng or random.Random()
        self._lines: dict[str, TargetState] = {}
        self._ended: dict[int, tuple[bool, int | None, str]] = {}
        """Results of calls that the store has not recorded yet."""
        self._busy: set[int] = set()
        self._wake = TimedEvent()
        self._due_ms: list[int] = []
        self._store_ok = True
        self._limits = stop_limits or StopLimits()
        self._running = False
        self._worker: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        """All that are under way, also those of targets that are deleted."""
        self.counts = dict.fromkeys(
            ("put", "attempts", "delivered", "retries", "given_up", "refused", "dropped", "postponed", "blocked",
             "store_errors", "faults", "left_running"),
            0,
        )  # fmt: skip

    # -- for the service

    def put(self, target_id: str, notice: Notice) -> None:
        """Queues a message without waiting. The store takes each key only once per target."""
        self._store.put_delivery(target_id, notice.key, msgspec.to_builtins(notice))
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

    async def stop(self) -> None:
        """Cancels calls in progress; the store returns their deliveries again after the next start.

        Takes at most `tasks_s` and `store_s` of the StopLimits; a call that does not end is logged and left.
        """
        self._running = False
        self._wake.set()
        tasks = [*self._calls] if self._worker is None else [self._worker, *self._calls]
        self._worker = None
        left = await end_tasks(tasks, seconds=self._limits.tasks_s, logger=_log)
        self.counts["left_running"] += len(left)
        try:
            await within(self._limits.store_s, self._record())
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
            try:
                found = await self._store.next_deliveries(now_ms, MAX_TARGETS)
                self._store_well()
            except Exception as error:
                self._store_ill(error)
                found = []
            for delivery in found if self._running else ():
                try:
                    self._take(delivery)
                except Exception as error:  # a bug of ours must not end the worker
                    self.fault(error)
            if found:
                await asyncio.sleep(0)
                self._wake.set()
                continue
            wait_s = min([_IDLE_S, *((at_ms - self._wall_ms()) / 1000 for at_ms in self._due_ms)])
            if wait_s > 0 and not self._wake.is_set():
                await self._pause(self._wake, wait_s)

    def _take(self, delivery: Delivery) -> None:
        if delivery.number in self._busy or delivery.number in self._ended:
            return  # in progress, or sent and not yet recorded
        target = self._target(delivery.target)
        if target is None or not target.enabled:
            self.counts["dropped"] += 1
            self._end(delivery.number, False, None, "the webhook was deleted" if target is None else "switched off")
            return
        line = self.line(target)
        self._busy.add(delivery.number)
        before, line.task = line.task, None
        line.task = asyncio.create_task(self._deliver(target, line, delivery, before), name=f"webhook {target.id}")
        self._calls.add(line.task)
        line.task.add_done_callback(self._calls.discard)

    async def _deliver(
        self, target: Target, line: TargetState, delivery: Delivery, before: asyncio.Task[None] | None
    ) -> None:
        try:
            if before is not None and not before.done():  # does not happen with a store that works as specified
                await asyncio.wait([before])
            now_ms = self._wall_ms()
            wait_ms = max(line.breaker.wait_ms(now_ms), line.pace.wait_ms(now_ms))
            if wait_ms > 0:
                self.counts["postponed"] += 1
                why = "waiting: too many calls" if line.breaker.open_until_ms is None else "waiting: too many failures"
                self._end(delivery.number, False, now_ms + wait_ms, why)
                return
            line.pace.called(now_ms)
            self.counts["attempts"] += 1
            try:
                notice = msgspec.convert(delivery.payload, Notice)
            except msgspec.ValidationError as error:
                answer = Answer(ok=False, permanent=True, error=f"the stored message cannot be read: {error}")
            else:
                answer = await self._call(target, notice)
            self._judge(target, line, delivery, answer)
        finally:
            self._busy.discard(delivery.number)
            self._wake.set()

    def _judge(self, target: Target, line: TargetState, delivery: Delivery, answer: Answer) -> None:
        now_ms = self._wall_ms()
        line.last_answer = answer.text()
        if answer.ok:
            line.breaker.succeeded()
            line.delivered += 1
            line.last_success_ms = now_ms
            self.counts["delivered"] += 1
            self._end(delivery.number, True, None, answer.text())
            return
        line.failed += 1
        self.counts["blocked"] += answer.blocked
        if answer.reached:
            line.breaker.succeeded()
        else:
            line.breaker.failed(now_ms)
        tried = max(1, delivery.attempts)  # includes this attempt: the store counts at each claim
        if answer.permanent and tried >= self._settings.refusals:
            self.counts["refused"] += 1
            _log.warning("webhook %s (%s): message given up: %s", target.id, target.name, answer.text())
            self._end(delivery.number, False, None, answer.text())
            return
        wait_ms = self._wait_ms(tried, answer)
        retry_at_ms = now_ms + max(wait_ms, line.breaker.wait_ms(now_ms))
        if retry_at_ms >= delivery.created_ms + self._settings.give_up_ms:
            self.counts["given_up"] += 1
            _log.warning(
                "webhook %s (%s): given up after %d attempts: %s", target.id, target.name, tried, answer.text()
            )
            self._end(delivery.number, False, None, answer.text())
            return
        self.counts["retries"] += 1
        if line.breaker.failures in (1, self._settings.breaker.failures):
            _log.warning("webhook %s (%s): attempt %d failed: %s", target.id, target.name, tried, answer.text())
        self._end(delivery.number, False, retry_at_ms, answer.text())

    def _wait_ms(self, tried: int, answer: Answer) -> int:
        most = min(self._settings.most_ms, self._settings.first_ms << min(tried - 1, 30))
        asked = 0 if answer.retry_after_s is None else int(answer.retry_after_s * 1000)
        return max(int(most * self._rng.uniform(0.5, 1.0)), asked)

    # -- results for the store

    def _end(self, number: int, ok: bool, retry_at_ms: int | None, answer: str) -> None:
        self._ended[number] = (ok, retry_at_ms, answer)
        if retry_at_ms is not None:
            self._look_at(retry_at_ms)
        self._wake.set()

    async def _record(self) -> None:
        for number, (ok, retry_at_ms, answer) in list(self._ended.items()):
            try:
                await self._store.finish_delivery(number, ok=ok, retry_at_ms=retry_at_ms, answer=answer)
            except Exception as error:
                self._store_ill(error)
                return
            self._ended.pop(number, None)

    def _store_ill(self, error: Exception) -> None:
        self.counts["store_errors"] += 1
        if self._store_ok:
            _log.error("webhooks are waiting because the store does not respond: %s", error)
        self._store_ok = False
        self._due_ms = [*self._due_ms[:999], self._wall_ms() + 1000]

    def _store_well(self) -> None:
        if not self._store_ok:
            _log.info("the store responds again; webhooks continue")
        self._store_ok = True
