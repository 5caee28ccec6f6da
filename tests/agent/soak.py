# SPDX-License-Identifier: MIT
"""Many agents' lines in one process for a minute: is an interval missed, how late are beats, what does it cost?

python -m tests.agent.soak [--lines 500] [--interval 3] [--seconds 60] [--kind sermant]. The backend is a process of its
own. Meanwhile the interpreter is kept from running: a C call holds the GIL for 5 s of every 6. Exit status 1 if a beat
was missed, or did not arrive.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import sys
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

from heartfelt import _sender
from heartfelt.agent.line import Plan
from heartfelt.agent.line.native import NativeLine
from tests.agent.elsewhere import Elsewhere

HOLD_S, REST_S = 5.0, 1.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=500)
    parser.add_argument("--interval", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kind", choices=("sermant", "http", "udp"), default="sermant")
    return parser.parse_args()


def hold_the_gil(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def gaps_of(received: dict[str, Any]) -> list[float]:
    """Between the arrivals of each line's beats, in s, sorted."""
    arrivals: dict[str, list[float]] = defaultdict(list)
    for beat, at in zip(received["last"], received["arrivals"], strict=True):
        arrivals[beat["instanceId"]].append(at)
    return sorted(b - a for times in arrivals.values() for a, b in pairwise(times))


def main() -> int:
    wanted = options()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most[1], 65536), most[1]))
    server = Elsewhere(wanted.kind)
    plan = Plan(transport=wanted.kind, host=server.host, port=server.port, interval_s=wanted.interval)
    lines = [NativeLine(plan) for _ in range(wanted.lines)]
    started, cpu_before = time.monotonic(), time.process_time()
    for n, line in enumerate(lines):
        line.set_head(b'{"service":"soak","instanceId":"%d","pluginInfoMap":{}' % n)
        line.start()
    while (left := started + wanted.seconds - time.monotonic()) > 0:
        hold_the_gil(min(HOLD_S, left))
        for line in lines:
            line.refreshed()
        time.sleep(min(REST_S, max(left - HOLD_S, 0)))
    elapsed, cpu = time.monotonic() - started, time.process_time() - cpu_before
    goodbyes = sum(line.close(b'{"goodbye":true}', 10.0) for line in lines)
    stats = [line.stats() for line in lines]
    sent = sum(one.beats for one in stats)
    ended = not _sender.runs()
    received = server.wait_for(lambda r: r["beats"] >= sent and r["goodbyes"] >= goodbyes)
    server.stop()

    missed = sum(one.missed for one in stats)
    failures = sum(one.failures for one in stats)
    gaps = gaps_of(received)
    slots = wanted.lines * int(elapsed / wanted.interval)
    print(f"{wanted.lines} lines by {wanted.kind}, every {wanted.interval:g} s, for {elapsed:.1f} s; the GIL was held")
    print(f"sent {sent} (at least {slots} were due), arrived {received['beats']}, missed {missed}, failures {failures}")
    print(f"goodbyes {received['goodbyes']}, connections {received['connections']}, thread ended: {ended}")
    print(f"most late when sent {max(one.max_late_ms for one in stats):.2f} ms")
    p99 = gaps[int(len(gaps) * 0.99)]
    print(f"between arrivals: least {gaps[0]:.4f} s, p99 {p99:.4f} s, most {gaps[-1]:.4f} s")
    print(f"most lag told {max(beat['lagMs'] for beat in received['last'])} ms")
    print(f"CPU of the sending process {cpu:.2f} s: {cpu / elapsed:.2%} of a core, {cpu / sent * 1e6:.0f} us a beat")
    sound = missed == 0 and failures == 0 and received["beats"] >= slots and ended and not received["errors"]
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
