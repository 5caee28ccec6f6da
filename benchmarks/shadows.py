# SPDX-License-Identifier: MIT
"""The cost of a plain beat of another monitor's instance, beside one of our own: `python benchmarks/shadows.py`.

In CPU time of one process, without sockets: the best of many rounds of each, in turns. `--calls WHICH N` makes N rounds
of one kind only, to be counted by callgrind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import HttpIngest, Intake
from heartfelt.monitor.model import Limits

N = 1000
PEER = "10.0.0.7"
KEYS = [b"service-%d/instance-%d" % (n % 20, n) for n in range(N)]


class NoOwners:
    """A fleet in which nobody answers."""

    settle_ms, comeback_ms = 200.0, 5000.0

    def unknown(self, name, *, joins):
        pass

    def lose(self, loss):
        pass

    def next_run(self):
        return 1


def head(n: int) -> bytes:
    plugins = {name: {"name": name, "version": "1.2.0"} for name in ("router", "template")}
    beat = {
        "hostName": f"host-{n % 50}", "ip": [f"10.0.{n // 250}.{n % 250}"], "service": f"service-{n % 20}",
        "version": "1.0.0", "instanceId": f"7814bc2a-2e88-4d94-8096-{n:012d}", "appName": "shop", "processId": str(n),
        "pluginInfoMap": plugins, "intervalMs": 10000,
    }  # fmt: skip
    return json.dumps(beat, separators=(",", ":")).encode()[:-1]


HEADS = [head(n) for n in range(N)]
_number = itertools.count(1)


def texts() -> list[bytes]:
    number, now = next(_number), time.time_ns() // 1_000_000
    tail = b',"heartbeatTime":%d,"lastHeartbeatTime":%d,"lagMs":3,"beat":%d}' % (now, now - 10000, number)
    return [head + tail for head in HEADS]


class Side:
    """A monitor that owns all instances (kind "alone" or "owned"), or none ("shadow")."""

    def __init__(self, kind: str, *, by_key: bool) -> None:
        more = {} if kind == "alone" else {"owners": NoOwners()}
        self.registry = Registry(limits=(limits := Limits(beats_of_client_per_s=1 << 40)), **more)
        self.intake = Intake(self.registry, limits)
        self.http = HttpIngest(self.intake)
        via = "ping" if by_key else "http"
        for _ in range(10):
            for n, text in enumerate(texts()):
                self.one(KEYS[n] if by_key else text, via)
                foreign = getattr(self.intake, "foreign", None)
                for name, _ in foreign.pending.names() if foreign is not None else ():
                    if kind == "owned":
                        foreign.mine(name, 1 + n)
                    else:
                        foreign.theirs(name, 1 + n, "b")
            if kind == "shadow":
                self.intake.foreign.take_forwards()

    def one(self, data: bytes, via: str) -> None:
        if via == "ping":
            self.intake.take_name(data, via, PEER)
        else:
            self.intake.take(data, via, PEER)


def ways(kind: str) -> dict[str, tuple[Callable[[object], None], Callable[[], object]]]:
    """How beats come: what is measured, and what makes its input."""
    keys, beats, lines = Side(kind, by_key=True), Side(kind, by_key=False), Side(kind, by_key=True)
    for key in KEYS:  # as they come by UDP
        for _ in range(2):
            lines.intake.take_name(key, "udp", PEER)
    joined = b"\n".join(KEYS)

    def ping(_: object) -> None:
        for key in KEYS:
            keys.http.known_ping(key, PEER)

    def beat(found: object) -> None:
        for text in found:
            beats.http.known_beat(text, PEER)

    def udp(_: object) -> None:
        lines.intake.take_names(joined, "udp", PEER)

    return {
        "a ping in the lane": (ping, lambda: None),
        "a heartbeat in the lane": (beat, texts),
        "a key in a datagram": (udp, lambda: None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=160)
    parser.add_argument("--calls", nargs=3, metavar=("KIND", "WAY", "N"))
    args = parser.parse_args()
    if args.calls:
        kind, way, n = args.calls
        call, make = ways(kind)[way]
        for _ in range(int(n)):
            call(make())
        return
    sides = {kind: ways(kind) for kind in ("alone", "owned", "shadow")}
    for way in sides["alone"]:
        best = dict.fromkeys(sides, float("inf"))
        for _ in range(args.rounds):
            for kind, found in sides.items():
                call, make = found[way]
                made = make()
                begin = time.process_time_ns()
                call(made)
                best[kind] = min(best[kind], (time.process_time_ns() - begin) / N)
        shown = ", ".join(f"{kind} {ns:.0f} ns" for kind, ns in best.items())
        print(f"{way:26} {shown}; a shadow's is {best['shadow'] / best['owned']:.2f} of an owned one's")


if __name__ == "__main__":
    main()
