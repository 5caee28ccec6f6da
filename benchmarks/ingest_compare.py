# SPDX-License-Identifier: MIT
"""Compares the cost of the monitor's ingests with another revision: `python benchmarks/ingest_compare.py BASE`.

Builds both, starts a server process of each, and lets the two take turns with the same messages. The figure of a kind
is the median over the rounds of the ratio of their CPU times, each by its own process' clock. So that the layout of a
process' memory does not decide, there are several pairs of processes; the median of the pairs counts. See README.md.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _compare_builds import BuildFailed, build, of_revision, of_working_tree
from ingest import HERE, N_INSTANCES, Http, Side, head, request, whole

ROOM = 1.05
WARM_UP = 8


def messages() -> dict[str, tuple[str, list[list[bytes]]]]:
    """Returns of each kind the server's kind, and rounds of messages."""
    from heartfelt.wire import encode_frame, pack

    heads = [head(n) for n in range(N_INSTANCES)]
    singles = [[request(whole(text, n)) for text in heads[:200]] for n in range(10)]
    lists = [
        [
            request(b"[" + b",".join(whole(text, n) for text in heads[at : at + 100]) + b"]")
            for at in range(0, 1000, 100)
        ]
        for n in range(10)
    ]
    pings = [b"GET /ping/service-%d/job-%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (n % 20, n) for n in range(200)]
    keys = [b"service-%d/instance-%d" % (n % 20, n) for n in range(N_INSTANCES)]
    frames = b"".join(encode_frame([(0, pack(whole(text, n)))]) for n, text in enumerate(heads))
    return {
        "http, a heartbeat": ("http", singles),
        "http, 100 heartbeats": ("http", lists),
        "http, a ping": ("http", [pings]),
        "udp, a plain key": ("udp", [keys]),
        "udp, 50 plain keys": ("udp", [[b"\n".join(keys[n : n + 50]) for n in range(0, len(keys), 50)] * 10]),
        "udp, a heartbeat": ("udp", [[whole(text, n) for n, text in enumerate(heads)]]),
        "tcp, a frame": ("sermant", [[frames]]),
    }


class Stream:
    """A client of a server that does not answer: a round ends when all of its beats were taken."""

    def __init__(self, side: Side, kind: int) -> None:
        self.side = side
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.connect(("127.0.0.1", side.port))

    def round(self, sent: list[bytes]) -> None:
        before, taken = self.side.ask()
        for message in sent:
            self.socket.sendall(message)
        end = time.monotonic() + 10
        after, now = self.side.ask()
        last = -1
        while now != last and time.monotonic() < end:
            last = now
            time.sleep(0.01)
            after, now = self.side.ask()
        self.side.costs.append((after - before) / max(now - taken, 1))


def side_of(installed: Path, kind: str) -> Side:
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    return Side(sys.executable, str(HERE / "_ingest_server.py"), kind, environ=environ)


def client_of(side: Side, kind: str) -> Http | Stream:
    if kind == "http":
        return Http(side)
    return Stream(side, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)


def pair(make: Callable[[int], Side], kind: str, rounds: list[list[bytes]], n_rounds: int) -> tuple[float, float]:
    """Returns the ratio of one pair of processes, and the base's CPU time of a message in ns."""
    sides = [make(0), make(1)]
    clients = [client_of(side, kind) for side in sides]
    try:
        for n in range(n_rounds + WARM_UP):
            for client in clients if n % 2 else reversed(clients):
                client.round(rounds[n % len(rounds)])
    finally:
        for client in clients:
            client.socket.close()
        for side in sides:
            side.close()
    base, ours = (side.costs[WARM_UP:] for side in sides)
    return statistics.median(b / a for a, b in zip(base, ours, strict=True)), statistics.median(base)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("--only", metavar="TEXT", default="", help="only kinds that contain this text")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of processes")
    options = parser.parse_args()
    try:
        installed = [build(of_revision(options.base)), build(of_working_tree())]
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 2
    is_slower = False
    for title, (kind, rounds) in messages().items():
        if options.only not in title:
            continue

        def make(n: int, kind: str = kind) -> Side:
            return side_of(installed[n], kind)

        found = [pair(make, kind, rounds, options.rounds) for _ in range(options.pairs)]
        ratios = sorted(ratio for ratio, _ in found)
        ratio, base_ns = statistics.median(ratios), min(ns for _, ns in found)
        is_slower |= ratio > ROOM
        print(
            f"{title:24} {base_ns / 1e3:8.1f} us  {ratio:5.3f} times  ({ratios[0]:.3f} to {ratios[-1]:.3f})", flush=True
        )
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main())
