# SPDX-License-Identifier: MIT
"""The cost of the worker threads: wake-ups of a hub without keys, and CPU time with a million keys that beat.

python benchmarks/workers.py [--keys N] [--seconds S] [--json FILE]

CPU time is the worker threads' own, as the system counts it. Keys beat in random order, spread evenly over the period,
which is the hardest case: the 64 keys of a block never beat together.
"""

from __future__ import annotations

import platform
import time

import numpy
from _findings import Findings, parser
from _quiet import OthersLoad

from heartfelt import HeartHub

TIMEOUT_S = 1.0
IDLE_S = 2.0
SLICES = 50  # of a period
WARM_UP_S = 2.0


def idle_wakeups(findings: Findings) -> None:
    for name, had_keys in (("a hub without keys", False), ("a hub whose keys were all removed", True)):
        with HeartHub(TIMEOUT_S) as hub:
            if had_keys:
                for key in range(1000):
                    hub.heartbeat(key)
                for key in range(1000):
                    hub.remove(key)
                time.sleep(TIMEOUT_S + 0.5)  # a block that was filed is looked at once more
            else:
                time.sleep(0.2)
            before = hub.stats()
            time.sleep(IDLE_S)
            after = hub.stats()
        findings.add(f"{name}: wake-ups a second", (after.wakeups - before.wakeups) / IDLE_S, "", 0.0)
        findings.add(f"{name}: share of a core", 100 * (after.cpu_time - before.cpu_time) / IDLE_S, "%")


def beating(order: numpy.ndarray, period_s: float, seconds: float) -> tuple[float, float, float]:
    """The shares of a core, in %, of the worker and the beating thread; wake-ups a second."""
    hub = HeartHub(TIMEOUT_S)
    ids = hub.ids(range(len(order)))[order]
    slices = numpy.array_split(ids, SLICES)
    hub.heartbeat_ids(ids)  # those that joined first are overdue
    n, warm, joined, start = 0, False, hub.stats(), time.monotonic()
    while (now := time.monotonic()) < start + WARM_UP_S + seconds:
        if not warm and now >= start + WARM_UP_S:
            before, beater_before, warm, measured_from = hub.stats(), time.thread_time(), True, now
        due = start + n * period_s / SLICES
        if now < due:
            time.sleep(due - now)
            continue
        hub.heartbeat_ids(slices[n % SLICES])
        n += 1
    took, after = time.monotonic() - measured_from, hub.stats()
    beater = time.thread_time() - beater_before
    if n_late := after.timeouts - joined.timeouts:
        raise SystemExit(f"{n_late} keys timed out: this machine cannot beat {len(ids)} keys each {period_s:g} s")
    hub.close()
    worker = after.cpu_time - before.cpu_time
    return 100 * worker / took, 100 * beater / took, (after.wakeups - before.wakeups) / took


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=1_000_000)
    options.add_argument("--seconds", type=float, default=10.0)
    given = options.parse_args()
    print(f"CPython {platform.python_version()}, {platform.machine()}; timeout {TIMEOUT_S:g} s")
    findings, load = Findings(), OthersLoad()
    idle_wakeups(findings)
    order = numpy.random.default_rng(1).permutation(given.keys)
    shares = []
    for period_s in (0.5, 0.25):
        name = f"{given.keys:,} keys, a beat each {period_s:g} s"
        worker, beater, wakeups = beating(order, period_s, given.seconds)
        shares.append(worker)
        findings.add(f"{name}: worker's share of a core", worker, "%", 4.0)
        findings.add(f"{name}: the beating thread's", beater, "%")
        findings.add(f"{name}: wake-ups a second", wakeups, "")
    findings.add("worker, twice the beats / once", shares[1] / shares[0], "", 1.1)
    findings.add("other programs meanwhile, of one core", load.percent(), "%")
    findings.write(given.json)


if __name__ == "__main__":
    main()
