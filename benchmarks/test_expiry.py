# SPDX-License-Identifier: MIT
"""The time from the instant at which all keys are due until the user has every one of them."""

import pytest
from _ours import ByKey
from _peers import PEERS
from _watcher import wait_until

KINDS = [kind for kind in [ByKey, *PEERS] if not kind.slow_to_join]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_expiry(benchmark, rounds, open_watcher, kind, keys):
    """A round begins at the instant (a wake-up after it) and ends when every watched key was reported."""
    watcher = open_watcher(kind)
    benchmark.group = f"{len(keys):,} keys expire"
    told = []

    def setup():
        told.clear()
        wait_until(watcher.arm(keys))

    def drain():
        told.extend(watcher.drain())

    benchmark.pedantic(drain, setup=setup, rounds=rounds)
    assert len(told) == len(keys)
