# SPDX-License-Identifier: MIT
"""Runs of jobs: a part of the contract of every store."""

from __future__ import annotations

import asyncio

import pytest

from heartfelt.monitor.model import RunResult
from heartfelt.monitor.store import RUNS_KEPT
from tests.monitor.store.values import NOON_MS, a_run, instance

run = asyncio.run


class RunContract:
    def test_every_field_of_a_run_comes_back_and_the_newest_is_first(self, again):
        store, saved = again()
        store.put_instance(instance(1))
        full = a_run(
            saved.next_run, rid="r \u00fc", status=-9, duration_ms=7, text="a\nb", deadline_ms=NOON_MS + 9,
            liveness_ms=4, result=RunResult.TOO_LONG,
        )  # fmt: skip
        bare = a_run(saved.next_run + 1, begin_ms=None, end_ms=None, result=RunResult.RUNNING)
        for one in (bare, full, a_run(saved.next_run + 2, id=2)):
            store.put_run(one)
        run(store.flush())
        assert run(store.runs(1, before=None, limit=9)) == [bare, full]
        assert run(store.runs(1, before=bare.number, limit=9)) == [full]
        assert run(store.runs(1, before=None, limit=1)) == [bare]
        assert run(store.runs(3, before=None, limit=9)) == []

    @pytest.mark.parametrize("flushed", [True, False])
    def test_runs_that_have_not_ended_are_known_after_a_start_and_numbers_go_on(self, again, flushed):
        store, saved = again()
        store.put_instance(instance(1))
        open_runs = [
            a_run(n, rid=str(n), end_ms=None, result=result)
            for n, result in ((5, RunResult.RUNNING), (7, RunResult.OVERDUE))
        ]
        for one in (*open_runs, a_run(6)):
            store.put_run(one)
            if flushed:
                run(store.flush())
        store.put_run(a_run(8, end_ms=None, result=RunResult.RUNNING))
        store.put_run(a_run(8))
        store, saved = again()
        assert saved.runs == open_runs
        assert saved.next_run > 8
        store.remove_instance(1)
        _, saved = again()
        assert saved.runs == []
        assert saved.next_run > 8

    @pytest.mark.parametrize("flushed", [True, False])
    def test_only_the_newest_runs_of_an_instance_are_kept(self, again, flushed):
        store, _ = again()
        for id in (1, 2):
            store.put_instance(instance(id))
        store.put_run(a_run(1, id=2))
        for n in range(2, 2 * RUNS_KEPT):
            store.put_run(a_run(n))
            if flushed and n % 70 == 0:
                run(store.flush())
        run(store.flush())
        kept = [one.number for one in run(store.runs(1, before=None, limit=1000))]
        assert kept == [*range(2 * RUNS_KEPT - 1, RUNS_KEPT - 1, -1)]
        assert len(run(store.runs(2, before=None, limit=9))) == 1
        assert store.health().dropped_runs == 0

    @pytest.mark.parametrize("flushed", [True, False])
    def test_runs_are_removed_with_their_instance(self, again, flushed):
        store, _ = again()
        for id in (1, 2):
            store.put_instance(instance(id))
            store.put_run(a_run(id, id=id, end_ms=None, result=RunResult.RUNNING))
        if flushed:
            run(store.flush())
        store.remove_instance(1)
        run(store.flush())
        assert run(store.runs(1, before=None, limit=9)) == []
        assert [one.id for one in again()[1].runs] == [2]
