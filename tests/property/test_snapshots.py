# SPDX-License-Identifier: MIT
"""Random hubs come back as they were; and no bytes, whatever they are, break a hub."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from heartfelt import HeartHub, SnapshotError
from heartfelt._snapshot import FIELDS, MAGIC
from heartfelt.testing import ManualClock

KEYS = st.one_of(
    st.text(st.characters(exclude_categories=())), st.binary(), st.integers(min_value=-(2**63), max_value=2**63 - 1)
)
BEATS = st.lists(
    st.tuples(
        KEYS,
        st.integers(1, 64).map(lambda n: n / 8),  # timeout
        st.booleans(),  # disposable
        st.integers(0, 64).map(lambda n: n / 16),  # and then so much time passes
    ),
    max_size=40,
)
GRACES = st.one_of(st.none(), st.integers(0, 100).map(lambda n: n / 8))


@given(BEATS, GRACES, st.integers(1, 3), st.integers(1, 3))
def test_a_hub_comes_back_as_it_was(beats, grace, shards, new_shards):
    clock = ManualClock()
    with HeartHub(clock=clock, parallelism=shards) as hub, tempfile.TemporaryDirectory() as folder:
        for key, timeout, disposable, passes in beats:
            hub.heartbeat(key, timeout=timeout, disposable=disposable)
            clock.advance(passes)
        hub.save(Path(folder, "hub"))
        new_clock = ManualClock()
        new_clock.advance(4096)
        with HeartHub.restore(Path(folder, "hub"), grace=grace, clock=new_clock, parallelism=new_shards) as restored:
            assert restored._check() is None
            assert len(restored) == len(hub)
            by = new_clock.time() - clock.time()
            for key, was in hub.items():
                now = restored[key]
                assert (now.state, now.timeout, now.disposable) == (was.state, was.timeout, was.disposable)
                assert (now.missed, now.beat_time, now.join_time) == (
                    was.missed,
                    was.beat_time + by,
                    was.join_time + by,
                )
                waits = max(was.deadline - clock.time(), was.timeout if grace is None else grace)
                assert now.deadline == new_clock.time() + waits
            new_clock.advance(8)
            assert restored._check() is None


ROWS = st.lists(
    st.tuples(
        st.integers(0, 31),
        st.binary(min_size=4, max_size=4),
        *[st.one_of(st.integers(0, 10**10), st.integers(0, 2**64 - 1)) for _ in range(4)],
        st.binary(max_size=9),
    ),
    max_size=4,
)


def packed(flags, missed, timeout, remaining, silent, watched, key):
    times = b"".join(time.to_bytes(8, "little") for time in (timeout, remaining, silent, watched))
    return bytes([flags]) + missed + times + len(key).to_bytes(4, "little") + key


@given(ROWS, st.binary(max_size=2), st.integers(-1, 1), GRACES)
def test_rows_of_any_make_break_nothing(rows, rest, more_keys, grace):
    """With a digest that fits: as who wants to do harm would make it."""
    body = b"".join(packed(*row) for row in rows) + rest
    head = FIELDS.pack(MAGIC, 1, 0, 0, max(0, len(rows) + more_keys), len(body), 0, 0)
    clock = ManualClock()
    clock.advance(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hub")
        path.write_bytes(head + hashlib.blake2b(body + head, digest_size=16).digest() + body)
        try:
            restored = HeartHub.restore(path, grace=grace, clock=clock)
        except SnapshotError:
            return
    with restored:
        assert restored._check() is None
        clock.advance(100)
        restored.heartbeat_many(list(restored))
        clock.advance(100)
        assert restored._check() is None
