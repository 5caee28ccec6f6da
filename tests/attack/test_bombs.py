# SPDX-License-Identifier: MIT
"""Small messages with a large effect: gzip that unpacks to gigabytes, nesting, numbers and texts without end."""

from __future__ import annotations

import gzip
import socket
import zlib

import pytest

from heartfelt.wire import encode_frame
from tests.attack.victim import Victim

GROWTH = 40 << 20
MIB = 1 << 20


def gzip_bomb(mib):
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(pack.compress(b" " * MIB) for _ in range(mib)) + pack.flush()


BODIES = {
    "gzip of 1 GiB": (gzip_bomb(1024), "gzip"),
    "gzip of gzip": (gzip.compress(gzip_bomb(64)), "gzip"),
    "gzip cut off": (gzip_bomb(4)[:-20], "gzip"),
    "many gzip members": (gzip.compress(b"") * 50_000, "gzip"),
    "nesting": (b"[" * 2_000_000, None),
    "nested objects": (b'{"a":' * 500_000, None),
    "a number of a million digits": (b'{"service":"s","instanceId":"i","heartbeatTime":%b}' % (b"9" * 1_000_000), None),
    "an exponent": (b'{"service":"s","instanceId":"i","heartbeatTime":1e999999999}', None),
    "a text of 4 MB": (b'{"service":"%b","instanceId":"i"}' % (b"s" * (4 * MIB - 100)), None),
    "a million empty beats": (b"[" + b"{}," * 1_000_000 + b"{}]", None),
    "escapes": (b'{"service":"%b","instanceId":"i"}' % (b"\\u0000" * 500_000), None),
    "many fields": (b"{" + b",".join(b'"f%d":1' % n for n in range(200_000)) + b"}", None),
    "above the bound": (b" " * (8 * MIB), None),
}


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    with Victim(tmp_path_factory.mktemp("bombs") / "data") as victim:
        yield victim


@pytest.mark.parametrize("name", BODIES)
def test_bodies(victim, name):
    body, encoding = BODIES[name]
    headers = {"Content-Type": "application/json"} | ({"Content-Encoding": encoding} if encoding else {})
    victim.post("/api/v1/beats", body[: 4 * MIB - 1], headers=headers)  # what it costs once
    before = victim.memory()
    for path in ("/api/v1/beats", "/ping/bomb/fail", "/api/v1/webhooks", "/sermant/event/webhooks/test"):
        for _ in range(2):
            answer = victim.post(path, body, headers=headers)
            assert answer.status < 500, (path, answer.body)
            assert answer.status >= 400 or path.startswith("/ping"), (path, answer.status)
    assert victim.memory() - before < GROWTH


def test_frames(victim):
    before = victim.memory()
    for body, _ in BODIES.values():
        with socket.create_connection(("127.0.0.1", victim.ready["tcp"][1]), timeout=30) as agent:
            for data in (body[:900_000], gzip.compress(body)[:900_000]):
                try:
                    agent.sendall(encode_frame([(kind, data) for kind in (0, 1)]))
                except ConnectionError:
                    break
    assert victim.get("/readyz").status == 200
    assert victim.memory() - before < GROWTH
