# SPDX-License-Identifier: MIT
"""Events in asyncio: workers beat while they work, and one task reads the hub's events.

python examples/asyncio_reader.py
"""

from __future__ import annotations

import asyncio

from heartfelt import EventType, HeartHub

TIMEOUT = 0.5
BEATS = {"short job": 2, "long job": 8}  # how often each worker beats before it hangs


async def worker(hub: HeartHub, name: str, beats: int) -> None:
    heart = hub.heart(name)
    for _ in range(beats):
        heart.beat()
        await asyncio.sleep(0.1)
    await asyncio.Event().wait()  # hangs for good


async def read_events(hub: HeartHub) -> None:
    hanging = 0
    async for event in hub.events:  # no thread, no polling
        print(f"{event.type} {event.key}")
        hanging += event.type is EventType.TIME_OUT
        if hanging == len(BEATS):
            return


async def main() -> None:
    with HeartHub(timeout=TIMEOUT, subscribe={EventType.JOIN, EventType.TIME_OUT}) as hub:
        workers = [asyncio.create_task(worker(hub, name, beats)) for name, beats in BEATS.items()]
        await read_events(hub)
        for task in workers:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
