# SPDX-License-Identifier: MIT
"""The cost of the monitor's ingests, in CPU time of their process: `python benchmarks/ingest.py [--rounds N]`.

HTTP beside an app that reads the body and answers 200, on the same server (uvicorn and uvloop with the monitor's own
HTTP protocol), which takes turns with it, in several pairs of processes; UDP beside a loop of recv() in C. Only the
ratios count. See README.md for the goals and the method.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _http_load import HttpLoad

HERE = Path(__file__).parent
N_INSTANCES = 1000
CONNECTIONS = 10  # divides the numbers of requests, so that each request always comes over the same connection
KEYS = [b"service-%d/instance-%d" % (n % 20, n) for n in range(N_INSTANCES)]


class Side:
    """A server process."""

    def __init__(self, *command: str, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        self.port = int(self.process.stdout.readline())
        self.costs: list[float] = []

    def ask(self) -> tuple[int, int]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        cpu, n = self.process.stdout.readline().split()
        return int(cpu), int(n)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    @property
    def ns(self) -> float:
        return statistics.median(self.costs)


def python_side(kind: str) -> Side:
    return Side(sys.executable, str(HERE / "_ingest_server.py"), kind)


def head(n: int) -> bytes:
    """A heartbeat as heartfelt's agent writes it: two plugins, 330 bytes."""
    plugins = {name: {"name": name, "version": "1.2.0"} for name in ("router", "template")}
    beat = {
        "hostName": f"host-{n % 50}",
        "ip": [f"10.0.{n // 250}.{n % 250}"],
        "service": f"service-{n % 20}",
        "version": "1.0.0",
        "instanceId": f"7814bc2a-2e88-4d94-8096-{n:012d}",
        "appName": "shop",
        "processId": str(n),
        "pluginInfoMap": plugins,
        "intervalMs": 10000,
    }
    return json.dumps(beat, separators=(",", ":")).encode()[:-1]


def whole(head_: bytes, number: int) -> bytes:
    now = time.time_ns() // 1_000_000
    return b'%b,"heartbeatTime":%d,"lastHeartbeatTime":%d,"lagMs":3,"beat":%d}' % (head_, now, now - 10000, number)


def request(body: bytes) -> bytes:
    head = b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


class Http:
    def __init__(self, side: Side) -> None:
        self.side = side
        self.socket = socket.create_connection(("127.0.0.1", side.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, message: bytes) -> None:
        self.socket.sendall(message)
        answer = b""
        while not answer.endswith((b"OK", b"}")):
            part = self.socket.recv(65536)
            assert part, "the server closed the connection"
            answer += part
        assert answer.startswith(b"HTTP/1.1 200"), answer

    def round(self, messages: list[bytes]) -> None:
        before, _ = self.side.ask()
        for message in messages:
            self.call(message)
        after, _ = self.side.ask()
        self.side.costs.append((after - before) / len(messages))


def http_pair(folder: Path, requests: list[bytes], n: int, rounds: int) -> tuple[float, float]:
    """Returns the least CPU time of a request in ns, of the no-op and of the ingest, in processes of their own."""
    sides = [python_side("noop"), python_side("http")]
    loads = [HttpLoad(folder, side.port, "kept", n, CONNECTIONS, requests) for side in sides]
    try:
        order = list(zip(sides, loads, strict=True))
        for k in range(rounds + 1):
            for side, load in order if k % 2 else order[::-1]:
                before, _ = side.ask()
                outcome = load.round()
                after, _ = side.ask()
                assert outcome.ok == n, outcome
                if k:
                    side.costs.append((after - before) / n)
    finally:
        for one in (*loads, *sides):
            one.close()
    return min(sides[0].costs), min(sides[1].costs)


def measure_http(
    folder: Path, rounds: int, pairs: int, requests: list[bytes], n: int, title: str, goal: float
) -> dict[str, float]:
    """n: requests in a round. The least of a long round is what a server costs that nothing else disturbs; the median
    of the pairs leaves out a process whose memory happens to lie badly."""
    found = [http_pair(folder, requests, n, rounds) for _ in range(pairs)]
    ratios = sorted(ingest / noop for noop, ingest in found)
    noop, ingest = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"{title:34} {noop / 1e3:8.1f} us {ingest / 1e3:8.1f} us  {ratio:5.2f} times"
        f"  ({ratios[0]:.2f} to {ratios[-1]:.2f}, goal {goal:g}), {1e9 / ingest:8,.0f}/s",
        flush=True,
    )
    return {"noop_us": noop / 1e3, "us": ingest / 1e3, "ratio": ratio, "per_s": 1e9 / ingest}


