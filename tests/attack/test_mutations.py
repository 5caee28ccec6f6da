# SPDX-License-Identifier: MIT
"""Requests with random faults in them: each ends in an answer or a close, and none takes another one's answer."""

from __future__ import annotations

import random
import socket

import pytest

from tests.attack.victim import Victim
from tests.monitor.serving import PATIENCE_S

SEEDS = range(8)
EACH = 250
BODY = b'{"service":"shop","instanceId":"one"}'
WHOLE = [
    b"GET /ping/shop/one HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /ping/shop/one/fail?rid=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\ntext",
    b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\n%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n",
    b"GET /api/v1/instances?limit=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"HEAD /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b"\xff", b"%00", b"%2f", b"/../", b"?", b"#",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
    b"Host: evil\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b" HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\n", b"-1", b"+", b"0x",
]  # fmt: skip


def mutated(chance, request):
    data = bytearray(request)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = chance.choice(PIECES)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 12)]
        elif kind == 2 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            end = min(len(data), at + chance.randrange(1, 40))
            data[at:at] = data[at:end]
    return bytes(data)


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    with Victim(tmp_path_factory.mktemp("mutations") / "data", http_request_timeout="1s") as victim:
        yield victim


@pytest.mark.parametrize("seed", SEEDS)
def test_mutations(victim, seed):
    chance = random.Random(seed)
    for n in range(EACH):
        requests = [mutated(chance, chance.choice(WHOLE)) for _ in range(chance.randrange(1, 4))]
        data = b"".join(requests)
        with socket.create_connection((victim.host, victim.port), timeout=PATIENCE_S) as sock:
            try:
                for at in range(0, len(data), step := chance.choice([1 << 20, 7, 64])):
                    sock.sendall(data[at : at + step])
                sock.shutdown(socket.SHUT_WR)
                answer = b""
                while part := sock.recv(1 << 16):
                    answer += part
            except ConnectionError:
                continue  # reset: it said more than was read
        assert b"HTTP/1.1 500" not in answer, (seed, n, data)
    assert victim.get("/healthz").status == 200
    assert "Traceback" not in victim.log
