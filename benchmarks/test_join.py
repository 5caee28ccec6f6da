# SPDX-License-Identifier: MIT
"""The cost of a key's first beat, by each way to watch."""

import pytest
from _ours import ByKey, ByMany
from _peers import PEERS

KINDS = [kind for kind in [ByKey, ByMany, *PEERS] if not kind.slow_to_join]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_join(benchmark, rounds, open_watcher, kind, keys):
    """A round is the first beats of all keys, in random order, into a new, empty watcher."""
    benchmark.group = f"first beats of {len(keys):,} keys"

    def setup():
        return (open_watcher(kind),), {}

    benchmark.pedantic(lambda watcher: watcher.join(keys), setup=setup, rounds=rounds)
