# SPDX-License-Identifier: MIT
"""The line on a Python thread where a look-up or a connect hangs: its beats are missed, and it can be closed."""

from __future__ import annotations

import socket
import threading

import pytest

from heartfelt._net import resolver
from tests.agent.lines import GOODBYE


@pytest.fixture
def hung_look_up(monkeypatch):
    """Names are looked up for as long as the test runs."""
    release = threading.Event()
    started = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host == "name.invalid" and not options.get("flags"):
            started.set()
            release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *arguments, **options)

    monkeypatch.setattr(resolver.socket, "getaddrinfo", getaddrinfo)
    yield started
    release.set()
    for thread in threading.enumerate():
        if thread.name == "heartfelt look-up":
            thread.join(10)


def test_close_while_a_name_is_looked_up(serve, beating, hung_look_up):
    server = serve("sermant")
    line = beating(server, host="name.invalid", connect_timeout_s=1000)
    server.wait_for(hung_look_up.is_set)
    server.wait_for(lambda: line.stats().missed >= 2)
    assert line.stats().state == "resolving"
    assert line.close(GOODBYE, 1000) is False  # at once: nobody has ever heard of it
    assert line._ended.is_set()


def test_a_look_up_that_hangs_is_a_failure_and_not_begun_again(serve, beating, hung_look_up):
    server = serve("sermant")
    line = beating(server, host="name.invalid", connect_timeout_s=0.01)
    server.wait_for(lambda: line.stats().failures >= 3)
    assert "looking up 'name.invalid'" in line.stats().last_error
    assert sum(thread.name == "heartfelt look-up" for thread in threading.enumerate()) == 1


def test_names_are_looked_up(serve, beating):
    server = serve("sermant")
    beating(server, host="localhost")
    server.wait_for(lambda: server.beats)


def test_a_name_that_does_not_exist(serve, beating):
    server = serve("sermant")
    line = beating(server, host="x" * 64)  # longer than a label may be: no server is asked
    server.wait_for(lambda: line.stats().failures >= 1)
    assert "x" * 64 in line.stats().last_error


@pytest.fixture
def black_hole():
    """A port that takes no more connections, and says nothing: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            fill.append(one)
        yield listener.getsockname()
        for one in fill:
            one.close()


def test_close_while_connecting(serve, beating, black_hole):
    server = serve("sermant")
    server.refuse()
    server.port = black_hole[1]
    line = beating(server, connect_timeout_s=1000)
    server.wait_for(lambda: line.stats().state == "connecting" and line.stats().missed >= 2)
    assert line.close(GOODBYE, 1000) is False  # at once: nobody has ever heard of it
    assert line._ended.is_set()


def test_connecting_times_out(serve, beating, black_hole):
    server = serve("sermant")
    server.refuse()
    server.port = black_hole[1]
    line = beating(server, connect_timeout_s=0.02)
    server.wait_for(lambda: line.stats().failures >= 2)
    assert "connecting took too long" in line.stats().last_error
