# SPDX-License-Identifier: MIT
"""The lateness of verdicts: idle, beside a thread that only sleeps, and with four threads that hog the GIL. Linux.

python benchmarks/lateness.py [--keys N] [--rounds N] [--json FILE]

Every key stops once at a random time, a part of them in each round, while the others go on. Rounds of three kinds take
turns, so that a slow machine slows all of them: the hub alone; a C thread that sleeps until as many instants of the
same kind; the hub while four Python threads run hot. Lateness is counted to the time at which the worker took the
verdict, from the instant just before the call of the key's last beat, so the method never makes a verdict look early.
"""

from __future__ import annotations

import ctypes
import platform
import random
import statistics
import subprocess
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _findings import Findings, parser
from _quiet import Quiet

from heartfelt import HeartHub

TIMEOUT_S = 1.0
STOPPING_S = 0.8  # keys stop within this; it is less than the timeout, so the last beat is before the first verdict
BEAT_EVERY_S = 0.25
MARGIN_S = 0.1  # after the last deadline
HOGS = 4
PROMISE_NS = 5_000_000  # 1 ms or 0.5 % of the timeout, whichever is larger
ENOUGH_TRIES = 1000
HUB_IDLE, HUB_HOGS = "the hub, idle", "the hub, four hogs"
BARE_IDLE, BARE_HOGS = "a bare sleeper, idle", "a bare sleeper, four hogs"
BARE = {HUB_IDLE: BARE_IDLE, HUB_HOGS: BARE_HOGS}


class Watched:
    """A hub, and its keys that still beat."""

    def __init__(self, keys: list[str]) -> None:
        self.hub = HeartHub(TIMEOUT_S)
        self.alive = dict.fromkeys(keys)
        self.next_beat_s = 0.0

    def sleep_until(self, instant_s: float) -> None:
        """Beats the keys that are alive, on time, until the instant."""
        while (now_s := time.monotonic()) < instant_s:
            if now_s >= self.next_beat_s:
                self.hub.heartbeat_many(list(self.alive))
                self.next_beat_s = now_s + BEAT_EVERY_S
                continue
            time.sleep(min(instant_s, self.next_beat_s) - now_s)

    def stop(self, key: str) -> int:
        """Beats a key for the last time; returns an instant before that, as close to it as possible."""
        del self.alive[key]
        for _ in range(ENOUGH_TRIES):  # until no other thread ran between
            before_ns = time.monotonic_ns()
            self.hub.heartbeat(key)
            if time.monotonic_ns() - before_ns < 20_000:
                return before_ns
        raise SystemExit("no beat took less than 20 us: this machine is too busy to measure on")


def wall_minus_monotonic_ns() -> int:
    """The difference of two clocks, as exact as they can be compared."""
    best_ns, offset_ns = 1 << 62, 0
    for _ in range(20):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after_ns - before_ns < best_ns:
            best_ns, offset_ns = after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2
    return offset_ns


