# SPDX-License-Identifier: MIT
"""Three monitor processes on one Redis, of which each may be killed, stopped, or cut off, and Redis, too: whatever
happens, no loss is told without silence, none twice, and none is missed.

HEARTFELT_MINUTE=1 runs two seeds for half a minute each. HEARTFELT_SEEDS=20 runs the seeds 1 to 20 for long, with many
instances; HEARTFELT_SEEDS="4 5 6" runs these; with HEARTFELT_HOLDS=1 losses may be held.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.chaos.run import run
from tests.monitor.redis.servers import REDIS

SEEDS = [int(seed) for seed in os.environ.get("HEARTFELT_SEEDS", "").split()]
SEEDS = list(range(1, SEEDS[0] + 1)) if len(SEEDS) == 1 else SEEDS
LONG = pytest.mark.time_limit(900, reason="it is only run on demand")
SHORT = pytest.mark.time_limit(300, reason="processes are stopped for longer than their leases, several times")
HOLDS = bool(os.environ.get("HEARTFELT_HOLDS"))
CASES = [pytest.param(seed, {"instances": 5000, "seconds": 120, "holds": HOLDS}, marks=LONG) for seed in SEEDS] or [
    pytest.param(
        seed, {"instances": 150, "seconds": 30, "first_s": 4.0, "gaps_s": (3.0, 5.0), "rest_s": 8.0}, marks=SHORT
    )
    for seed in (1, 4)
]
pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.skipif(
        not SEEDS and "HEARTFELT_MINUTE" not in os.environ, reason="HEARTFELT_MINUTE=1 also runs two tests of a minute"
    ),
]


@pytest.mark.parametrize(("seed", "options"), CASES)
def test_each_loss_is_told_exactly_once(tmp_path, seed, options):
    wrong, facts = run(tmp_path, seed, **options)
    assert facts["losses"] or options.get("holds"), facts
    assert not any(wrong.values()), ({name: (len(what), what[:5]) for name, what in wrong.items() if what}, facts)
