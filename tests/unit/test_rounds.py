# SPDX-License-Identifier: MIT
"""Memory that is used again: rounds of keys that join and expire leave the process no larger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS, KEYS = (20, 1_000_000) if os.environ.get("HEARTFELT_FULL") else (8, 50_000)

PROGRAM = """
import gc
from heartfelt import HeartHub
from heartfelt.testing import ManualClock

def rss_kb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

clock = ManualClock()
hub = HeartHub(10, clock=clock)
sizes = []
for n in range({rounds}):
    hub.heartbeat_many(f"{{n}}/{{k}}" for k in range({keys}))
    clock.advance(11)
    n_read = 0
    while hub.events.qsize():
        n_read += len(hub.events.get_many(1000))
    assert (n_read, len(hub)) == ({keys}, 0), (n_read, len(hub))
    gc.collect()
    sizes.append(rss_kb())
print(*sizes)
"""


def test_rounds_of_keys_that_expire_leave_no_more_memory():
    if not Path("/proc/self/status").exists():
        pytest.skip("the size of a process cannot be read here")
    program = PROGRAM.format(rounds=ROUNDS, keys=KEYS)
    told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=1800, check=True)
    sizes = list(map(int, told.stdout.split()))
    if ROUNDS == 20:
        print(*sizes)
    assert len(sizes) == ROUNDS
    assert max(sizes[2:]) <= sizes[1] * 1.03, sizes
