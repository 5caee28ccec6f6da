# SPDX-License-Identifier: MIT
"""Webhooks on the store in SQLite, in a process of their own that is killed: what was on its way arrives, once."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")
pytest.importorskip("heartfelt.monitor.store.sqlite")

from tests import ROOT
from tests.monitor.webhooks.parts import Hook, until

CHILD = """
import asyncio, random, sys, time
from tests.monitor.webhooks.parts import make_change
from heartfelt.monitor.store.sqlite import SqliteStore
from heartfelt.monitor.webhooks import WebhookSettings, Webhooks
from heartfelt.monitor.webhooks.damping import Damping

def wall_ms():
    return time.time_ns() // 1_000_000 + {later_ms}

async def main():
    store = SqliteStore({path!r}, wall_ms=wall_ms)
    store.open()
    damping = Damping(gather_ms=300, gather_singles=3, gather_long_ms=1000)
    hooks = Webhooks(store, WebhookSettings(allow_private=True, damping=damping), wall_ms=wall_ms)
    await hooks.start()
    if not hooks.targets():
        await hooks.create({{"kind": "generic", "url": {url!r}, "filter": {{"states": []}}}}, id="t")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        first, last = map(int, line.split())
        for seq in range(first, last):
            change = make_change(seq, time_ms=wall_ms(), instance=f"i{{seq}}", service="abcdef"[seq % 6])
            store.put_change(change)
            hooks.offer(change)
            await asyncio.sleep(0.005)
        await store.flush()
        print("stored", flush=True)
    await hooks.stop()
    store.close()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def child(path, url, later_ms):
    code = CHILD.format(path=str(path), url=url, later_ms=later_ms)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def offer(process, first, last):
    process.stdin.write(f"{first} {last}\n".encode())
    await process.stdin.drain()
    assert await process.stdout.readline() == b"stored\n"


def seqs(hook):
    """Returns the number of changes in each message, by its key."""
    return {body["key"]: body["count"] for body in hook.bodies}


def test_each_change_is_told_once_though_the_process_is_killed_again_and_again(tmp_path):
    async def run():
        path, seq, later_ms = tmp_path / "monitor.db", 1, 0
        async with Hook() as hook:
            for number in (3, 40, 11):
                async with child(path, hook.url, later_ms) as process:
                    await offer(process, seq, seq + number)
                    seq += number
                    process.kill()  # in the middle of whatever it does
                    await process.wait()
                later_ms += 130_000  # the claims of a monitor that died have ended
            async with child(path, hook.url, later_ms) as process:
                await until(lambda: sum(seqs(hook).values()) >= seq - 1)
                process.stdin.close()
                assert await process.wait() == 0
            assert sum(seqs(hook).values()) == seq - 1
            async with child(path, hook.url, later_ms + 130_000) as process:  # nothing is told again
                await offer(process, seq, seq + 1)
                await until(lambda: f"change-{seq}" in seqs(hook))
            assert sum(seqs(hook).values()) == seq

    asyncio.run(run())