@contextmanager
def hogs(n: int) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            for _ in range(10_000):
                pass

    threads = [threading.Thread(target=run, daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


def hub_round(keys: list[str], stopping: list[str], n_hogs: int, rng: random.Random) -> list[int]:
    """The lateness of each verdict, ns, on the keys that stop."""
    watched = Watched(keys)
    start_s = time.monotonic()
    last_ns = {}
    for key, offset_s in zip(stopping, sorted(rng.uniform(0, STOPPING_S) for _ in stopping), strict=True):
        watched.sleep_until(start_s + offset_s)
        last_ns[key] = watched.stop(key)
    with hogs(n_hogs):
        watched.sleep_until(max(last_ns.values()) / 1e9 + TIMEOUT_S + MARGIN_S)
    offset_ns = wall_minus_monotonic_ns()
    events = watched.hub.events.get_many(2 * len(keys), timeout=0)
    watched.hub.close()
    if sorted(event.key for event in events) != sorted(stopping):
        raise SystemExit(f"{len(events)} verdicts on {len(stopping)} keys that stopped: of others, or not of each")
    due_ns = {key: at_ns + int(TIMEOUT_S * 1e9) for key, at_ns in last_ns.items()}
    return [round(event.event_time * 1e9) - offset_ns - due_ns[event.key] for event in events]


def bare_round(sleeps: ctypes.CDLL, n: int, n_hogs: int, rng: random.Random) -> list[int]:
    """The lateness of each wake-up of a thread that only sleeps, ns."""
    start_ns = time.monotonic_ns() + 200_000_000  # with hogs a thread takes long to start
    instants = array("q", sorted(start_ns + round(rng.uniform(0, STOPPING_S) * 1e9) for _ in range(n)))
    late = array("q", bytes(8 * n))
    thread = threading.Thread(
        target=sleeps.bare_sleeps,
        args=(*((ctypes.c_int64 * n).from_buffer(part) for part in (instants, late)), ctypes.c_size_t(n)),
    )
    with hogs(n_hogs):
        thread.start()
        thread.join()
    return late.tolist()


def compiled() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "bare_sleeps.so"
        source = Path(__file__).with_name("_bare_sleeps.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        return ctypes.CDLL(str(library))


def percentile_us(late_ns: list[int], share: float) -> float:
    return sorted(late_ns)[int(share * (len(late_ns) - 1))] / 1e3


def round_by_round(ours: list[list[int]], against: list[list[int]], share: float) -> float:
    """The median of the ratios of two kinds' percentiles."""
    pairs = zip(ours, against, strict=True)
    return statistics.median(percentile_us(a, share) / percentile_us(b, share) for a, b in pairs)


def within_promise(late: list[list[int]]) -> float:
    """The ratio in %."""
    all_ns = [one for part in late for one in part]
    return 100 * sum(one <= PROMISE_NS for one in all_ns) / len(all_ns)


def tell(findings: Findings, rounds: dict[str, list[list[int]]]) -> None:
    for name, late in rounds.items():
        all_ns = [one for part in late for one in part]
        for share in (0.5, 0.99):
            findings.add(f"{name}: p{100 * share:g} of {len(all_ns)}", percentile_us(all_ns, share), "us")
        findings.add(f"{name}: most", max(all_ns) / 1e3, "us")
        if name not in BARE:
            findings.add(f"{name}: within the promised 5 ms", within_promise(late), "%")
            continue
        findings.add(f"{name}: least (below 0 would be early)", min(all_ns) / 1e3, "us", 0.0, at_least=True)
        as_good = within_promise(rounds[BARE[name]])
        findings.add(f"{name}: within the promised 5 ms", within_promise(late), "%", as_good, at_least=True)
    for name, ours, against, goal in (
        ("the hub / a bare sleeper, both idle", HUB_IDLE, BARE_IDLE, 3.0),
        ("the hub, four hogs / idle", HUB_HOGS, HUB_IDLE, 2.0),
        ("a bare sleeper, four hogs / idle", BARE_HOGS, BARE_IDLE, None),
    ):
        for share in (0.5, 0.99):
            findings.add(f"{name}: p{100 * share:g}", round_by_round(rounds[ours], rounds[against], share), "", goal)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=10, help="over which the keys are spread (%(default)s)")
    options.add_argument("--patience", type=float, default=60, help="seconds to wait for other programs (%(default)s)")
    given = options.parse_args()
    rng, sleeps, quiet = random.Random(1), compiled(), Quiet(given.patience)
    print(f"CPython {platform.python_version()}, {platform.machine()}; {given.keys} keys, timeout {TIMEOUT_S:g} s")
    order = rng.sample([f"service/{n}" for n in range(given.keys)], given.keys)
    rounds: dict[str, list[list[int]]] = {name: [] for name in (HUB_IDLE, BARE_IDLE, HUB_HOGS, BARE_HOGS)}
    for n in range(given.rounds):
        part = order[n :: given.rounds]
        rounds[HUB_IDLE].append(quiet(hub_round, order, part, 0, rng))
        rounds[BARE_IDLE].append(quiet(bare_round, sleeps, len(part), 0, rng))
        rounds[HUB_HOGS].append(quiet(hub_round, order, part, HOGS, rng))
        rounds[BARE_HOGS].append(quiet(bare_round, sleeps, len(part), HOGS, rng))
    findings = Findings()
    tell(findings, rounds)
    findings.add(f"rounds of {4 * given.rounds} in which other programs took part of the machine", quiet.disturbed, "")
    findings.write(given.json)


if __name__ == "__main__":
    main()
