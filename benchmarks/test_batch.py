# SPDX-License-Identifier: MIT
"""The savings of a batch: the same beats in calls of 1, 8, 64 and 512 keys, and of all of them."""

import pytest
from _ours import ByIds, ByMany

ALL = None


@pytest.mark.parametrize("size", [1, 8, 64, 512, ALL], ids=lambda size: "all" if size is ALL else str(size))
@pytest.mark.parametrize("kind", [ByMany, ByIds], ids=lambda kind: kind.name)
def test_batch(benchmark, rounds, open_watcher, kind, size, joined, keys):
    """A round is a beat of each key, in random order."""
    watcher = open_watcher(kind)
    watcher.join(joined)
    step = size or len(keys)
    batches = [watcher.ready(keys[start : start + step]) for start in range(0, len(keys), step)]
    benchmark.group = f"a beat of each of {len(keys):,} keys, in batches"

    def beat_all():
        beat_each = watcher.beat_each
        for batch in batches:
            beat_each(batch)

    benchmark.pedantic(beat_all, rounds=rounds, warmup_rounds=1)
