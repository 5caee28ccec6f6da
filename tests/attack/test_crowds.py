# SPDX-License-Identifier: MIT
"""Many connections that stay: they do not read, do not write, or write a byte at a time. A good client is not hurt."""

from __future__ import annotations

import contextlib
import socket

import pytest

from heartfelt.wire import encode_frame, pack
from tests.attack.victim import Victim
from tests.monitor.serving import until

GROWTH = 60 << 20
"""A crowd's cost: kernel buffers are not in it, so what is left is the monitor's own."""


@pytest.fixture
def crowd():
    """crowd(port, n): n connections, closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(port, n):
            found = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(n)]
            for one in found:
                stack.callback(one.close)
                one.setblocking(False)
            return found

        yield make


def say(crowd, data):
    """Sends to each that still takes it. Returns to how many."""
    n = 0
    for one in crowd:
        with contextlib.suppress(OSError):
            one.send(data)
            n += 1
    return n


def test_heads_that_never_end(tmp_path, crowd):
    with Victim(tmp_path / "data", http_request_timeout="2s") as victim:
        before, descriptors = victim.memory(), victim.descriptors()
        slow = crowd(victim.port, 1500)
        say(slow, b"POST /ping/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nX-Slow: ")
        for _ in range(20):
            say(slow, b"a" * 50)
        assert victim.memory() - before < GROWTH
        until(lambda: victim.descriptors() < descriptors + 50, "the end of the slow connections")
        assert victim.metric("heartfelt_requests_timeouts_total") >= 1400


def test_bodies_that_never_end(tmp_path, crowd):
    with Victim(tmp_path / "data", http_request_timeout="2s") as victim:
        before, descriptors = victim.memory(), victim.descriptors()
        slow = crowd(victim.port, 500)
        say(slow, b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            say(slow, b"1;" + b"x" * 100 + b"\r\n[\r\n")
        assert victim.memory() - before < GROWTH
        until(lambda: victim.descriptors() < descriptors + 50, "the end of the slow connections")


def test_connections_that_say_nothing_at_both_ports(tmp_path, crowd):
    settings = {"http_request_timeout": "2s", "limits_connection_idle": "2s"}
    with Victim(tmp_path / "data", **settings) as victim:
        before, descriptors = victim.memory(), victim.descriptors()
        crowd(victim.port, 1500)
        crowd(victim.ready["tcp"][1], 1500)
        assert victim.memory() - before < GROWTH
        until(lambda: victim.descriptors() < descriptors + 50, "the end of the silent connections")


def test_viewers_that_never_read(tmp_path, crowd):
    with Victim(tmp_path / "data", http_viewers=300) as victim:
        viewers = crowd(victim.port, 250)
        say(viewers, b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: victim.metric("heartfelt_stream_viewers") == 250, "the viewers")
        before = victim.memory()
        text = "x" * 30_000
        for n in range(400):  # 12 MB for each viewer, were it kept
            assert victim.post(f"/ping/shop/job-{n % 20}/log", text).status == 200
        assert victim.memory() - before < 160 << 20  # http.viewers_bytes, and what the transports hold


def test_frames_without_end_on_tcp(tmp_path, crowd):
    with Victim(tmp_path / "data") as victim:
        before = victim.memory()
        agents = crowd(victim.ready["tcp"][1], 300)
        say(agents, b"\xff\xff\x3f")  # the length of a frame of almost 1 MiB
        for _ in range(10):
            say(agents, b"\0" * 4096)
        assert victim.memory() - before < GROWTH + 300 * 65536


def test_an_agent_with_a_frame_above_the_limit_lives_on(tmp_path):
    beat = b'{"service":"big","instanceId":"one","hostName":"h","ip":["10.0.0.1"]}'
    large = encode_frame([(0, b"\x1f\x8b" + b"\0" * (2 << 20))])
    with (
        Victim(tmp_path / "data") as victim,
        socket.create_connection(("127.0.0.1", victim.ready["tcp"][1]), timeout=20) as agent,
    ):
        agent.sendall(encode_frame([(0, pack(beat))]))
        until(lambda: victim.find("one"), "the first beat")
        before = victim.find("one")["last_beat_ms"]
        agent.sendall(large)
        agent.sendall(encode_frame([(0, pack(beat))]))
        until(lambda: victim.find("one")["last_beat_ms"] > before, "the beat after the large frame")
