# SPDX-License-Identifier: MIT
"""Messages to the service manager, by a datagram socket of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import pytest

from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.fleet.polling import Polling
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.notify import Notifier, Pulse
from tests.monitor.notify_socket import NotifySocket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
ABSTRACT = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets")


@pytest.fixture(params=["path", pytest.param("abstract", marks=ABSTRACT)])
def manager(request, tmp_path):
    address = tmp_path / "notify" if request.param == "path" else f"@heartfelt-test-{os.getpid()}"
    made = NotifySocket(address)
    yield made
    made.close()


def test_states_arrive_and_the_variables_are_gone_for_children(manager):
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = Notifier.from_environ(environ)
    assert environ == {"A": "b"}
    assert notifier.watchdog_s == 3.0
    notifier.ready("two\nlines")
    assert manager.take() == {"READY": "1", "STATUS": "two lines"}
    notifier.reloading()
    reloading = manager.take()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    notifier.stopping(2.5)
    assert manager.take() == {"STOPPING": "1", "STATUS": "stopping", "EXTEND_TIMEOUT_USEC": "2500000"}
    assert notifier.stats() == {"sent": 3, "failures": 0, "withheld": 0}
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("1000000", "", 1.0), ("1000000", "1", None), ("", "", None), ("0", "", None), ("-5", "", None),
        ("abc", "", None), ("1000000", "x", None), ("²", "", None), ("9" * 5000, "", None),
    ],
    ids=range(9),
)  # fmt: skip
def test_the_watchdog_is_for_this_process_and_a_number(manager, usec, pid, seconds):
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    notifier = Notifier.from_environ(environ)
    assert notifier.watchdog_s == seconds
    notifier.close()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "relative", "@" + "x" * 200, "/" + "y" * 4000, "vsock:2:1"])
def test_a_manager_that_does_not_listen_is_logged_once_and_never_raises(address, caplog):
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": address})
    for _ in range(3):
        notifier.ready("ok")
        notifier.stopping(1)
    assert notifier.failures >= 1
    assert len(caplog.records) == 1
    notifier.close()


def test_without_a_manager_nothing_happens(caplog):
    notifier = Notifier.from_environ({"WATCHDOG_USEC": "1000000"})
    notifier.ready("ok")
    assert notifier.watchdog_s is None
    assert notifier.stats() == {"sent": 0, "failures": 0, "withheld": 0}
    assert not caplog.records


def test_a_full_socket_does_not_block(manager):
    notifier = Notifier(manager.address)
    for _ in range(5000):
        notifier.ready("ok")
        if notifier.failures:
            break
    assert notifier.failures == 1
    notifier.close()


def test_pulses_come_while_verdicts_flow_and_only_then(manager, caplog):
    """The hubs' own ticks show that they flow; with the polling stopped, none is read."""
    notifier = Notifier(manager.address, watchdog_s=0.02)

    async def scenario():
        registry = Registry(Policy())
        polling = Polling(registry)
        polling.start()
        allowed_s = 3.0
        pulse = Pulse(
            notifier,
            fault=lambda: None if polling.silent_s() < allowed_s else "no verdicts",
            status=lambda: "well",
        )
        pulse.start()
        assert manager.take() == {"WATCHDOG": "1", "STATUS": "well"}
        while polling.silent_s() >= 0.5 or registry.stats()["timers_waiting"]:
            await asyncio.sleep(0.01)
        started_s = asyncio.get_running_loop().time() - polling.silent_s()
        while asyncio.get_running_loop().time() - polling.silent_s() == started_s:
            await asyncio.sleep(0.01)  # a tick was read: the worker, its descriptor and the poll work
        polling.stop()
        allowed_s = 0.0
        while not notifier.withheld:
            await asyncio.sleep(0.01)
        sent = notifier.sent
        await asyncio.sleep(0.1)  # several pulses' time
        assert notifier.sent == sent
        pulse.stop()
        registry.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert [one.getMessage() for one in caplog.records] == [
        "the watchdog gets no pulse, so the service manager will restart the monitor: no verdicts"
    ]
    notifier.close()
