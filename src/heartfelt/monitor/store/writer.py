# SPDX-License-Identifier: MIT
"""The thread that writes. It sleeps until something is queued, waits FLUSH_S for more, and writes all of it in one
transaction. It keeps what it cannot write, and tries again. Between two transactions it runs jobs that coroutines wait
for, and deletes old rows."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from heartfelt.errors import StoreError
from heartfelt.monitor.store import FLUSH_S
from heartfelt.monitor.store.damage import FAILURES, is_broken, move_aside
from heartfelt.monitor.store.file import StoreFile
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import Bounds, DeliveryRow, Dropped, Pending
from heartfelt.monitor.store.retention import Forgetter
from heartfelt.monitor.tasks import join_thread

RETRY_MOST_S = 2.0
CLOSE_S = 3.0
"""How long a stop tries to write what is queued."""
ANSWER_S = 1.0
"""How much longer it waits for a disk that does not respond."""
FORGET_EVERY_S = 60.0
FORGET_FOR_S = 0.05

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]
Jobs = deque[tuple["Job | None", "Future[Any]"]]


class Writer:
    """The loop's thread adds to `pending` under `lock`, then calls `wake`. The lock is only held to add one record, or
    to replace the full Pending by an empty one."""

    def __init__(
        self,
        file: StoreFile,
        forgetter: Forgetter,
        bounds: Bounds,
        logger: logging.Logger,
        *,
        close_s: float = CLOSE_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.lock = threading.Lock()
        self.noted_dropped = Dropped()
        self.kept_dropped = Dropped()
        self.pending: Pending
        self.taken_id = 0  # the highest id that the thread has taken: the file may have it
        self.writes = 0
        self.failures = 0
        self.bytes = 0
        self.error: str | None = None
        self.last_written_ms: int | None = None
        self.written_s = 0.0  # by the monotonic clock
        self._file = file
        self._forgetter = forgetter
        self._bounds = bounds
        self._logger = logger
        self._close_s, self._answer_s = close_s, answer_s
        self._older: Pending | None = None
        self._jobs: Jobs = deque()
        self._something = threading.Event()  # is queued, or must be done
        self._hurry = threading.Event()  # a job, or the stop
        self._stop_at: float | None = None
        self._ended = False
        self.is_left = False
        self._retry_s = 0.0
        self._log = OutageLog(logger, f"the store {file.path} can be written again")
        self._forget_at = 0.0
        self._forget_for_s = FORGET_FOR_S
        self._thread: threading.Thread | None = None

    # -- called by the loop's thread

    def start(self, highest_id: int, highest_seq: int) -> None:
        self.pending = Pending(self._bounds, self.noted_dropped, highest_id, highest_seq)
        self.taken_id = highest_id
        self.bytes = self._file.bytes()
        self._thread = threading.Thread(target=self._run, name="heartfelt-store-write", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        if not self._something.is_set():
            self._something.set()

    def waiting(self) -> int:
        older = self._older
        return self.pending.waiting() + (0 if older is None else older.waiting())

    def waiting_instances(self) -> int:
        older = self._older
        return len(self.pending.instances) + (0 if older is None else len(older.instances))

    def unwritten_deliveries(self) -> list[DeliveryRow]:
        """Returns the rows of queued deliveries. Callable from any thread. O(rows)."""
        older = self._older
        rows = [] if older is None else list(older.deliveries.copy())  # `copy` is atomic, iteration is not
        with self.lock:
            rows += self.pending.deliveries
        return rows

    async def do(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a job in a transaction of its own, after everything that was queued before. Raises StoreError if it
        cannot be written."""
        result: T = await self._submit(job)
        return result

    async def flush(self) -> None:
        await self._submit(None)

    async def _submit(self, job: Job | None) -> Any:
        future: Future[Any] = Future()
        with self.lock:
            if self._stop_at is not None:
                raise StoreError(f"the store {self._file.path} is closed; write before it is closed")
            self._jobs.append((job, future))
        self._hurry.set()
        self._something.set()
        return await asyncio.wrap_future(future)

    def stop(self) -> bool:
        """Blocks for at most `stop_s`. Returns True if everything was written. If the disk does not respond, the thread
        is logged with its stack and left running."""
        assert self._thread is not None
        with self.lock:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + self._close_s
        self._hurry.set()
        self._something.set()
        self.is_left = not join_thread(self._thread, self.stop_s, self._logger)
        if self.is_left:
            self._refuse_jobs()
        return self._ended and self.error is None

    @property
    def stop_s(self) -> float:
        return self._close_s + self._answer_s

    def _refuse_jobs(self) -> None:
        """Raises StoreError in the coroutines whose jobs will not be run."""
        with self.lock:
            jobs, self._jobs = self._jobs, deque()
        for _, future in jobs:
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreError(f"the store {self._file.path} was closed before this was written"))

    # -- called by the writer's thread

    def _run(self) -> None:
        while True:
            self._wait()
            stop_at = self._stop_at
            try:
                written, jobs = self._flush()
                self._do_jobs(jobs, written)
                if written:
                    self._move_aside()
                if written and stop_at is None:
                    self._forget()
            except Exception as error:  # a bug here must not end the thread, and is logged
                self._logger.exception("the store's writer failed unexpectedly")
                self._failed(error)
                written = False
            if stop_at is not None and (written or time.monotonic() >= stop_at):
                break
        self._end(written)

    def _wait(self) -> None:
        if self._stop_at is None:
            if self._retry_s:
                self._hurry.wait(self._retry_s)
            elif self._something.wait(max(0.0, self._forget_at - time.monotonic())):
                self._hurry.wait(FLUSH_S)
        elif self._retry_s:
            time.sleep(min(self._retry_s, 0.1))
        self._something.clear()
        self._hurry.clear()

    def _flush(self) -> tuple[bool, Jobs]:
        """Writes everything that is queued. Returns whether nothing is left, and the jobs queued before that."""
        fresh = Pending(self._bounds, self.noted_dropped, 0, 0)
        with self.lock:
            taken = self.pending
            fresh.highest_id, fresh.highest_seq = taken.highest_id, taken.highest_seq
            self.pending = fresh
            self.taken_id = taken.highest_id
            jobs, self._jobs = self._jobs, deque()
        return self._write(taken), jobs

    def _write(self, taken: Pending) -> bool:
        taken.dropped = self.kept_dropped
        batch = self._older
        if batch is None:
            batch = taken
        else:
            batch.absorb(taken, self._file.highest_stored_id)
        if batch.is_empty() and self.error is None:
            return True
        self._older = batch
        begun = time.monotonic()
        try:
            self._file.write(batch)
        except Exception as error:
            if not isinstance(error, (*FAILURES, StoreError)):  # a bug here: the records are kept all the same
                self._logger.exception("the store's writer failed unexpectedly")
            self._failed(error)
            return False
        self._older = None
        self._written(time.monotonic() - begun)
        return True

    def _written(self, took_s: float) -> None:
        self.writes += 1
        self.last_written_ms = self._file.last_written_ms
        self.bytes = self._file.bytes()
        self._retry_s = 0.0
        self.error = None
        self.written_s = time.monotonic()
        self._log.worked()
        if self.bytes > self._forgetter.keep.file_bytes:
            self._forget_at = 0.0
        self._forget_for_s = max(FORGET_FOR_S, 2 * took_s)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._retry_s = min(max(FLUSH_S, 2 * self._retry_s), RETRY_MOST_S)
        if is_broken(error):
            self._file.damage.broken(str(error))
        self.error = describe(error, self._file)
        self._log.failed(f"{self.error}; new records are kept in memory until then")

    def _do_jobs(self, jobs: Jobs, written: bool) -> None:
        """Runs the jobs. If writing failed a moment ago, the jobs fail, too."""
        broken = None if written else StoreError(self.error or "the store cannot be written")
        for job, future in jobs:
            if not future.set_running_or_notify_cancel():
                continue
            if broken is not None:
                future.set_exception(broken)
                continue
            if job is None:
                future.set_result(None)
                continue
            try:
                with self._file.transaction() as connection:
                    result = job(connection)
            except (*FAILURES, StoreError) as error:
                self._failed(error)
                broken = StoreError(describe(error, self._file))
                future.set_exception(broken)
            except Exception as error:  # raised by the job itself
                future.set_exception(error)
            else:
                future.set_result(result)

    def _move_aside(self) -> None:
        """Moves rows that cannot be read into a table of their own. If that fails they stay, and are left out."""
        damage = self._file.damage
        if not damage.found.is_set():
            return
        damage.log_rest()
        try:
            with self._file.transaction() as connection:
                moved = move_aside(connection, damage.take(), self._file.wall_ms())
            damage.moved(moved)
        except (*FAILURES, StoreError) as error:
            self._logger.warning("%s: damaged rows could not be moved aside: %s", self._file.path, error)

    def _forget(self) -> None:
        begun = time.monotonic()
        if begun < self._forget_at:
            return
        more = True
        try:
            while more and time.monotonic() - begun < self._forget_for_s and not self._hurry.is_set():
                more = self._forgetter.step(self._file.connection())
        except (*FAILURES, StoreError) as error:
            self._failed(error)
            return
        self.bytes = self._file.bytes()
        self._forget_at = time.monotonic() + (FLUSH_S if more else FORGET_EVERY_S)

    def _end(self, written: bool) -> None:
        with self.lock:
            left = self.waiting()
        if written and not left:
            self._file.close(self.pending.highest_id, self.pending.highest_seq)
        else:
            self._logger.error("the store was closed with %d rows that could not be written: %s", left, self.error)
            self._file.abandon()
        self._refuse_jobs()
        self._ended = True


def describe(error: Exception, file: StoreFile) -> str:
    """Returns a text for people: what happened, and what to do."""
    if isinstance(error, StoreError):
        return str(error)
    text = str(error)
    if "locked" in text:
        remedy = "end the other program that has it open for writing"
    elif "full" in text:
        remedy = f"free some space on the disk of {file.path.parent}"
    elif "readonly" in text or "unable to open" in text:
        remedy = "let the monitor's user write to it and its folder"
    elif is_broken(error):
        remedy = f"it is damaged: {file.damage.remedy}"
    else:
        remedy = f"check the disk of {file.path.parent}"
    return f"{file.path} cannot be written: {text or type(error).__name__}; {remedy}"
