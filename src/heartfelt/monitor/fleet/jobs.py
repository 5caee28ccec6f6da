# SPDX-License-Identifier: MIT
"""Takes what jobs report about their runs, decides how a run ended, and tells the instance's life about it.

A run begins with `begins`, or with progress of a run that is not known. It has ended with `ends`, or, if it has no id,
with a plain ping. It is OVERDUE when it has not ended by its deadline: the timeout that its start asked for, otherwise
the longest time that its key allows. Progress that has a timeout moves the deadline: from then on the timeout says how
long the run may be without progress.

After a restart of the monitor a run gets its time without progress again, or at most RESTORED_MS if its deadline is
fixed and has passed: its end may have been reported while nobody listened, or its client may still repeat the report.
After that it is OVERDUE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.runs import OpenRun
from heartfelt.monitor.model import Beat, Run, RunResult
from heartfelt.monitor.reasons import Reason

__all__ = ["PING", "Jobs"]

PING = "ping"
"""`via` of pings. A plain one is a success of its job."""
MOST_TEXT = 2000
"""Characters of a run's text that are kept: the last ones, which say what went wrong."""
RESTORED_MS = 60_000
INEXACT_MS = 20
"""How inexact the time is for which an input was on its way from another monitor."""


class Jobs:
    """Belongs to the loop's thread. `take`: the registry's `beat`."""

    def __init__(self, life: Life, take: Callable[[Beat], Instance]) -> None:
        self._life = life
        self._book = life.book
        self._runs = life.runs
        self._take_beat = take
        self._is_taking = False
        self._seen: tuple[int, int] | None = None
        self.age_ms = 0
        """How long ago was heard what is taken now: another monitor heard it, or it was asked whose it is."""
        self.overdue_in_all = 0
        self.failed_in_all = 0

    # -- what jobs report

    def begins(self, beat: Beat, rid: str, *, timeout_ms: int | None = None, text: str = "") -> Run:
        """Notes that a run began. Registers an unknown key; otherwise nothing is renewed. Raises InputRefused."""
        instance = self._book.by_key.get((beat.service, beat.instance_id))
        if instance is None:
            instance = self._take(beat)[0]
        elif instance.learn(beat, self._life.wall_ms()):
            self._life.set_terms(instance)
            self._book.publish_row(instance)
        self._is_job(instance)
        if self.age_ms and (ended := self._runs.ended_after(instance.id, rid, self._life.now_ms() - self.age_ms)):
            return self._begun_late(instance, *ended)
        if (plain := self._pinged_after(instance, rid)) is not None:
            return self._begun_late(instance, *plain)
        return self._begin(instance, rid, timeout_ms, text)

    def progresses(self, beat: Beat, rid: str, *, timeout_ms: int | None = None, text: str = "") -> Run | None:
        """Takes a beat of a run, which renews its key but does not end FAILED. None: that run has ended before.

        Raises InputRefused.
        """
        instance, seen = self._take(beat)
        self._is_job(instance)
        one = self._runs.find(instance.id, rid)
        run = None
        if one is not None or not self._runs.has_ended(instance.id, rid):
            run = self._progress(instance, one, rid, timeout_ms, text)
        if seen is not None:
            self._life.beaten(instance, *seen, succeeded=False)
        return run

    def ends(
        self,
        beat: Beat,
        rid: str,
        *,
        failed: bool,
        status: int | None = None,
        duration_ms: int | None = None,
        text: str = "",
    ) -> Run:
        """Takes the end of a run, which renews its key. `duration_ms`: as the job measured it. Raises InputRefused."""
        instance, seen = self._take(beat)
        self._is_job(instance)
        run, reason = self._end(instance, rid, failed=failed, status=status, duration_ms=duration_ms, text=text)
        if reason is not None:
            self._life.fail(instance, reason, heard=True)
        else:
            self._runs.give_up(instance.id)
            if seen is not None:
                self._life.beaten(instance, *seen)
        return run

    # -- what happens to runs and their instances

    def beaten(self, instance: Instance, gap_ms: int, now_ms: int) -> None:
        """Handles a beat that may change the state of its instance."""
        if self._is_taking:  # it belongs to a run, and what follows is decided when more is known of that
            self._seen = gap_ms, now_ms
            return
        is_success = instance.via == PING or not self._runs.is_awaited(instance.id)
        if instance.in_run and instance.via == PING:
            _, reason = self._end(instance, "", failed=False)
            if reason is not None:
                self._life.fail(instance, reason, heard=True)
                return
        if is_success:
            self._runs.give_up(instance.id)
        self._life.beaten(instance, gap_ms, now_ms, succeeded=is_success)

    def due(self, number: int) -> None:
        """Handles a deadline that seems to have passed."""
        one = self._runs.numbered(number)
        if one is None or one.run.result is not RunResult.RUNNING or not self._runs.is_due(number):
            return
        run = one.run
        instance = self._book.by_id[run.id]
        now_ms = self._life.now_ms()
        if run.liveness_ms is not None and (wait_ms := self._life.hold.unsettled_ms(now_ms, instance.service)) > 0:
            self._runs.set_due(one, now_ms, wait_ms)  # its progress may not arrive, like beats whose loss is held
            return
        one.run = run = replace(run, result=RunResult.OVERDUE)
        self._runs.now_overdue(one)
        self.overdue_in_all += 1
        self._publish(run)
        self._life.fail(instance, reasons.overdue(run), heard=False)

    def open(self, id: int) -> list[Run]:
        """Returns the runs of an instance that have not ended."""
        return [one.run for one in self._runs.of(id)]

    def restore(self, runs: Iterable[Run], next_number: int) -> None:
        """Loads the open runs that the store knew, after their instances."""
        now_ms, wall_ms = self._life.now_ms(), self._life.wall_ms()
        for run in sorted(runs, key=lambda run: run.number):
            next_number = max(next_number, run.number + 1)
            instance = self._book.by_id.get(run.id)
            if instance is None:
                continue
            if (older := self._runs.find(run.id, run.rid)) is not None:
                self._runs.remove(older)
            began_ms = None if run.begin_ms is None else now_ms - max(wall_ms - run.begin_ms, 0)
            one = OpenRun(run=run, began_ms=began_ms, given_up=not instance.failed)
            if run.result is RunResult.RUNNING:
                one.given_up = False
                self._restore_deadline(instance, one, now_ms, wall_ms)
            self._runs.add(one)
            self._settle(instance)
        self._runs.next_number = max(self._runs.next_number, next_number)

    def _restore_deadline(self, instance: Instance, one: OpenRun, now_ms: float, wall_ms: int) -> None:
        run = one.run
        _, most_ms = self._bounds(instance)
        if most_ms is not None:
            one.moves_until_ms = (now_ms if one.began_ms is None else one.began_ms) + most_ms
        if run.deadline_ms is None:
            return
        if run.liveness_ms is not None:
            least_ms = run.liveness_ms
        else:
            least_ms = min(RESTORED_MS, run.deadline_ms - (run.begin_ms or 0))
        in_ms = max(run.deadline_ms - wall_ms, least_ms, 1)
        one.run = replace(run, deadline_ms=wall_ms + in_ms)
        self._runs.set_due(one, now_ms, in_ms)

    # -- how

    def _take(self, beat: Beat) -> tuple[Instance, tuple[int, int] | None]:
        """Lets the registry take a beat, without a decision on the state of an instance that it knows. Returns the time
        since the beat before and the time of this one if there is something to decide."""
        self._is_taking, self._seen = True, None
        try:
            instance = self._take_beat(beat)
        finally:
            self._is_taking = False
        return instance, self._seen

    def _is_job(self, instance: Instance) -> None:
        if not instance.is_job:
            self._life.leases.becomes_job(instance)
            self._book.publish_row(instance)

    def _bounds(self, instance: Instance) -> tuple[int | None, int | None]:
        policy = self._life.policy
        return policy.durations_ms(instance.service, instance.min_duration_ms, instance.max_duration_ms)

    def _begin(self, instance: Instance, rid: str, timeout_ms: int | None, text: str) -> Run:
        now_ms, wall_ms = self._life.now_ms(), self._life.wall_ms()
        older = self._runs.find(instance.id, rid)
        if older is None or older.run.result is not RunResult.RUNNING:
            if older is not None:
                self._runs.remove(older)
            return self._open(instance, rid, wall_ms - self.age_ms, timeout_ms, text).run
        # It begins again, as when a request is repeated. Its deadline holds if it comes sooner than the new one: a job
        # that never ends must not move it with each start.
        older.began_ms = now_ms - self.age_ms
        _, most_ms = self._bounds(instance)
        older.moves_until_ms = None if most_ms is None else now_ms + most_ms
        in_ms = most_ms if timeout_ms is None else timeout_ms
        run = replace(older.run, text=text[-MOST_TEXT:] or older.run.text)
        if older.due_ms is None or (in_ms is not None and now_ms + in_ms <= older.due_ms):
            run = replace(run, begin_ms=wall_ms - self.age_ms, deadline_ms=None if in_ms is None else wall_ms + in_ms)
            if in_ms is not None:
                self._runs.set_due(older, now_ms, in_ms)
        older.run = run
        self._publish(run)
        return run

    def _pinged_after(self, instance: Instance, rid: str) -> tuple[float, Run] | None:
        """Returns the run that a plain ping has ended, if it was heard after the start that is taken now: no run was
        open then, so it was taken as a beat."""
        wall_ms = self._life.wall_ms()
        ago_ms = wall_ms - instance.last_beat_ms
        if rid or instance.via != PING or not 0 <= ago_ms < self.age_ms:
            return None
        if self._runs.find(instance.id, rid) is not None:
            return None
        run = Run(
            number=self._runs.take_number(), id=instance.id, rid=rid, begin_ms=None,
            end_ms=instance.last_beat_ms, result=RunResult.OK,
        )  # fmt: skip
        return self._life.now_ms() - ago_ms, run

    def _begun_late(self, instance: Instance, ended_ms: float, run: Run) -> Run:
        """Takes the start of a run whose end was faster, since another monitor has heard it."""
        if run.begin_ms is not None or run.end_ms is None:
            return run
        begin_ms = self._life.wall_ms() - self.age_ms
        took_ms = max(run.end_ms - begin_ms, 0) if run.duration_ms is None else run.duration_ms
        run = replace(run, begin_ms=begin_ms, duration_ms=took_ms)
        reason = None
        if run.result is RunResult.OK:
            run, reason = self._judged(instance, run, "")
        self._runs.note_end(run, ended_ms)
        self._publish(run)
        if reason is not None:
            self.failed_in_all += 1
            self._life.fail(instance, reason, heard=True)
        return run

    def _open(self, instance: Instance, rid: str, begin_ms: int | None, timeout_ms: int | None, text: str) -> OpenRun:
        now_ms, wall_ms = self._life.now_ms(), self._life.wall_ms()
        _, most_ms = self._bounds(instance)
        in_ms = most_ms if timeout_ms is None else timeout_ms
        run = Run(
            number=self._runs.take_number(),
            id=instance.id,
            rid=rid,
            begin_ms=begin_ms,
            end_ms=None,
            result=RunResult.RUNNING,
            text=text[-MOST_TEXT:],
            deadline_ms=None if in_ms is None else wall_ms + in_ms,
        )
        one = OpenRun(
            run=run,
            began_ms=None if begin_ms is None else now_ms - self.age_ms,
            moves_until_ms=None if most_ms is None else now_ms + most_ms,
        )
        for old in (*self._runs.add(one), one):
            self._settle(self._book.by_id[old.run.id])
        if in_ms is not None:
            self._runs.set_due(one, now_ms, in_ms)
        self._publish(run)
        return one

    def _progress(self, instance: Instance, one: OpenRun | None, rid: str, timeout_ms: int | None, text: str) -> Run:
        now_ms, wall_ms = self._life.now_ms(), self._life.wall_ms()
        if one is None:  # its start was not reported, or is forgotten
            one = self._open(instance, rid, None, timeout_ms, "")
        run = one.run
        if timeout_ms is not None:
            until_ms = one.moves_until_ms
            in_ms = timeout_ms if until_ms is None else min(timeout_ms, round(until_ms - now_ms))
            liveness_ms = timeout_ms if in_ms == timeout_ms else None
            if run.result is RunResult.RUNNING or in_ms > 0:
                run = replace(
                    run, result=RunResult.RUNNING, deadline_ms=wall_ms + in_ms, liveness_ms=liveness_ms
                )  # fmt: skip
                one.given_up = False
                self._runs.running(one)
                self._runs.set_due(one, now_ms, in_ms)
        if text:
            run = replace(run, text=text[-MOST_TEXT:])
        if run is not one.run:
            one.run = run
            self._publish(run)
        return run

    def _end(
        self,
        instance: Instance,
        rid: str,
        *,
        failed: bool,
        status: int | None = None,
        duration_ms: int | None = None,
        text: str = "",
    ) -> tuple[Run, Reason | None]:
        """Ends a run. Returns it, and why it has failed; None: it has not."""
        now_ms, wall_ms = self._life.now_ms() - self.age_ms, self._life.wall_ms() - self.age_ms
        one = self._runs.find(instance.id, rid)
        is_earlier = bool(self.age_ms and one and one.began_ms and now_ms < one.began_ms - INEXACT_MS)
        measured_ms = None
        if one is None or is_earlier:  # if the run began after this end was heard, it is that of the run before
            number, begin_ms, deadline_ms, before = self._runs.take_number(), None, None, ""
        else:
            run = one.run
            number, begin_ms, deadline_ms, before = run.number, run.begin_ms, run.deadline_ms, run.text
            if one.began_ms is not None:
                measured_ms = max(round(now_ms - one.began_ms), 0)
                begin_ms = wall_ms - measured_ms
        if not is_earlier:
            self._runs.end(instance.id, rid)
            self._settle(instance)
        run = Run(
            number=number,
            id=instance.id,
            rid=rid,
            begin_ms=begin_ms,
            end_ms=wall_ms,
            result=RunResult.FAILED if failed else RunResult.OK,
            status=status,
            duration_ms=measured_ms if duration_ms is None else duration_ms,
            text=text[-MOST_TEXT:] or before,
            deadline_ms=deadline_ms,
        )
        run, reason = self._judged(instance, run, text)
        if reason is not None:
            self.failed_in_all += 1
        if not is_earlier:
            self._runs.note_end(run, now_ms)
        self._publish(run)
        self._life.leases.ended(instance)
        return run, reason

    def _judged(self, instance: Instance, run: Run, text: str) -> tuple[Run, Reason | None]:
        if run.result is RunResult.FAILED:
            return run, reasons.run_failed(run, text)
        least_ms, most_ms = self._bounds(instance)
        took_ms = run.duration_ms
        if took_ms is not None and most_ms is not None and took_ms > most_ms:
            run = replace(run, result=RunResult.TOO_LONG)
            return run, reasons.run_too_long(run, most_ms)
        if took_ms is not None and least_ms is not None and took_ms < least_ms:
            run = replace(run, result=RunResult.TOO_SHORT)
            return run, reasons.run_too_short(run, least_ms)
        return run, None

    def _settle(self, instance: Instance) -> None:
        """Notes whether a plain ping of the instance ends a run."""
        instance.in_run = self._runs.find(instance.id, "") is not None
        instance.plain = instance.plain and not instance.in_run

    def stats(self) -> dict[str, int]:
        return {
            "runs_open": len(self._runs),
            "runs_failed": self.failed_in_all,
            "runs_overdue": self.overdue_in_all,
            "runs_dropped": self._runs.dropped,
        }

    def _publish(self, run: Run) -> None:
        self._book.publish(self._book.on_run, run)
