# SPDX-License-Identifier: MIT
"""Ever new names: hosts, tokens, paths, keys, services. What remembers them has a bound, and the log does, too."""

from __future__ import annotations

import random
import socket
import time

from tests.attack.victim import Victim, most_log_lines
from tests.monitor.serving import PATIENCE_S

GROWTH = 40 << 20
HOST = b"Host: localhost"


def pipelined(victim, requests, batch=12):
    """Sends the requests over one connection after another, some at a time. Returns the statuses."""
    statuses, left = [], list(requests)
    while left:
        with socket.create_connection((victim.host, victim.port), timeout=PATIENCE_S) as sock:
            while left:
                some, left = left[:batch], left[batch:]
                sock.sendall(b"".join(some))
                found = read_statuses(sock, len(some))
                statuses += found
                if len(found) < len(some):  # it was closed
                    break
    return statuses


def read_statuses(sock, n):
    data = b""
    while data.count(b"HTTP/1.1 ") < n or not data.endswith((b"}", b"OK", b"\n")):
        part = sock.recv(1 << 16)
        if not part:
            break
        data += part
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def a_get(path, *lines):
    return b"\r\n".join([b"GET %b HTTP/1.1" % path, *(lines or [HOST]), b"", b""])


def test_names_that_are_never_the_same(tmp_path):
    n = 6000
    kinds = {
        "hosts": [a_get(b"/api/v1/fleet", b"Host: %b-%d.example" % (b"x" * 200, k)) for k in range(n)],
        "tokens": [
            a_get(b"/ping/x", b"Host: localhost", b"Authorization: Bearer hf_%012x_%b" % (k, b"s" * 43))
            for k in range(n)
        ],
        "paths": [a_get(b"/%b%d" % (b"p" * 300, k)) for k in range(n)],
        "fields": [a_get(b"/healthz", HOST, b"X-%b-%d: 1" % (b"f" * 200, k)) for k in range(n)],
        "secrets": [a_get(b"/ping/hf_%012x_%b" % (k, b"s" * 43)) for k in range(n)],
        "parameters": [a_get(b"/api/v1/instances?%b%d=1" % (b"q" * 300, k)) for k in range(n)],
    }
    with Victim(tmp_path / "data", "--set", "limits.instances=100", guarded=True) as victim:
        for kind, requests in kinds.items():
            pipelined(victim, requests[:500])
            before, lines, began = victim.memory(), victim.log_lines(), time.monotonic()
            statuses = pipelined(victim, requests[500:])
            took = time.monotonic() - began
            assert len(statuses) == n - 500, kind
            assert max(statuses) < 500, kind
            assert victim.memory() - before < GROWTH, kind
            assert victim.log_lines() - lines < most_log_lines(took), kind


def test_datagrams_of_noise(tmp_path):
    chance = random.Random(15)
    with Victim(tmp_path / "data", "--set", "limits.instances=1000") as victim:
        before, lines, began = victim.memory(), victim.log_lines(), time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            address = ("127.0.0.1", victim.ready["udp"][1])
            for n in range(30_000):
                data = [
                    chance.randbytes(chance.randrange(1200)),
                    b"\n".join(b"k%d/%d" % (n, k) for k in range(50)),
                    b"{" * chance.randrange(1, 9000),
                    b'{"service":"s%d","instanceId":"%d"}' % (n, n),
                ][n % 4]
                sock.sendto(data, address)
        took = time.monotonic() - began
        assert victim.get("/healthz").status == 200
        assert victim.memory() - before < GROWTH
        assert victim.log_lines() - lines < most_log_lines(took)


def test_keys_that_are_refused_are_not_remembered(tmp_path):
    with Victim(tmp_path / "data", "--set", "limits.instances=100") as victim:
        pipelined(victim, [a_get(b"/ping/first/job-%d" % k) for k in range(300)])
        before = victim.memory()
        statuses = pipelined(victim, [a_get(b"/ping/%b/job-%d" % (b"s" * 100, k)) for k in range(6000)])
        assert set(statuses) == {503}
        assert victim.memory() - before < GROWTH
