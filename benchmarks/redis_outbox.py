# SPDX-License-Identifier: MIT
"""Measures the cost of the outbox in Redis, by the CPU time of its main thread: 1,000 targets,
200,000 waiting deliveries.

    python benchmarks/redis_outbox.py [--targets 1000] [--deliveries 200000]

Starts a redis-server of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.outbox import BATCH, RedisOutbox
from tests.monitor.redis.plain_link import PlainLink
from tests.monitor.redis.servers import RedisServer

NOW_MS = 1_790_000_000_000
PAYLOAD = '{"kind":"change","key":"change-123456789","text":"' + "x" * 550 + '"}'


def info(link: PlainLink, section: str) -> dict[str, str]:
    lines = link.call(-1, "INFO", section).decode().splitlines()
    return dict(line.partition(":")[::2] for line in lines if ":" in line)


def used(link: PlainLink) -> int:
    return int(info(link, "memory")["used_memory"])


class Cpu:
    """Reads the CPU time of Redis' main thread, which other processes of the machine do not change much."""

    def __init__(self, link: PlainLink) -> None:
        self._link = link
        self._before = 0.0
        self.us()

    def us(self) -> float:
        """Returns the time since the last call."""
        found = info(self._link, "cpu")
        now = sum(float(found[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys")) * 1e6
        self._before, before = now, self._before
        return now - before


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--targets", type=int, default=1000)
    arguments.add_argument("--deliveries", type=int, default=200_000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        link = PlainLink(server.port)
        try:
            measure(link, options.targets, options.deliveries)
        finally:
            link.close()
            server.end()


def measure(link: PlainLink, targets: int, n: int) -> None:
    outbox = RedisOutbox(link, Keys("hf", 64))
    outbox.put_deliveries([("t0", "first", PAYLOAD, NOW_MS, "", 2)])
    empty = used(link)
    cpu = Cpu(link)
    outbox.put_deliveries(
        (f"t{i % targets}", f"change-{i}", PAYLOAD, NOW_MS + i // 100, f"shop\ni{i // 3}", i % 3) for i in range(n)
    )
    print(f"put: {cpu.us() / n:.1f} us each, in scripts of {BATCH}")
    print(f"waiting: {(used(link) - empty) / n:.0f} bytes each, of which the payload has {len(PAYLOAD)}")

    def claims(what: str, room: dict[str, int], rounds: int = 10) -> list[int]:
        found = [outbox.next_deliveries(NOW_MS + n, BATCH, room) for _ in range(rounds)]
        numbers = [one.number for some in found for one in some]
        print(f"next_deliveries({BATCH}), {what}: {len(numbers) // rounds} a call, {cpu.us() / 1000 / rounds:.2f} ms")
        return numbers

    numbers = claims("all have room", {})
    numbers += claims("4 of each", {f"t{i}": 4 for i in range(targets)})
    numbers += claims("nine of ten have none", {f"t{i}": 0 for i in range(targets) if i % 10})
    claims("none has any", {f"t{i}": 0 for i in range(targets)})
    for number in numbers:
        outbox.finish_delivery(number, ok=True, retry_at_ms=None, answer="HTTP 200")
    print(f"finish_delivery: {cpu.us() / len(numbers):.1f} us each")
    outbox.waiting_deliveries()
    print(f"waiting_deliveries: {cpu.us() / 1000:.1f} ms in {targets // 200 + 1} scripts")
    dropped = outbox.drop_deliveries("t1", "deleted")
    print(f"drop_deliveries: {cpu.us() / dropped:.1f} us each, {dropped} in scripts of {BATCH}")
    while some := outbox.next_deliveries(NOW_MS + n, BATCH):
        for one in some:
            outbox.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="HTTP 200")
    print(f"settled: {(used(link) - empty) / n:.0f} bytes each")
    cpu.us()
    while outbox.trim(NOW_MS + n).removed:
        pass
    print(f"trim: {cpu.us() / n:.1f} us each, in scripts of {BATCH}; "
          f"{(used(link) - empty) / n:.0f} bytes each remain")  # fmt: skip


if __name__ == "__main__":
    main()
