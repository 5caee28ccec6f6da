# SPDX-License-Identifier: MIT
"""The cost of a beat of a watched key, by each way to watch."""

import itertools

import pytest
from _ours import OURS
from _peers import PEERS


@pytest.mark.parametrize("kind", OURS + PEERS, ids=lambda kind: kind.name)
def test_beat(benchmark, rounds, open_watcher, kind, joined, keys):
    """A round is a beat of each key, or of kind.sample keys, in random order; the key count is in extra_info."""
    watcher = open_watcher(kind)
    try:
        watcher.join(joined)
    except RuntimeError as error:  # not every system has so many threads
        pytest.skip(str(error))
    parts = [keys[start : start + kind.sample] for start in range(0, len(keys), kind.sample)]
    ready = itertools.cycle([watcher.ready(part) for part in parts])
    benchmark.group = f"a beat of each of {len(parts[0]):,} of {len(keys):,} keys"
    benchmark.extra_info["beats"] = len(parts[0])

    def setup():
        watcher.settle()
        return (next(ready),), {}

    benchmark.pedantic(watcher.beat_each, setup=setup, rounds=rounds, warmup_rounds=1)
