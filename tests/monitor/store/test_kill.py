# SPDX-License-Identifier: MIT
"""kill -9 while it writes: what was put a second before is there, and no id or seq is given twice. And a torn WAL."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.store.sqlite import SqliteStore
from tests import ROOT
from tests.monitor.store.values import LONG_S, NOON_MS, Clock

run = asyncio.run
LOAD = [sys.executable, "-m", "tests.monitor.store.load"]
ACKNOWLEDGED_S = 1.0
KILLS = 3


def loaded_and_killed(path, for_s):
    """Returns what the process printed, (time, highest id, highest seq) for each round, and when it was killed."""
    with subprocess.Popen([*LOAD, path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        told = []
        end = time.monotonic() + LONG_S
        for line in process.stdout:
            _, at, id, seq = line.split()
            told.append((float(at), int(id), int(seq)))
            if told[-1][0] - told[0][0] >= for_s:
                break
            assert time.monotonic() < end
        killed_at = time.monotonic()
        process.kill()
        for line in process.stdout:  # what was in the pipe
            if line.endswith("\n"):
                _, at, id, seq = line.split()
                told.append((float(at), int(id), int(seq)))
    return told, killed_at


def test_nothing_that_was_put_a_second_before_is_forgotten(tmp_path):
    path = tmp_path / "heartfelt.db"
    draw = random.Random(5)
    first_id = first_seq = 1
    ids, seqs = set(), set()  # of all rounds that have to be there
    for _ in range(KILLS):
        told, killed_at = loaded_and_killed(path, draw.uniform(1.2, 2.5))
        sure = [one for one in told if one[0] < killed_at - ACKNOWLEDGED_S]
        assert sure, "the load was too short to show anything"
        ids.update(range(first_id, sure[-1][1] + 1))
        seqs.update(range(first_seq, sure[-1][2] + 1))

        store = SqliteStore(path, wall_ms=Clock())
        saved = store.open()
        assert not saved.closed_cleanly
        assert saved.next_id > told[-1][1]
        assert saved.next_seq > told[-1][2]
        assert ids <= {row.id for row in saved.instances}
        assert all(row.last_beat_ms == NOON_MS + row.id for row in saved.instances)

        async def read(store=store):
            limit = 1 << 20
            return (
                await store.changes(id=None, service=None, before=None, limit=limit),
                await store.events(EventFilter(), before=None, limit=limit),
                await store.deliveries(None, None, limit),
            )

        changes, events, deliveries = run(read())
        for found in (
            [c.seq for c in changes],
            [e.event.time_ms - NOON_MS for e in events],
            [d.payload for d in deliveries],
        ):
            assert len(found) == len(set(found))
            assert found == sorted(found, reverse=True)
            assert seqs <= set(found)
        store.close()
        store = SqliteStore(path, wall_ms=Clock())  # once more, to see where the next one begins
        saved = store.open()
        store.close()
        first_id, first_seq = saved.next_id, saved.next_seq


def test_a_torn_wal(tmp_path):
    path = tmp_path / "heartfelt.db"
    loaded_and_killed(path, 1.0)
    wal = path.with_name("heartfelt.db-wal")
    whole = wal.read_bytes()
    assert len(whole) > 100_000
    draw = random.Random(6)
    found = []
    for n in range(12):
        copy = tmp_path / f"copy{n}" / "heartfelt.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        cut = draw.randrange(len(whole))
        torn = whole[:cut]
        if n % 3 == 1:
            torn += draw.randbytes(len(whole) - cut)  # sectors that were allocated and not written
        elif n % 3 == 2:
            torn += bytes(len(whole) - cut)
        copy.with_name(wal.name).write_bytes(torn)
        store = SqliteStore(copy, wall_ms=Clock())
        saved = store.open()
        try:
            ids = [row.id for row in saved.instances]
            changes = run(store.changes(id=None, service=None, before=None, limit=1 << 20))
        finally:
            store.close()
        # Whole transactions up to some point: of each kind the same, without a gap.
        assert ids == list(range(1, len(ids) + 1))
        assert [c.seq for c in reversed(changes)] == ids
        assert saved.next_id > len(ids)
        found.append((cut, len(ids)))
    found.sort()
    assert [n for _, n in found] == sorted(n for _, n in found)
    assert found[-1][1] > 0
