# SPDX-License-Identifier: MIT
"""The end of the interpreter, in each state that a hub can be in: no hang, no crash, nothing on stderr that is not due.

HEARTFELT_ENDS says how often each; `make ends` runs each 1,000 times."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

TIMES = int(os.environ.get("HEARTFELT_ENDS", "0")) or 4
AT_ONCE = 4
PATIENCE_S = 40
HEAD = "import asyncio, sys, threading, time\nfrom heartfelt import EventType, HeartHub, HubClosed\n"

ENDS = {
    "a live hub": """
hub = HeartHub(0.001, parallelism=3)
hub.heartbeat_many(range(100))
""",
    "many unread events": """
hub = HeartHub(0.0001, subscribe=set(EventType), event_buffer=1000)
for n in range(5):
    hub.heartbeat_many(range(5000))
""",
    "a callback that is running": """
hub = HeartHub(0.001, on_event=lambda event: time.sleep(0.01))
hub.heartbeat_many(range(3))
""",
    "sys.exit in a callback": """
hub = HeartHub(0.001, on_event=lambda event: sys.exit(3), logger=__import__("logging").getLogger("quiet"))
hub._logger.disabled = True
hub.heartbeat("a")
while not hub.stats().callback_errors:
    pass
""",
    "close in a callback": """
hub = HeartHub(0.001, on_event=lambda event: hub.close())
hub.heartbeat("a")
""",
    "a thread that beats and never stops": """
hub = HeartHub(0.001, parallelism=2)
def beat():
    n = 0
    while True:
        hub.heartbeat(n % 1000); hub.heartbeat_many([1, 2, n]); n += 1
def quietly():
    try:
        beat()
    except HubClosed:
        pass
for _ in range(2):
    threading.Thread(target=quietly, daemon=True).start()
""",
    "threads that wait for events": """
hub = HeartHub(100)
for read in (lambda: list(hub.events), lambda: [None for event in hub.events]):
    threading.Thread(target=read, daemon=True).start()
""",
    "a hub that a thread made, and its main thread ends first": """
made = threading.Event()
def work():
    hub = HeartHub(0.001, on_event=lambda event: None, verbose=True)
    made.set()
    hub.heartbeat("a")
    time.sleep(0.005)
    globals()["kept"] = hub
threading.Thread(target=work).start()
made.wait()  # from 3.12 on no thread can be started once the main one has ended
""",
    "a guard for the GIL, and a callback": """
hub = HeartHub(0.01, stall_guard="gil", on_event=lambda event: None, verbose=True)
hub.heartbeat("a")
""",
    "a loop that still waits": """
hub = HeartHub(100)
def wait():
    async def main():
        try:
            async for event in hub.events: pass
        except HubClosed: pass
    asyncio.run(main())
threading.Thread(target=wait, daemon=True).start()
time.sleep(0.01)
""",
    "a thread that makes hubs without end": """
def make():
    while True:
        try:
            HeartHub(0.001).heartbeat("a")
        except (HubClosed, RuntimeError, OSError):
            return
threading.Thread(target=make, daemon=True).start()
time.sleep(0.005)
""",
    "a circle of references": """
class Own(HeartHub):
    pass
hub = Own(0.001)
hub.itself = hub
hub.on(EventType.TIME_OUT)(lambda event, hub=hub: None)
hub.heartbeat("a", extra=hub)
del hub
""",
}


def end(code, status=0, stderr=""):
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", HEAD + code],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == status, f"{done.returncode}\n{done.stderr}"
    assert stderr in done.stderr if stderr else not done.stderr, done.stderr
    return time.monotonic() - begin


def times(*arguments, n=TIMES):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        longest_s = max(pool.map(lambda _: end(*arguments), range(n)))
    if TIMES > 4:
        print(f"{n} times, the longest {longest_s:.2f} s")


@pytest.mark.parametrize("name", ENDS)
def test_the_interpreter_ends(name):
    times(ENDS[name])


def test_the_interpreter_ends_by_an_exception():
    times(ENDS["a guard for the GIL, and a callback"] + "\nraise LookupError('mine')", 1, "LookupError: mine")


def test_callbacks_that_never_return_are_waited_for_together(run_python):
    """Ten hubs as long as one, which is a second here, not ten times as long."""
    told = run_python(
        HEAD
        + """
import heartfelt.hub
heartfelt.hub.CLOSE_WAITS_S = 1
def hang(event):
    time.sleep(3600)
hubs = [HeartHub(0.001, on_event=hang) for _ in range(10)]
for hub in hubs:
    hub.heartbeat("a")
    while not hub.stats().timeouts or hub.stats().waiting_callbacks:
        pass
begin = time.monotonic()
heartfelt.hub._close_all()
print(0.9 < time.monotonic() - begin < 9)
"""
    )
    assert told == "True\n"
