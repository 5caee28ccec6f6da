# SPDX-License-Identifier: MIT
"""The cost of a beat in the monitor's registry: of a known instance, with metadata, and the first one. By CPU time.

python benchmarks/registry.py [--instances N] [--rounds N] [--json FILE]

Rounds of all kinds take turns, and the minimum of each counts, since disturbances only make a round longer. Known
instances are used in random order. The same rounds also measure the lower bounds of a beat: two handles that beat, and
`d[key] = [time]` for a first beat. Listeners: none.
"""

from __future__ import annotations

import gc
import platform
import random
import time
from collections.abc import Callable

from _findings import Findings, parser

from heartfelt import HeartHub
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import Beat, State
from heartfelt.testing import ManualClock

PLAIN, FULL, FIRST, LOSS = "renew", "beat, with metadata", "first beat", "loss"
HANDLES, DICT = "two handles beat", "d[key] = [time]"
INTERVAL_MS = 30_000


def beat_of(n: int, meta: dict[str, object]) -> Beat:
    return Beat(
        service=f"service-{n % 100}",
        instance_id=f"instance-{n}",
        via="http",
        peer=f"10.0.{n % 250}.1",
        meta=meta,
        agent_time_ms=time.time_ns() // 1_000_000,
        interval_ms=INTERVAL_MS,
        lag_ms=3,
    )


def metas(n: int) -> list[dict[str, object]]:
    """Equal values that are other objects, as a decoder makes them."""
    plugins = {f"plugin-{k}": {"name": f"plugin-{k}", "version": "1.0.0"} for k in range(13)}
    return [{"hostName": f"host-{k}", "ip": ["10.0.0.1"], "pluginInfoMap": dict(plugins)} for k in range(n)]


def ns_each(n: int, run: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    start = time.thread_time_ns()
    run()
    took = time.thread_time_ns() - start
    gc.enable()
    return took / n


def beat_all(registry: Registry, beats: list[Beat]) -> None:
    beat = registry.beat
    for one in beats:
        beat(one)


def one_round(n: int) -> dict[str, float]:
    registry, hub = Registry(), HeartHub()
    order = random.Random(1).sample(range(n), n)
    beats = [beat_of(k, meta) for k, meta in enumerate(metas(n))]
    found = {FIRST: ns_each(n, lambda: beat_all(registry, beats))}
    instances = [registry.get(k + 1) for k in order]
    again = [beat_of(k, meta) for k, meta in zip(order, metas(n), strict=True)]
    handles = [(hub.heart(k, timeout=60), hub.heart(-k - 1, timeout=45)) for k in range(n)]
    handles = [handles[k] for k in order]
    keys = [(beat.service, beat.instance_id) for beat in beats]
    known: dict[tuple[str, str], list[float]] = {}

    def renew() -> None:
        one = registry.renew
        for instance in instances:
            one(instance)

    def both_handles() -> None:
        for lease, late in handles:
            lease()
            late()

    def store() -> None:
        for key in keys:
            known[key] = [time.monotonic()]

    renew()  # from now on they are UP
    found[PLAIN] = ns_each(n, renew)
    found[HANDLES] = ns_each(n, both_handles)
    found[FULL] = ns_each(n, lambda: beat_all(registry, again))
    found[DICT] = ns_each(n, store)
    registry.close()
    hub.close()
    return found


def losses(n: int) -> tuple[float, float]:
    """The ns for a loss, and the ms of the longest call to poll."""
    clock = ManualClock()
    registry = Registry(Policy(hold=HoldPolicy(enable=False)), clock=clock)
    for k in range(n):
        registry.beat(beat_of(k, {}))
    clock.advance(60)
    start, longest = time.thread_time_ns(), 0
    before = start
    while registry.poll():
        now = time.thread_time_ns()
        longest, before = max(longest, now - before), now
    took = time.thread_time_ns() - start
    if registry.totals().of(State.LOST) != n:
        raise SystemExit("not all were lost")
    registry.close()
    return took / n, longest / 1e6


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--instances", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    print(f"CPython {platform.python_version()}, {platform.machine()}; {given.instances:,} instances")
    findings = Findings()
    rounds = [one_round(given.instances) for _ in range(given.rounds)]
    least = {name: min(one[name] for one in rounds) for name in rounds[0]}
    findings.add(PLAIN, least[PLAIN], "ns", 1000.0)
    findings.add(f"{PLAIN} / {HANDLES}", least[PLAIN] / least[HANDLES], "")
    findings.add(FULL, least[FULL], "ns")
    findings.add(FIRST, least[FIRST], "ns")
    findings.add(f"{FIRST} / {DICT}", least[FIRST] / least[DICT], "")
    loss_ns, poll_ms = min(losses(given.instances) for _ in range(given.rounds))
    findings.add(f"{LOSS}, with LATE before", loss_ns, "ns")
    findings.add("the longest call to poll meanwhile", poll_ms, "ms")
    findings.write(given.json)


if __name__ == "__main__":
    main()
