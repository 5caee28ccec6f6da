# SPDX-License-Identifier: MIT
"""The monitor's memory and start: `python benchmarks/memory_and_start.py [--instances N] [--objects]`.

A real monitor process. N instances with five plugins each join through POSTs of 200 over one connection that is kept;
then they beat some times. After that it ends by SIGTERM and starts again with its data, in turn with a bare process
that only reads and decodes the same rows. See README.md for the goals.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
IN_A_POST = 200
PLUGINS = ("router", "template", "flow-control", "database-write-prohibition", "service-registry")


def head(n: int) -> bytes:
    """A heartbeat as heartfelt's agent writes it, but for its tail: five plugins, about 600 bytes."""
    beat = {
        "hostName": f"host-{n % 5000}",
        "ip": [f"10.{n % 5000 // 250}.{n % 250}.7"],
        "service": f"service-{n % 100}",
        "appType": "0",
        "version": "1.0.0",
        "instanceId": f"7814bc2a-2e88-4d94-8096-{n:012d}",
        "pluginInfoMap": {name: {"name": name, "version": f"1.2.{n % 3}"} for name in PLUGINS},
        "appName": f"shop-{n % 100}",
        "processId": str(1000 + n % 30000),
        "dynamicInstall": False,
        "intervalMs": 300000,
    }
    return json.dumps(beat, separators=(",", ":")).encode()[:-1]


def whole(n: int, number: int) -> bytes:
    now = time.time_ns() // 1_000_000
    return b'%b,"heartbeatTime":%d,"lastHeartbeatTime":%d,"lagMs":3,"beat":%d}' % (head(n), now, now - 10000, number)


class Monitor:
    def __init__(self, folder: str) -> None:
        began = time.perf_counter()
        command = (sys.executable, str(HERE / "_memory_server.py"), folder)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.start_s = time.perf_counter() - began
        self.address = tuple(ready["http"])

    def ask(self, what: str = "") -> dict[str, float]:
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def settle(self) -> None:
        """Waits until the store has written everything."""
        while self.ask()["waiting"]:
            time.sleep(0.2)
        time.sleep(1.5)

    def rss(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process.stdin.close()
        self.process.stdout.close()


class Client:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def post(self, beats: list[bytes]) -> float:
        body = b"[" + b",".join(beats) + b"]"
        top = b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        began = time.perf_counter()
        self.socket.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (top, len(body), body))
        status, size = self.reader.readline(), 0
        while (line := self.reader.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        answer = self.reader.read(size)
        assert b" 200 " in status, (status, answer)
        return time.perf_counter() - began

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


def send(client: Client, n_instances: int, number: int) -> list[float]:
    numbers = range(n_instances)
    took = []
    for at in range(0, n_instances, IN_A_POST):
        texts = [whole(n, number) for n in numbers[at : at + IN_A_POST]]
        took.append(client.post(texts))
    return took


def joining(folder: str, options: argparse.Namespace) -> dict[str, float]:
    monitor = Monitor(folder)
    client = Client(monitor.address)
    n = options.instances
    try:
        monitor.ask()
        before = monitor.rss()
        began = time.perf_counter()
        took = send(client, n, 1)
        found = {"joins_per_s": n / (time.perf_counter() - began), "longest_post_ms": 1000 * max(took)}
        found |= {f"join_{name}": value for name, value in monitor.ask().items()}
        print(
            f"{found['joins_per_s']:10,.0f} joins/s; longest POST {found['longest_post_ms']:.0f} ms, stall of the loop "
            f"{found['join_stall_wall_ms']:.0f} ms ({found['join_stall_cpu_ms']:.0f} ms of CPU, goal 50), collection "
            f"{found['join_gc_ms']:.0f} ms, all {found['join_collections']:.0f} collections "
            f"{found['join_gc_all_ms']:.0f} ms"
        )
        monitor.settle()
        monitor.ask()
        found["joined_bytes"] = (monitor.rss() - before) / n
        print(f"{found['joined_bytes']:10,.0f} bytes of the process an instance, once they have joined   (goal 2,500)")
        for number in range(2, 2 + options.beats):
            send(client, n, number)
        found |= {f"beat_{name}": value for name, value in monitor.ask().items()}
        monitor.settle()
        found["beaten_bytes"] = (monitor.rss() - before) / n
        print(
            f"{found['beaten_bytes']:10,.0f} bytes after {options.beats} more beats of each; stall of the loop "
            f"{found['beat_stall_wall_ms']:.0f} ms ({found['beat_stall_cpu_ms']:.0f} ms of CPU), collection "
            f"{found['beat_gc_ms']:.0f} ms"
        )
        if options.objects:
            show_objects(monitor.ask("objects"), n)
    finally:
        client.close()
        monitor.stop()
    return found


def show_objects(sizes: dict[str, tuple[int, int]], n_instances: int) -> None:
    print(f"{'type':40} {'objects each':>14} {'bytes each':>12}")
    for name, (n, size) in sorted(sizes.items(), key=lambda item: -item[1][1])[:25]:
        print(f"{name:40} {n / n_instances:14.2f} {size / n_instances:12.1f}")


def starts(folder: str, options: argparse.Namespace) -> dict[str, float]:
    ours, bare = [], []
    rss = 0
    for _ in range(options.rounds):
        began = time.perf_counter()
        command = (sys.executable, str(HERE / "_bare_decode.py"), str(Path(folder) / "heartfelt.db"))
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        n_rows = int(other.stdout.readline())
        bare.append(time.perf_counter() - began)
        other.communicate()
        assert n_rows >= options.instances
        monitor = Monitor(folder)
        ours.append(monitor.start_s)
        time.sleep(1)
        assert monitor.ask()["instances"] == options.instances
        rss = monitor.rss()
        monitor.stop()
    with tempfile.TemporaryDirectory() as empty:
        monitor = Monitor(empty)
        first = monitor.rss()
        monitor.stop()
    found = {
        "start_s": min(ours),
        "bare_s": min(bare),
        "start_ratio": min(ours) / min(bare),
        "median_ratio": statistics.median(a / b for a, b in zip(ours, bare, strict=True)),
        "empty_s": monitor.start_s,
        "restored_bytes": (rss - first) / options.instances,
    }
    print(
        f"{found['start_ratio']:10.2f} times a bare start: {found['start_s']:.2f} s and {found['bare_s']:.2f} s, minima"
        f" of {options.rounds} (median of ratios {found['median_ratio']:.2f}; empty {found['empty_s']:.2f} s; goal 2)"
    )
    print(f"{found['restored_bytes']:10,.0f} bytes of the process an instance after the start")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=200_000)
    parser.add_argument("--beats", type=int, default=3, help="how often each beats after it has joined")
    parser.add_argument("--rounds", type=int, default=3, help="how often it starts again")
    parser.add_argument("--objects", action="store_true", help="print what the memory consists of")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = joining(folder, options)
        if options.rounds:
            found |= starts(folder, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
