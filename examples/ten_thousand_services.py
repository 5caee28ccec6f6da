# SPDX-License-Identifier: MIT
"""Ten thousand services beat; eight of them stop, and the hub reports each, one second after its last beat.

python examples/ten_thousand_services.py [SECONDS]
"""

from __future__ import annotations

import sys
import threading
import time

from heartfelt import HeartHub, HubClosed

SERVICES = 10_000
INTERVAL = 0.5  # each service beats this often
TIMEOUT = 1.0  # a service without a beat for this long is reported
STUCK = {67, 120, 100, 3456, 4000, 5221, 7899, 9999}  # these stop when their number of milliseconds has passed
DURATION = 15.0


def run_services(hub: HeartHub) -> None:
    """Beats for every service, all from one thread: a beat costs well under a microsecond."""
    start = time.monotonic()
    for round_number in range(sys.maxsize):
        elapsed_ms = round_number * INTERVAL * 1000
        alive = [str(number) for number in range(1, SERVICES + 1) if number not in STUCK or elapsed_ms <= number]
        try:
            hub.heartbeat_many(alive)
        except HubClosed:
            return
        time.sleep(max(0.0, start + (round_number + 1) * INTERVAL - time.monotonic()))


def main() -> None:
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else DURATION
    with HeartHub(timeout=TIMEOUT, parallelism=2) as hub:
        threading.Thread(target=run_services, args=[hub], daemon=True).start()
        end = threading.Timer(duration, hub.close)
        end.daemon = True
        end.start()
        for event in hub.events:  # until the hub is closed
            found_after = (event.event_time - event.beat_time) * 1000
            print(f"{event.type} heartKey={event.key} beat={event.beat_time:.3f} found after {found_after:.1f} ms")


if __name__ == "__main__":
    main()
