# SPDX-License-Identifier: MIT
"""Each key has its own timeout; events come in the order of deadlines, not of beats.

python examples/own_timeouts.py
"""

from __future__ import annotations

from heartfelt import HeartHub

TIMEOUTS = {"nightly backup": 0.9, "web server": 0.2, "mail queue": 0.5, "thermometer": 0.3}  # seconds


def main() -> None:
    with HeartHub() as hub:  # no default timeout: each key must have its own
        for key, timeout in TIMEOUTS.items():
            hub.heartbeat(key, timeout=timeout, extra={"page": "whoever is on call"})
        hub.heartbeat("web server")  # a key keeps its timeout

        for _ in TIMEOUTS:  # no key beats any more
            event = hub.events.get()
            print(
                f"{event.key}: no beat for {event.timeout:g} s; {event.extra}; late by {event.lateness * 1000:.1f} ms"
            )


if __name__ == "__main__":
    main()
