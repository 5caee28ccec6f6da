# SPDX-License-Identifier: MIT
"""Feeds the monitor's ingests valid input, mutated at random: `python -m tests.fuzz.fuzz_ingest [SECONDS [SEED]]`.

Heartbeats, lists, events, pings and datagrams. Whatever comes, each is taken or refused with a reason that there is,
the counts add up, and what the fast path knows again is what a parser would say. Each trial has a seed of its own,
counted up from SEED (at random without one); that of a trial that fails is printed. Without heartfelt[monitor] there
is nothing to do.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import sys
import time

from tests.fuzz import time_limit

if importlib.util.find_spec("msgspec") is None:
    print("0 inputs: heartfelt[monitor] is not installed")
    sys.exit(0)

from heartfelt.errors import FrameError
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import Intake, UdpServer
from heartfelt.monitor.ingest.batch import Batch
from heartfelt.monitor.ingest.decode import decode_beat
from heartfelt.monitor.ingest.intake import REFUSALS
from heartfelt.monitor.ingest.ping import Pings
from heartfelt.monitor.model import Limits
from heartfelt.testing import ManualClock
from heartfelt.wire import pack

LIMITS = Limits(meta_bytes=2000, event_bytes=1000, beats_in_body=50, instances=500, key_bytes=64)
REASONS = {
    *("json", "field", "key", "key_size", "meta_size", "service_missing", "instance_missing", "instances", "events"),
    *(
        "instances_of_client",
        "beats_in_body",
        "event_size",
        "format",
        "gzip",
        "gunzip_limit",
        "query",
        "word",
        "token",
        "rate",
    ),
}
SPECIAL = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\n",
    b" ",
    b"0",
    b"-1",
    b"1e9",
    b"null",
    b"true",
]
SPECIAL += [
    b',"heartbeatTime":',
    b',"lastHeartbeatTime":5',
    b',"lagMs":',
    b',"beat":7',
    b"\\u0000",
    b"\\ud800",
    b'"x":{',
]
SPECIAL += [
    b"9" * 15,
    b"9" * 16,
    b"[" * 2000,
    b"%2F",
    b"%",
    b"/ok",
    b"/start",
    b"?timeout=1d",
    b"Bearer x\n",
    b"\x1f\x8b",
]


def heartbeat(chance: random.Random, n: int) -> bytes:
    beat: dict[str, object] = {"service": f"s-{n % 3}", "instanceId": f"i-{n}", "ip": ["10.0.0.1"]}
    if chance.random() < 0.3:
        beat["pluginInfoMap"] = {"p": {"name": "p", "version": "1", "extInfo": {"a": chance.choice("xyz")}}}
    tail = {"heartbeatTime": 1000 + n, "lastHeartbeatTime": n, "lagMs": chance.choice((0, 5000)), "beat": n}
    beat.update({name: tail[name] for name in tail if chance.random() < 0.9})
    if chance.random() < 0.05:
        beat["goodbye"] = True
    return json.dumps(beat, separators=(",", ":") if chance.random() < 0.8 else None).encode()


def mutated(text: bytes, chance: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5, 20))):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(5)
        if what == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            del data[at : at + chance.choice((1, 2, 10, 100))]
        elif what == 2:
            data[at:at] = chance.choice(SPECIAL)
        elif what == 3:
            begin = chance.randrange(len(data) + 1)
            data[at:at] = data[begin : begin + chance.choice((1, 8, 100))]
        elif at < len(data):
            data[at] = chance.randrange(256)
    return bytes(data)


class World:
    """Lives for many trials: what is learned in one must be right in the next."""

    def __init__(self) -> None:
        self.registry = Registry(clock=ManualClock(), limits=LIMITS)
        self.intake = Intake(self.registry, LIMITS)
        self.batch = Batch(self.intake, "http")
        self.pings = Pings(self.intake)
        self.udp = UdpServer(self.intake)

    def one(self, text: bytes) -> None:
        """A heartbeat: taken, or refused, as a parser alone would have it."""
        try:
            expected = decode_beat(text, "http", "p", meta_bytes=LIMITS.meta_bytes)
        except REFUSALS as error:
            expected = None
            reason = error.reason
        try:
            instance = self.intake.take(text, "http", "p")
        except REFUSALS as error:
            assert error.reason in REASONS, error.reason
            assert expected is not None or error.reason == reason, (error.reason, reason)
            return
        assert expected is not None, "taken, though it cannot be parsed"
        assert (instance.service, instance.instance_id) == (expected.service, expected.instance_id)
        if not expected.goodbye:
            assert instance.meta == expected.meta, (text, instance.meta, expected.meta)

    def many(self, body: bytes) -> None:
        try:
            # What is wrong within a heartbeat's strings is a fault of that heartbeat, not of the list.
            n = len(json.loads(body.decode(errors="replace"), strict=False))
            is_list = body.lstrip(b" \t\r\n")[:1] == b"["
        except (ValueError, RecursionError, TypeError):
            n, is_list = -1, False
        try:
            texts = self.batch.split(body, "p")
        except REFUSALS as error:
            assert error.reason in ("json", "beats_in_body"), error.reason
            return
        assert is_list and texts.n == n, (body, texts.n, n)
        while self.batch.take_some(texts):
            pass
        assert texts.taken + texts.refused_total == n

    def events(self, text: bytes) -> None:
        try:
            self.intake.events(text, "sermant", "p", {"i-1": "s-1"}.get)
        except REFUSALS as error:
            assert error.reason in REASONS, error.reason

    def ping(self, path: bytes, query: bytes, body: bytes) -> None:
        try:
            self.pings.take(b"/ping/" + path, "", query, body, "p")
        except REFUSALS as error:
            assert error.reason in REASONS, error.reason

    def datagrams(self, several: list[bytes]) -> None:
        self.udp._waiting.extend((data, "p") for data in several)
        while self.udp._waiting:
            self.udp._handle_some()

    def close(self) -> None:
        for via, reason in self.intake.counters.refused:
            assert reason in REASONS, (via, reason)
        assert len(self.registry) <= LIMITS.instances
        self.registry.close()


def trial(world: World, seed: int) -> None:
    chance = random.Random(seed)
    n = chance.randrange(30)
    what = chance.randrange(5)
    if what == 0:
        world.one(mutated(heartbeat(chance, n), chance))
    elif what == 1:
        joined = chance.choice((b",", b", ")).join(
            heartbeat(chance, n + k) for k in range(chance.choice((0, 1, 3, 20, 60)))
        )
        world.many(mutated(b"[" + joined + b"]", chance))
    elif what == 2:
        event = {"time": 5, "scope": "s", "eventLevel": "NORMAL", "eventType": "LOG", "eventInfo": {"name": "x" * n}}
        world.events(mutated(json.dumps({"metaHash": "i-1", "events": [event] * 2}).encode(), chance))
    elif what == 3:
        path = mutated(b"job%%2F%d/%b" % (n, chance.choice((b"", b"ok", b"fail", b"start", b"7"))), chance)
        world.ping(
            path, mutated(chance.choice((b"", b"rid=a&timeout=5m", b"duration_ms=5")), chance), mutated(b"text", chance)
        )
    else:
        texts = [b"a/1\nb/2", b"k%d" % n, heartbeat(chance, n), pack(heartbeat(chance, n)), b"Bearer t\na"]
        world.datagrams([mutated(chance.choice(texts), chance) for _ in range(5)])


def main() -> int:
    logging.getLogger("heartfelt.monitor.ingest").setLevel(logging.CRITICAL)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(40)
    end = time.monotonic() + seconds
    time_limit.limit(seconds)
    seed = first
    world = World()
    while time.monotonic() < end:
        try:
            trial(world, seed)
            if seed % 2000 == 1999:
                world.close()
                world = World()
        except (Exception, FrameError):
            begin = max(first, seed - seed % 2000)
            print(f"seed {seed} fails, after those from {begin} on: {sys.argv[0]} 5 {begin}", file=sys.stderr)
            raise
        seed += 1
    world.close()
    print(f"{seed - first} inputs from seed {first} on: nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
