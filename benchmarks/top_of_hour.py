# SPDX-License-Identifier: MIT
"""The top of the hour: many crontabs ping within one second, each over a connection of its own.

`python benchmarks/top_of_hour.py [--pings 20000]` runs three servers side by side, which take turns: the least that a
server can do (`_http_accept.c`: accept, read, answer), an ASGI application that does nothing on the monitor's own HTTP
server, and `heartfelt serve` with its store. Each gets the pings spread over one second, and then all at once. The
figure is the time to the last response; the ratios are of minima over the rounds. See README.md for the goals.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from _http_load import HttpLoad, Outcome, build
from ingest import HERE, Side

SPREAD_MS = 1000
SOFT_LIMIT = 1024
GOALS = {"no-op": 1.3, "bare C": 4.0}
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def pings(n: int) -> list[bytes]:
    """The requests of n crontabs, as curl sends them."""
    head = "HTTP/1.1\r\nHost: localhost:8900\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
    return [f"GET /ping/jobs-{k % 50}/nightly-{k} {head}".encode() for k in range(n)]


class Monitor:
    """`heartfelt serve` in a folder of its own, with the limit of descriptors that most machines have."""

    def __init__(self, data: Path) -> None:
        command = f"ulimit -S -n {SOFT_LIMIT}; exec {sys.executable} -m heartfelt serve"
        options = f"--data {data} --http-port 0 --tcp-port 0 --udp-port 0 --ready-json"
        self.process = subprocess.Popen(["sh", "-c", f"{command} {options}"], stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready, "the monitor did not start"
        self.port = int(json.loads(ready)["http"][1])

    def cpu_ns(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_NS

    def kill(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(60)
        self.process.stdout.close()


class Server:
    """One of the three, with the outcomes of its rounds by the time over which they are spread."""

    def __init__(self, name: str, port: int, cpu_ns, close) -> None:
        self.name, self.port, self.cpu_ns, self.close = name, port, cpu_ns, close
        self.outcomes: dict[int, list[Outcome]] = {}
        self.cpus: dict[int, list[int]] = {}

    def round(self, load: HttpLoad, spread_ms: int) -> None:
        before = self.cpu_ns()
        self.outcomes.setdefault(spread_ms, []).append(load.round())
        self.cpus.setdefault(spread_ms, []).append(self.cpu_ns() - before)


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    bare = Side(build("_http_accept.c", folder))
    noop = Side(sys.executable, str(HERE / "_ingest_server.py"), "noop")
    monitor = Monitor(folder / "data")
    all_ = [
        Server("bare C", bare.port, lambda: bare.ask()[0], bare.close),
        Server("no-op", noop.port, lambda: noop.ask()[0], noop.close),
        Server("heartfelt serve", monitor.port, monitor.cpu_ns, monitor.kill),
    ]
    try:
        yield all_
    finally:
        for one in all_:
            one.close()


def measure(n: int, rounds: int, folder: Path) -> list[Server]:
    with servers(folder) as found:
        for spread_ms in (SPREAD_MS, 0):
            loads = [HttpLoad(folder, one.port, "fresh", n, spread_ms, pings(n)) for one in found]
            order = list(zip(found, loads, strict=True))
            for k in range(rounds):
                for one, load in order if k % 2 else order[::-1]:
                    one.round(load, spread_ms)
            for load in loads:
                load.close()
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pings", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.pings, options.rounds, Path(folder))
    is_bad = False
    report: dict[str, object] = {}
    for spread_ms, title in ((SPREAD_MS, "within 1 s"), (0, "at once")):
        print(f"{options.pings:,} pings {title:12} {'last response':>14} {'slowest':>10} {'CPU a ping':>11}")
        best = {one.name: min(outcome.ns for outcome in one.outcomes[spread_ms]) for one in found}
        for one in found:
            outcomes = one.outcomes[spread_ms]
            lost = sum(options.pings - outcome.ok for outcome in outcomes)
            is_bad |= lost > 0
            slowest, cpu = min(outcome.slowest_ns for outcome in outcomes), min(one.cpus[spread_ms])
            print(
                f"  {one.name:24} {best[one.name] / 1e6:11.0f} ms {slowest / 1e6:7.0f} ms"
                f" {cpu / options.pings / 1e3:8.1f} us{f'   {lost} NOT ANSWERED' if lost else ''}"
            )
        for name, goal in GOALS.items():
            ratio = best["heartfelt serve"] / best[name]
            print(f"  heartfelt serve: {ratio:5.2f} times {name} (goal {goal:g})")
            report[f"{title}, beside {name}"] = ratio
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