def measure_udp(side: Side, datagrams: list[bytes], rounds: int, beats_each: int, is_c: bool = False) -> float:
    """The ns for a beat. A burst fits into the socket's buffer, and the next waits until it was received."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", side.port))
    costs = []
    try:
        for n in range(rounds + 3):
            before, taken = side.ask()
            for datagram in datagrams:
                sock.send(datagram)
            end = time.monotonic() + 10
            want = taken + len(datagrams) * (1 if is_c else beats_each)
            after, now = side.ask()
            while now < want and time.monotonic() < end:
                time.sleep(0.002)
                after, now = side.ask()
            if n >= 3:
                costs.append((after - before) / max((now - taken) * (beats_each if is_c else 1), 1))
    finally:
        sock.close()
    return statistics.median(costs)


def c_side(folder: str) -> Side:
    program = str(Path(folder) / "udp_receive")
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / "_udp_receive.c")], check=True)
    return Side(program)


def udp(rounds: int, found: dict[str, dict[str, float]]) -> None:
    keys = KEYS
    kinds = {
        "udp, a plain key a datagram": (keys * 3, 1),
        "udp, 50 plain keys a datagram": ([b"\n".join(keys[n : n + 50]) for n in range(0, len(keys), 50)] * 10, 50),
        "udp, a heartbeat's JSON a datagram": ([whole(head(n), n) for n in range(N_INSTANCES)] * 2, 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        for title, (datagrams, beats_each) in kinds.items():
            sides = [c_side(folder), python_side("udp")]
            try:
                plain = measure_udp(sides[0], datagrams, rounds, beats_each, is_c=True)
                ours = measure_udp(sides[1], datagrams, rounds, beats_each)
            finally:
                for side in sides:
                    side.close()
            rate = 1e9 / ours
            print(
                f"{title:34} {plain:8.0f} ns {ours:8.0f} ns  {ours / plain:5.2f} times, {rate:9,.0f} beats/s"
                f"   (goal 300,000 or 3 times)"
            )
            found[title] = {"c_ns": plain, "ns": ours, "ratio": ours / plain, "per_s": rate}


def sermant(rounds: int, found: dict[str, dict[str, float]]) -> None:
    from heartfelt.wire import encode_frame, pack

    vector = bytes.fromhex((HERE.parent / "tests/wire/vectors/heartbeat_jdk17.hex").read_text().strip())
    side = python_side("sermant")
    try:
        for title, data in (
            ("sermant, heartfelt's agent", b"".join(encode_frame([(0, pack(whole(head(n), n)))]) for n in range(1000))),
            ("sermant, a Java agent's frame", vector * 1000),
        ):
            with socket.create_connection(("127.0.0.1", side.port)) as sock:
                costs = []
                for n in range(rounds + 2):
                    before, taken = side.ask()
                    sock.sendall(data)
                    after, now = side.ask()
                    while now < taken + 1000:
                        time.sleep(0.002)
                        after, now = side.ask()
                    if n >= 2:
                        costs.append((after - before) / 1000)
            ns = statistics.median(costs)
            print(f"{title:34} {ns:23.0f} ns  {1e9 / ns:9,.0f} beats/s   (goal 20,000)")
            found[title] = {"ns": ns, "per_s": 1e9 / ns}
    finally:
        side.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=8000, help="requests in a round; a tenth as many with lists")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of server processes")
    parser.add_argument("--only", choices=("http", "udp", "sermant"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    heads = [head(n) for n in range(N_INSTANCES)]
    every = [whole(text, n) for n, text in enumerate(heads)]
    kinds = {
        "http, a ping": ([b"GET /ping/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % key for key in KEYS], 1, 0.5),
        "http, one heartbeat of 420 bytes": ([request(body) for body in every], 1, 0.5),
        "http, one heartbeat of 40 bytes": (
            [request(b'{"service":"shop","instanceId":"i-%d"}' % n) for n in range(N_INSTANCES)],
            1,
            1.5,
        ),
        "http, 100 heartbeats": (
            [request(b"[" + b",".join(every[at : at + 100]) + b"]") for at in range(0, N_INSTANCES, 100)],
            10,
            2.0,
        ),
    }
    if options.only in (None, "http"):
        print(f"{'CPU of the process, a request':34} {'no-op':>11} {'ingest':>11}")
        with tempfile.TemporaryDirectory() as folder:
            for title, (requests, fewer, goal) in kinds.items():
                n = options.requests // fewer
                found[title] = measure_http(Path(folder), options.rounds, options.pairs, requests, n, title, goal)
    if options.only in (None, "udp"):
        print(f"{'CPU of the process, a beat':34} {'recv in C':>11} {'ingest':>11}")
        udp(options.rounds, found)
    if options.only in (None, "sermant"):
        sermant(options.rounds, found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
