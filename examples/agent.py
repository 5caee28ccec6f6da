# SPDX-License-Identifier: MIT
"""A program that sends heartbeats with its current state to a monitor, and says goodbye when it ends.

python examples/agent.py [url of the monitor]     default: http://127.0.0.1:8900
"""

from __future__ import annotations

import sys
import time

from heartfelt.agent import AgentConfig, HeartbeatService

SECONDS = 1.0
done = 0


def progress() -> dict[str, str]:
    return {"status": "working" if done else "started", "done": str(done)}


def main(url: str = "http://127.0.0.1:8900") -> None:
    global done
    config = AgentConfig(url=url, service="example", interval=0.25, timeout=1)
    service = HeartbeatService(config)
    service.add_plugin("worker", "1.2.0")
    service.set_ext_info("worker", progress)  # called before each beat; if it hangs or raises, the beats go on
    with service:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:  # the work
            time.sleep(0.01)
            done += 1
        stats = service.stats()
    print(f"instance {service.instance_id}")
    print(f"{stats.beats} beats taken by {config.host}, {stats.missed + stats.refused} not", flush=True)
    if stats.last_error:
        print(f"last error: {stats.last_error}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
