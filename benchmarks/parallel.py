# SPDX-License-Identifier: MIT
"""The throughput of two threads over that of one, without a GIL: disjoint keys, in every way. Needs two cores.

python3.13t benchmarks/parallel.py [--json FILE]

One thread and two take turns, in short rounds; the figure is the median of the ratios of their throughputs in each
round. A round counts only if the machine had two free cores: no thread's CPU time is less than the time that
passed, and two threads that share nothing did twice the work of one, just before.
"""

from __future__ import annotations

import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

from _findings import Findings, parser

from heartfelt import HeartHub

BEATS = 100_000  # of a thread in a round
ROUNDS = 15
GOAL = 1.8
Work = Callable[[], None]
Maker = Callable[[], Work]  # called in the thread that will do the work


def undisturbed(makers: list[Maker]) -> float | None:
    """The seconds of the slowest of the threads, all started at once; None if one of them did not run all the time."""
    ready, took = threading.Barrier(len(makers)), []
    start_s = [0.0]

    def run(maker: Maker) -> None:
        work = maker()
        work()  # warms up
        if ready.wait() == 0:
            start_s[0] = time.perf_counter() + 0.0005
        ready.wait()
        while time.perf_counter() < start_s[0]:
            pass
        cpu, wall = time.thread_time(), time.perf_counter()
        work()
        took.append((time.perf_counter() - wall, time.thread_time() - cpu))

    threads = [threading.Thread(target=run, args=(maker,)) for maker in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(wall for wall, _ in took) if all(cpu > 0.97 * wall for wall, cpu in took) else None


def two_cores() -> bool:
    """Whether two threads that share nothing do twice the work of one now, or nearly."""

    def nothing_shared() -> Work:
        return repeated(len, [[] for _ in range(100)])

    one, two = undisturbed([nothing_shared]), undisturbed([nothing_shared, nothing_shared])
    return one is not None and two is not None and 1.9 < 2 * one / two < 2.1


def ratio(makers: list[Maker], keep_alive: Work, patience_s: float) -> tuple[float, float]:
    """The throughput of two threads over that of one, and the time of one for a beat, ns."""
    ratios, alone_ns, give_up = [], [], time.monotonic() + patience_s
    while len(ratios) < ROUNDS and time.monotonic() < give_up:
        if not two_cores():
            continue
        keep_alive()
        one = undisturbed(makers[:1])
        keep_alive()
        two = undisturbed(makers)
        if one and two:
            ratios.append(2 * one / two)
            alone_ns.append(1e9 * one / BEATS)
    if len(ratios) < ROUNDS // 3:
        raise SystemExit("hardly a round in which the machine had two cores to give: it is too busy")
    return statistics.median(ratios), min(alone_ns)


def repeated(call: Callable[[object], object], arguments: list, n_beats: int = 1) -> Work:
    """Calls with each of the arguments, again and again; each call is n_beats beats."""
    passes = max(1, BEATS // (n_beats * len(arguments)))

    def work() -> None:
        for _ in range(passes):
            for argument in arguments:
                call(argument)

    return work


def by_handles(hub: HeartHub, keys: list[str]) -> Maker:
    hearts = [hub.heart(key) for key in keys]
    passes = max(1, BEATS // len(keys))

    def work() -> None:
        for _ in range(passes):
            for heart in hearts:
                heart.beat()

    return lambda: work


def by_attribute(hub: HeartHub, keys: list[str]) -> Maker:
    passes = max(1, BEATS // len(keys))

    def work() -> None:
        for _ in range(passes):
            for key in keys:
                hub.heartbeat(key)

    return lambda: work


def questions(n_keys: int, timeout_s: float) -> Iterator[tuple[str, float | None, list[Maker], Work]]:
    """The name, the goal, the work of the two threads, and an object that keeps all keys alive."""
    mine, yours = [[f"{who}/{n}" for n in range(n_keys)] for who in ("mine", "yours")]
    hubs = [HeartHub(timeout_s) for _ in range(3)]
    for hub in hubs[:2]:
        hub.heartbeat_many(mine + yours)
    hubs[2].heartbeat_many([key for pair in zip(mine, yours, strict=True) for key in pair])

    def keep_alive() -> None:
        for hub in hubs:
            hub.heartbeat_many(mine + yours)

    def ask(name: str, makers: list[Maker], goal: float | None = None) -> tuple[str, float | None, list[Maker], Work]:
        return name, goal, makers, keep_alive

    one = hubs[0]
    yield ask("handles of two hubs", [by_handles(hubs[0], mine), by_handles(hubs[1], yours)], GOAL)
    yield ask("handles of one hub", [by_handles(one, mine), by_handles(one, yours)], GOAL)
    yield ask("handles of one hub, joined in turn", [by_handles(hubs[2], mine), by_handles(hubs[2], yours)], GOAL)
    yield ask("beat = hub.heartbeat, in each thread", [lambda k=k: repeated(one.heartbeat, k) for k in (mine, yours)])
    shared = one.heartbeat
    yield ask("beat = hub.heartbeat, one for both", [lambda k=k: repeated(shared, k) for k in (mine, yours)])
    yield ask("hub.heartbeat(key)", [by_attribute(one, mine), by_attribute(one, yours)])
    yield ask(
        "hub.heartbeat_many(list)", [lambda k=k: repeated(one.heartbeat_many, [k], n_keys) for k in (mine, yours)]
    )
    for hub in hubs:
        hub.close()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--keys", type=int, nargs="+", default=[16, 1000, 50_000], help="of each thread")
    options.add_argument("--patience", type=float, default=30, help="seconds for one line of the table (%(default)s)")
    given = options.parse_args()
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        raise SystemExit("this interpreter has a GIL: run it with a free-threaded one, such as python3.13t")
    print(f"CPython {platform.python_version()}, free-threaded, {platform.machine()}; two threads over one")
    findings = Findings()
    for n_keys in given.keys:
        for timeout_s, clock in ((60.0, "coarse clock"), (2.0, "exact clock")):
            for name, goal, makers, keep_alive in questions(n_keys, timeout_s):
                times, alone_ns = ratio(makers, keep_alive, given.patience)
                findings.add(f"{name}; 2 x {n_keys} keys, {clock} ({alone_ns:.0f} ns)", times, "", goal, at_least=True)
    findings.write(given.json)


if __name__ == "__main__":
    main()
