# SPDX-License-Identifier: MIT
"""Shared by all tests. A hub made by `make_hub` is checked for broken invariants, and closed, when its test ends.

HEARTFELT_EXAMPLES=5000 makes hypothesis run that many new random examples of each property; without it the same few
examples run each time, so that CI is quick and repeatable.
"""

import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import HealthCheck, settings

from heartfelt import EventType, HeartHub
from heartfelt.testing import ManualClock

pytest_plugins = ["time_limits", "reruns", "traces"]  # of tests/plugins

_EXAMPLES = int(os.environ.get("HEARTFELT_EXAMPLES", "0"))
_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]  # a shared machine is slow at times

settings.register_profile("ci", deadline=None, derandomize=True, database=None, suppress_health_check=_HEALTH)
settings.register_profile(
    "long",
    deadline=None,
    database=None,
    suppress_health_check=_HEALTH,
    max_examples=_EXAMPLES or 100,
    print_blob=True,
)
settings.load_profile("long" if _EXAMPLES else "ci")

LONG_S = 40  # a wait that ends at once if nothing is wrong


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make_hub(clock):
    """make_hub(timeout=10, **options): a hub, on the manual clock if the options name no other."""
    hubs = []

    def make(timeout=10, **options):
        options.setdefault("clock", clock)
        hub = HeartHub(timeout, **options)
        hubs.append(hub)
        return hub

    yield make
    broken = [hub._check() for hub in hubs]
    for hub in hubs:
        hub.close()
    assert broken == [None] * len(hubs)


@pytest.fixture
def hub(make_hub):
    return make_hub()


@pytest.fixture
def loud(make_hub):
    """A hub that tells everything."""
    return make_hub(subscribe=list(EventType))


@pytest.fixture
def drained():
    """drained(hub): all events that wait, as a list."""

    def drain(hub):
        return hub.events.get_many(1 << 30, timeout=0)

    return drain


@pytest.fixture
def patience_s(pytestconfig):
    """How long to wait for what comes at once if nothing is wrong; less than the test's own limit."""
    return LONG_S * pytestconfig.getoption("limit_times")


@pytest.fixture
def eventually(patience_s):
    """eventually(condition): waits until it is true, or fails the test."""

    def wait(condition):
        give_up = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < give_up, "it did not come about"
            time.sleep(0.001)

    return wait


@pytest.fixture
def kept_port():
    """A TCP port of the loopback that nobody else gets while the test runs, whether the test listens at it or not."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture
def run_python(patience_s):
    """run_python(code, *options): its standard output, from an interpreter of its own that must end well."""

    def run(code, *options):
        command = [sys.executable, *options, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def serve(tmp_path):
    """serve(*arguments, **settings): a running `heartfelt serve` on free ports; ended when the test ends."""
    from tests.monitor.serving import Serving

    running = []

    def start(*arguments, **options):
        options.setdefault("data", tmp_path / "data")
        running.append(Serving(*arguments, **options))
        running[-1].wait_ready()
        return running[-1]

    yield start
    for one in running:
        one.end()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    pytest.importorskip("cryptography", reason="nothing here makes certificates")
    from tests.certificates import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))
