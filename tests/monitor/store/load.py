# SPDX-License-Identifier: MIT
"""python -m tests.monitor.store.load FILE: puts into a store until it is killed.

Prints a line a round: number of the last round put completely, the monotonic time, the highest id and seq.
"""

from __future__ import annotations

import itertools
import sys
import time

from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store.values import MINUTE_MS, NOON_MS, Clock, change, event, instance

ROUND = 20
PAUSE_S = 0.004

store = SqliteStore(sys.argv[1], wall_ms=Clock())
saved = store.open()
id, seq = saved.next_id, saved.next_seq
for n in itertools.count():
    for _ in range(ROUND):
        store.put_instance(instance(id))
        store.put_beats({id: NOON_MS + id})
        store.put_change(change(seq, id=id))
        store.put_event(event(seq))
        store.put_delivery("target", f"key {seq}", seq)
        id, seq = id + 1, seq + 1
    store.put_counts(NOON_MS + n * MINUTE_MS, {"shop": (1, 1)})
    print(n, time.monotonic(), id - 1, seq - 1, flush=True)
    time.sleep(PAUSE_S)
