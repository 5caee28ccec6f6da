# SPDX-License-Identifier: MIT
"""The thread that writes to Redis. It sleeps until something is put, waits GATHER_S for more if that is a change,
FLUSH_S otherwise, and writes all of it. What cannot be written waits, within bounds. Between two rounds it runs jobs
that coroutines wait for, renews the leases, writes pages of deadlines and deletes what is old."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from heartfelt.errors import StoreError
from heartfelt.monitor.store import FLUSH_S, Superseded
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import Bounds, DeliveryRow, Dropped
from heartfelt.monitor.store.redis.chunks import HistoryChunks
from heartfelt.monitor.store.redis.forgetting import Forgetting
from heartfelt.monitor.store.redis.gathering import Gathered
from heartfelt.monitor.store.redis.instances import Instances
from heartfelt.monitor.store.redis.jobs import Job, Waiting, WriterJobs
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.link import Link, Unreachable
from heartfelt.monitor.store.redis.outbox import RedisOutbox
from heartfelt.monitor.store.redis.outcomes import Outcome
from heartfelt.monitor.store.redis.outgoing import Outgoing
from heartfelt.monitor.store.redis.renewing import Renewing
from heartfelt.monitor.store.redis.values import BAD_VALUE
from heartfelt.monitor.tasks import join_thread

GATHER_S = 0.02
RETRY_MOST_S = 2.0
CLOSE_S = 3.0
ANSWER_S = 1.0
DELIVERIES_AT_ONCE = 1000
FORGET_EVERY_S = 60.0
FORGET_FOR_S = 0.05
WATCH_S = 1.25

T = TypeVar("T")


class RedisWriter:
    """The loop's thread adds to `pending` under `lock`, then calls `wake`. The lock is only held to add one record, or
    to take them all.

    tell: called by this thread with what has come of a round. leads: whether this monitor deletes what is old.
    """

    def __init__(
        self, *, name: str, link: Link, keys: Keys, writer_id: str, leases: Leases, instances: Instances,
        outbox: RedisOutbox, forgetting: Forgetting, bounds: Bounds, kept_dropped: Dropped,
        tell: Callable[[Outcome], None], leads: Callable[[], bool], wall_ms: Callable[[], int], logger: logging.Logger,
        close_s: float = CLOSE_S, answer_s: float = ANSWER_S, watch_s: float = WATCH_S,
    ) -> None:  # fmt: skip
        self.lock = threading.Lock()
        self.noted_dropped = Dropped()
        self.kept_dropped = kept_dropped
        self.pending = self._taken = Gathered(bounds, self.noted_dropped)
        self.writes = self.failures = self.faults = 0
        self.error: str | None = None
        self.last_written_ms: int | None = None
        self.last_beat_ms: int | None = None
        self.written_s = 0.0  # by the monotonic clock
        self.outgoing = Outgoing(link, bounds, kept_dropped, logger)
        self.is_left = False
        self._name, self._link, self._instances = name, link, instances
        self._outbox, self._forgetting = outbox, forgetting
        self._bounds = bounds
        self._tell, self._leads, self._wall_ms = tell, leads, wall_ms
        self._logger = logger
        self._close_s, self._answer_s, self._watch_s = close_s, answer_s, watch_s
        self._renewing = Renewing(leases, instances, kept_dropped, tell, watch_s)
        self._chunks = HistoryChunks(keys, writer_id, lambda: forgetting.keep, self._fault)
        self._deliveries: deque[DeliveryRow] = deque()
        self._told: dict[str, dict[Any, Any]] = {}
        self._jobs = WriterJobs(name)
        self._something = threading.Event()  # was put, or must be done
        self._soon = threading.Event()  # a change, which others wait for
        self._hurry = threading.Event()  # a job, or the stop
        self._stop_at: float | None = None
        self._retry_s = 0.0
        self._last_bug = ""
        self._log = OutageLog(logger, f"{name} can be written again")
        self._forget_at = 0.0
        self._thread: threading.Thread | None = None

    # -- called by the loop's thread

    def start(self) -> None:
        self._renewing.start()
        self._forget_at = time.monotonic() + FORGET_EVERY_S
        self._thread = threading.Thread(target=self._run, name="heartfelt-redis-write", daemon=True)
        self._thread.start()

    def wake(self, *, soon: bool = False) -> None:
        if soon and not self._soon.is_set():
            self._soon.set()
        if not self._something.is_set():
            self._something.set()

    def waiting(self) -> int:
        return self.pending.waiting() + self.waiting_here()

    def unwritten_deliveries(self) -> list[DeliveryRow]:
        rows = list(self._deliveries.copy())  # `copy` is atomic, iteration is not
        with self.lock:
            rows += self.pending.deliveries
        return rows

    async def do(self, job: Callable[[Outcome], T], *, urgent: bool = False) -> T:
        """Runs a job after everything that was put before; if it is urgent, as soon as that was taken."""
        result: T = await self._submit(job, urgent=urgent)
        return result

    def look_for_moved(self) -> None:
        """Finds out now what was moved away. The writer's thread. Raises Unreachable."""
        self._renewing.look()

    async def flush(self) -> None:
        await self._submit(None)

    async def _submit(self, job: Job | None, *, urgent: bool = False) -> Any:
        future = self._jobs.add(job, urgent=urgent)
        self._hurry_up()
        return await asyncio.wrap_future(future)

    def _hurry_up(self) -> None:
        self._hurry.set()
        self._soon.set()
        self._something.set()

    def stop(self) -> bool:
        """Blocks for at most `stop_s`. Returns True if everything was written. A thread that does not end is logged
        with its stack, and left running."""
        assert self._thread is not None
        self._jobs.close()
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._close_s
        self._hurry_up()
        self.is_left = not join_thread(self._thread, self.stop_s, self._logger)
        if self.is_left:
            self._jobs.refuse()
        return not self.is_left and not self.waiting()

    @property
    def stop_s(self) -> float:
        return self._close_s + self._answer_s

    def is_unwritten(self, id: int) -> bool:
        """Returns whether something of an instance waits to be written."""
        with self.lock:
            is_put = any(id in one.instances or id in one.removed for one in (self.pending, self._taken))
        return is_put or self._instances.waits(id)

    # -- called by the writer's thread

    def give_up(self) -> None:
        """Writes the deadlines, and gives up the leases. Nothing of instances is written from then on."""
        self._renewing.give_up()

    def lead(self, fence: int) -> Any:
        """Begins a term, and drops what a former one could not say of what was told: another one may have led since."""
        self._told.clear()
        if not self._outbox.give_back():
            raise StoreError("a claim of deliveries of the former term has not ended")
        return self._outbox.lead(fence)

    def put_position(self, value: Any) -> None:
        if self._deliveries or self._told:
            raise StoreError("the position is not stored before the deliveries up to it are, which still wait")
        self._outbox.put_position(value)

    def _run(self) -> None:
        while True:
            self._wait()
            stop_at = self._stop_at
            written = False
            try:
                written = self._round()
                if written and stop_at is None:
                    self._forget()
            except Exception as error:  # a bug here must not end the thread, and is logged
                self._logger.exception("the store's writer failed unexpectedly")
                self._failed(error)
            if stop_at is not None and (written or time.monotonic() >= stop_at):
                break
        self._end(written)

    def _wait(self) -> None:
        if self._stop_at is None:
            now_s = time.monotonic()
            until_s = max(0.0, min(self._renewing.due_s(), self._forget_at) - now_s)
            if self._retry_s:
                self._hurry.wait(min(self._retry_s, self._watch_s))
            elif self._something.wait(until_s) and self._soon.wait(FLUSH_S):
                self._hurry.wait(GATHER_S)
        elif self._retry_s:
            time.sleep(min(self._retry_s, 0.1))
        self._something.clear()
        self._soon.clear()
        self._hurry.clear()

    def _round(self) -> bool:
        """Writes what was put, renews, runs the jobs. Returns whether nothing is left."""
        jobs = self._jobs.take_others()  # before what was put, so that all that was put before them is taken
        outcome = Outcome()
        had = self._take(outcome) or self.waiting_here() > 0
        n_before = self.waiting_here()
        self._between(outcome)
        if had:
            self._attempt(outcome, lambda: self._write(outcome))
            self._attempt(outcome, lambda: self._put_rest(outcome))
        self._attempt(outcome, lambda: self._renewing.flush(outcome))
        self._attempt(outcome, self._outbox.give_back)
        error = outcome.error
        if error is not None:
            self._failed(error, is_partial=self.waiting_here() < n_before)
        elif had or self.error is not None:
            self._worked(had)
        self._do(jobs, error)
        self._tell(outcome)
        left = self.waiting_here()
        if left:
            self._something.set()
            self._soon.set()
        return error is None and not left

    def _between(self, outcome: Outcome) -> None:
        """Does what may not wait until much is written: renews the leases, runs urgent jobs."""
        self._attempt(outcome, self._renewing.renew)
        jobs = self._jobs.take_urgent()
        if jobs:
            self._take(outcome)
            self._do(jobs, None)

    def _attempt(self, outcome: Outcome, step: Callable[[], object]) -> None:
        """One step that fails does not hold up the others, which may be for other servers."""
        try:
            step()
        except StoreError as error:
            outcome.error = error
        except Exception as error:  # a bug here, or an answer that nobody expects: what waits is kept all the same
            outcome.error = StoreError(f"{type(error).__name__}: {error}")
            if str(outcome.error) != self._last_bug:  # the same again is logged with the outage
                self._last_bug = str(outcome.error)
                self._logger.exception("the store's writer failed unexpectedly")

    def waiting_here(self) -> int:
        """How much was taken and is not written."""
        told = sum(map(len, list(self._told.values())))
        return len(self._instances) + len(self.outgoing) + len(self._deliveries) + told

    def _take(self, outcome: Outcome) -> bool:
        """Takes what was put. Returns whether there was something."""
        with self.lock:
            self._taken, self.pending = taken, _ = self.pending, Gathered(self._bounds, self.noted_dropped)
        if taken.is_empty():
            return False
        self._attempt(outcome, lambda: self._sort(taken))
        with self.lock:
            self._taken = self.pending
        return True

    def _sort(self, taken: Gathered) -> None:
        self._instances.take(taken)
        newest = taken.newest_beat_ms()
        if newest is not None:
            self.last_beat_ms = max(newest, self.last_beat_ms or 0)
        for chunk in self._chunks.of_put(taken):
            self.outgoing.put(chunk)
        self._deliveries.extend(taken.deliveries)
        while len(self._deliveries) > self._bounds.deliveries:
            self._deliveries.popleft()
            self.kept_dropped.deliveries += 1
        for target, instances in taken.told.items():
            self._told.setdefault(target, {}).update(instances)
        for some in taken.beats:
            self._instances.beats(some)

    def _write(self, outcome: Outcome) -> None:
        for done in self._instances.write(is_last=self._stop_at is not None):
            self._follow(done)
            self._tell(done)
            outcome.error = done.error or outcome.error
            self._between(outcome)
        if outcome.error is None and not len(self._instances):
            self.outgoing.put(self._chunks.written(self._wall_ms()))
        for error in self.outgoing.send():
            outcome.error = error or outcome.error
            self._between(outcome)
        self.outgoing.bound()

    def _follow(self, done: Outcome) -> None:
        for chunk in self._chunks.of_accepted(done):
            self.outgoing.put(chunk)

    def _put_rest(self, outcome: Outcome) -> None:
        """Puts deliveries and what targets were told. Raises Unreachable."""
        try:
            while self._deliveries:
                some = list(itertools.islice(self._deliveries, DELIVERIES_AT_ONCE))
                try:
                    self._outbox.put_deliveries(some)
                except BAD_VALUE as error:
                    self._fault("deliveries", error)
                for _ in some:
                    self._deliveries.popleft()
                self._between(outcome)
            for target in list(self._told):
                self._outbox.put_told(target, self._told[target])
                del self._told[target]
        except Superseded as error:  # the one that leads now puts them, from the last stored position on
            self._logger.info("%s: %d deliveries are left to it", error, len(self._deliveries))
            self._deliveries.clear()
            self._told.clear()

    def _worked(self, had: bool) -> None:
        self._retry_s = 0.0
        if self._link.refuses_writes() is None:  # what was written may have needed no memory, as others will
            self.error = None
            self._log.worked()
        if had:
            self.writes += 1
            self.last_written_ms = self._wall_ms()
            self.written_s = time.monotonic()

    def _failed(self, error: Exception, *, is_partial: bool = False) -> None:
        """is_partial: other servers have taken what is for them, and are not to wait longer than usual."""
        self.failures += 1
        self._renewing.renew_soon()  # it finds out what was executed
        self._retry_s = FLUSH_S if is_partial else min(max(FLUSH_S, 2 * self._retry_s), RETRY_MOST_S)
        self.error = f"{self._name} cannot be written: {error}"
        self._log.failed(f"{self.error}; new records are kept in memory until then")

    def _fault(self, what: str, error: Exception) -> None:
        self.faults += 1
        if self.faults & (self.faults - 1) == 0:
            self._logger.error("skipped %s that can never be stored: %s", what, error)

    def _do(self, jobs: Waiting, error: Exception | None) -> None:
        """Runs jobs, also if something could not be written: it may be for another server."""
        for job, future in jobs:
            if not future.set_running_or_notify_cancel():
                continue
            done, result = Outcome(), None
            wrong: Exception | None = None
            try:
                if job is None and error is not None:
                    raise StoreError(self.error or str(error))
                result = None if job is None else job(done)
            except Unreachable as unreachable:
                self._failed(unreachable)
                wrong = StoreError(self.error or str(unreachable))
            except Exception as raised:  # by the job itself
                wrong = raised
            self._attempt(done, lambda done=done: self._follow(done))  # type: ignore[misc]
            self._attempt(done, lambda done=done: self._tell(done))  # type: ignore[misc] # before the result, as it happened
            if wrong is None:
                future.set_result(result)
            else:
                future.set_exception(wrong)
            if len(self.outgoing):
                self._something.set()

    def _forget(self) -> None:
        begun_s = time.monotonic()
        if begun_s < self._forget_at:
            return
        self._forget_at = begun_s + FORGET_EVERY_S
        outcome = Outcome()
        self._attempt(outcome, lambda: self._delete(begun_s + FORGET_FOR_S))
        if outcome.error is not None:
            self._failed(outcome.error)

    def _delete(self, until_s: float) -> None:
        self._forgetting.begin()
        while self._leads() and self._forgetting.step():
            if time.monotonic() >= until_s or self._soon.is_set():
                self._forget_at = time.monotonic() + FLUSH_S  # there may be more
                break

    def _end(self, written: bool) -> None:
        with self.lock:
            left = self.waiting()
        if not written or left:
            self._logger.error("the store was closed with %d rows that could not be written: %s", left, self.error)
        try:
            self.give_up()
        except Exception as error:  # its leases end by themselves
            self._logger.warning("%s: the leases could not be given up: %s", self._name, error)
        self._jobs.refuse()
