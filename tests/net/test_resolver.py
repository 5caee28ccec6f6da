# SPDX-License-Identifier: MIT
"""Looking up host names: bounded in time, one look-up at a time, and the last addresses stay in use."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from heartfelt._net.connection import Cancelled, Waker
from heartfelt._net.resolver import Resolver, literal

FAR = 1000.0  # seconds; nothing waits for so long


class Names:
    """Stands for the system's resolver: `answers` for a name, and a gate that holds look-ups back."""

    def __init__(self):
        self.real = socket.getaddrinfo
        self.asked = 0
        self.asking = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.addresses = ["192.0.2.1"]

    def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        if flags or not host.endswith(".test"):
            return self.real(host, port, family, type, proto, flags)
        self.asked += 1
        self.asking.set()
        assert self.gate.wait(60)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, 0, "", (address, port)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch):
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.gate.set()
    for thread in threading.enumerate():
        if thread.name == "heartfelt look-up":
            thread.join(60)


def hosts(addresses):
    return [where[0] for _, _, where in addresses]


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None), ("x" * 64, None), ("", None)]
)
def test_an_address_needs_no_look_up(host, address):
    found = literal(host, 80, socket.SOCK_STREAM)
    assert (found and hosts(found)) == (address and [address]) or host == ""


def test_a_look_up_that_hangs_ends_the_wait_and_is_not_started_again(names):
    names.gate.clear()
    resolver = Resolver("a.test", 80)
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"looking up 'a\.test' took too long"):
            resolver.get(time.monotonic() + 0.01)
    assert names.asked == 1
    names.gate.set()
    assert hosts(resolver.get(time.monotonic() + FAR)) == ["192.0.2.1"]


def test_threads_share_a_look_up(names):
    names.gate.clear()
    resolver = Resolver("a.test", 80)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(hosts(resolver.get(time.monotonic() + FAR)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert names.asking.wait(60)
    with pytest.raises(TimeoutError):
        resolver.get(0)
    names.gate.set()
    for thread in threads:
        thread.join(60)
    assert found == [["192.0.2.1"]] * 4


def test_the_last_addresses_stay_in_use_until_there_are_others(names):
    resolver = Resolver("a.test", 80)
    assert hosts(resolver.get(time.monotonic() + FAR)) == ["192.0.2.1"]
    names.addresses = []
    assert hosts(resolver.get(time.monotonic() + FAR)) == ["192.0.2.1"]
    names.addresses = ["192.0.2.2"]
    assert hosts(resolver.get(time.monotonic() + FAR)) == ["192.0.2.2"]


def test_a_name_that_is_unknown_or_impossible(names):
    names.addresses = []
    with pytest.raises(socket.gaierror):
        Resolver("a.test", 80).get(time.monotonic() + FAR)
    with pytest.raises(OSError, match="cannot be the name of a host"):
        Resolver("x" * 64, 80).get(time.monotonic() + FAR)


def test_a_waker_cancels_the_wait(names):
    names.gate.clear()
    waker = Waker()
    caught = []

    def wait():
        try:
            Resolver("a.test", 80).get(time.monotonic() + FAR, waker)
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert names.asking.wait(60)
    waker.cancel()
    thread.join(60)
    waker.close()
    assert len(caught) == 1


def test_without_threads_the_look_up_runs_in_the_callers(names, monkeypatch):
    """As at the exit of the interpreter, which starts none any more."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert hosts(Resolver("a.test", 80).get(time.monotonic() + FAR)) == ["192.0.2.1"]
    waker = Waker()
    with pytest.raises(OSError, match="can't start new thread"):
        Resolver("a.test", 80).get(time.monotonic() + FAR, waker)
    waker.close()
