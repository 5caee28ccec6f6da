# SPDX-License-Identifier: MIT
"""Compares the lane with the general server: after any request, the next one gets the same answer from both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import re
import sys

import msgspec
import pytest

from heartfelt.monitor.web.auth import Auth, make_token
from tests.monitor.ingest.world import heartbeat
from tests.monitor.web.http1.lane_world import closed, ping, serving
from tests.monitor.web.http1.wire import split_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no lane elsewhere")

MADE = {
    "ingest": make_token("a", ["ingest"], 0),
    "read": make_token("b", ["read"], 0),
    "ping": make_token("c", [], 0, key="shop/nightly"),
    "admin": make_token("d", ["admin"], 0),
}
SECRETS = {name: secret.encode() for name, (secret, _) in MADE.items()}


def documents(*names):
    return {MADE[name][1].id: msgspec.to_builtins(MADE[name][1]) for name in names}


def basic(user, password):
    return b"Authorization: Basic " + base64.b64encode(user + b":" + password)


def bearer(secret):
    return b"Authorization: Bearer " + secret


def encoded(data):
    return b"".join(b"%%%02X" % c for c in data)


KNOWN = heartbeat(at=1_700_000_000_000, number=3)
LATER = heartbeat(at=1_700_000_001_000, number=4)
OF_ANOTHER = heartbeat(service="store", at=1_700_000_000_000, number=3)
HOSTS = (b"localhost", b"monitor.example", b"127.0.0.1:8900", b"a b", b"a/b", b"u@localhost", b"localhost:8x", b"[::1")
ALLOWED = ((), ("monitor.example",), ("*",))
CREDENTIALS = (
    None,
    *map(bearer, (*SECRETS.values(), b"x")),
    basic(b"any", SECRETS["ingest"]),
    basic(SECRETS["ingest"], b""),
    basic(b"any", SECRETS["read"]),
    b"Authorization: Basic !",
    b"Authorization: " + SECRETS["ingest"],
)
_PING = SECRETS["ping"]
TARGETS = (
    *(b"/ping/" + key for key in (b"a", b"b/c", b"b%2Fc", b"%61", b"a/start", b"a/fail", b"a//", b"/a", b"", b"a/x")),
    *(b"/ping/" + key for key in (b"hf_a", b"%C3%A9t%C3%A9", b"%FF", b"a%00b", b"a/%73tart", b"b%2fc", b"a%2Fstart")),
    *(b"/ping?key=" + key for key in (b"a", b"b%2Fc", b"b/c", b"a&event=ok", _PING, encoded(_PING))),
    *(b"/ping/" + rest for rest in (_PING, _PING + b"/", _PING + b"/start", _PING + b"/0", encoded(_PING))),
    *(b"/ping/" + rest for rest in (b"/" + _PING, b"a/" + _PING, b"a?x=" + _PING, _PING[:-3], SECRETS["read"])),
    *(b"/ping/a" + rest for rest in (b"?", b"?every=1m", b"?timeout=5", b"?rid=7", b"/ok?rid=7", b"?key=a")),
    b"/ping/shop%2Fnightly", b"/ping/shop/nightly", b"//ping/a", b"/ping", b"/pings",
)  # fmt: skip
BODIES = (
    KNOWN, LATER, OF_ANOTHER, KNOWN + b"x", KNOWN + KNOWN, b" " + LATER + b"\r\n", KNOWN.replace(b"1.0", b"2.0"),
    LATER.replace(b'"beat":4', b'"beat":4,"x":1'), b"[" + KNOWN + b"]", b"{}", b"", KNOWN[:-1],
)  # fmt: skip
QUERIES = (b"", b"", b"", b"?", b"?x=1")


def request(chance):
    method = chance.choice((b"GET", b"HEAD", b"POST", b"GET"))
    lines = [line for line in (chance.choice(CREDENTIALS), chance.choice((None, None, b"X-Own: 1"))) if line]
    if chance.random() < 0.4:
        method = chance.choice((b"POST", b"POST", b"POST", b"GET"))
        path = b"/api/v1/beats" + chance.choice(QUERIES)
        data = ping(path, *lines, method=method, body=chance.choice(BODIES))
    else:
        text = chance.choice((b"", b"", b"a text", b"with " + _PING))
        data = ping(chance.choice(TARGETS), *lines, method=method, body=text if method == b"POST" else b"")
    return data.replace(b"Host: localhost", b"Host: " + chance.choice((b"localhost", *HOSTS))), method.decode()


def shown(answers):
    out = []
    for one in answers:
        headers = {name: value for name, value in one.headers.items() if name != "date"}
        out.append((one.status, headers, re.sub(rb"\d{13}", b"TIME", one.body)))
    return out


class KeptConnection:
    """Stays open as long as the server keeps it; then another one is opened."""

    def __init__(self, world):
        self._world = world
        self._streams = None

    async def answer(self, data, method):
        for _ in range(2):
            if self._streams is None:
                self._streams = await self._world.connect()
            reader, writer = self._streams
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = b"" if method == "HEAD" or length is None else await reader.readexactly(int(length[1]))
                answer = split_answers(head + body, [method])[0]
                if answer.headers.get("connection") == "close":
                    await self.close()
                return answer
            await self.close()
        raise AssertionError(f"no answer to {data!r}")

    async def close(self):
        if self._streams is not None:
            await closed(self._streams[1])
        self._streams = None


async def collect(seed, n, *, with_lane):
    """The answers to n random requests, between which tokens and names change, and what is known afterwards."""
    chance = random.Random(seed)
    auth = Auth(None, needed=seed % 3 > 0, wall_ms=lambda: 0)
    auth.take(documents(*MADE))
    async with serving(with_lane=with_lane, auth=auth.allows, tokens=auth) as world:
        if with_lane:
            auth.on_revoked.append(world.lane.forget_allowed)
            world.shield.on_change.append(world.lane.forget_allowed)
        clients = [KeptConnection(world) for _ in range(3)]
        found = []
        recent = [request(chance) for _ in range(12)]
        for _ in range(n):
            event = chance.random()
            if event < 0.02:
                auth.take(documents(*chance.sample(list(MADE), 3)))
            elif event < 0.04:
                auth.take(documents(*MADE))
            elif event < 0.07:
                world.shield.allow(chance.choice(ALLOWED))
            elif event < 0.2:
                recent[chance.randrange(12)] = request(chance)
            data, method = chance.choice(recent)
            found.append((data, shown([await chance.choice(clients).answer(data, method)])))
        for client in clients:
            await client.close()
        intake, registry = world.world.intake, world.world.registry
        counts = intake.stats() | world.ingest.stats()
        state = {
            (one.service, one.instance_id): (one.beats, one.state, one.peer, one.via) for one in registry.instances()
        }
        served = world.lane.stats()["requests"] if with_lane else 0
        events = [(one.service, one.info["name"], one.info.get("text")) for one in world.world.events]
    counts = {name: value for name, value in counts.items() if name != "known_bytes"}
    return found, counts, state, auth.refused, world.shield.stats(), events, served


@pytest.mark.parametrize("seed", range(4))
def test_what_the_lane_remembers_changes_no_answer(seed):
    with_lane = asyncio.run(collect(seed, 300, with_lane=True))
    without = asyncio.run(collect(seed, 300, with_lane=False))
    for (data, answer), (_, expected) in zip(with_lane[0], without[0], strict=True):
        assert answer == expected, data
    assert with_lane[1:-1] == without[1:-1]
    assert with_lane[-1] > 10
