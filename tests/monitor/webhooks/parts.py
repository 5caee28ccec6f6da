# SPDX-License-Identifier: MIT
"""For the webhooks' tests: a store in memory, a clock that is set by hand, and a web server that misbehaves as told."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from heartfelt.monitor.model import AgentEvent, Change, Level, State
from heartfelt.monitor.reasons import Reason, text_reason
from heartfelt.monitor.store import Backlog, Delivery

LONG_S = 40
LEASE_MS = 60_000
START_MS = 1_790_000_000_000


def make_change(
    seq, *, time_ms=START_MS, service="shop", instance="i1", old="UP", new="LOST", level="EMERGENCY",
    reason="no beat for 60 s", **more,
):  # fmt: skip
    return Change(
        seq=seq,
        time_ms=time_ms,
        id=1,
        service=service,
        instance_id=instance,
        old=None if old is None else State(old),
        new=State(new),
        level=Level(level),
        reason=reason if isinstance(reason, Reason) else text_reason(reason),
        **more,
    )


def make_event(**more):
    given = {
        "time_ms": START_MS,
        "received_ms": START_MS,
        "service": "shop",
        "instance_id": "i1",
        "ip": "10.0.0.7",
        "scope": "framework",
        "level": Level.EMERGENCY,
        "type": "LOG",
        "info": {"name": "disk", "description": "full"},
    }
    return AgentEvent(**{**given, **more})


async def until(condition):
    give_up = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < give_up, "it did not come about"
        await asyncio.sleep(0.002)


class Clock:
    """Stands still but for `advance`. `pause` takes the place of waiting."""

    def __init__(self):
        self.ms = START_MS
        self._sleepers = []

    def wall_ms(self):
        return self.ms

    async def pause(self, event, seconds):
        tick = asyncio.Event()
        sleeper = (self.ms + seconds * 1000, tick)
        self._sleepers.append(sleeper)
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(tick.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sleepers.remove(sleeper)
            for wait in waits:
                wait.cancel()

    def advance(self, seconds):
        self.ms += round(seconds * 1000)
        for due_ms, tick in self._sleepers:
            if due_ms <= self.ms:
                tick.set()

    async def run(self, seconds, condition=lambda: False):
        """On, a second at a time, until so many have passed or the condition holds; whoever is awake has its turn."""
        for _ in range(int(seconds)):
            if condition():
                return
            self.advance(1)
            for _ in range(20):
                await asyncio.sleep(0)


class MemoryStore:
    """The part of the Store protocol that webhooks use. `broken`: every call of it fails."""

    def __init__(self):
        self.document = {}
        self.rows = []
        self.order = []
        self.told_of = {}
        self.stored_changes = []
        self.broken = False

    def _check(self):
        if self.broken:
            raise OSError("database is locked")

    def put_change(self, change):
        self.stored_changes.append(change)

    async def changes(self, *, id, service, before, limit):
        self._check()
        found = [c for c in reversed(self.stored_changes) if before is None or c.seq < before]
        return found[:limit]

    async def get_document(self, kind, name):
        self._check()
        return self.document.get((kind, name))

    async def put_document(self, kind, name, value):
        self._check()
        self.document[kind, name] = msgspec.json.decode(msgspec.json.encode(value))

    async def delete_document(self, kind, name):
        self._check()
        return self.document.pop((kind, name), None) is not None

    async def documents(self, kind):
        self._check()
        return {name: value for (of, name), value in self.document.items() if of == kind}

    def put_delivery(self, target, key, payload, *, subject="", level=Level.NORMAL):
        if not any(row["target"] == target and row["key"] == key for row in self.rows):
            self.rows.append(
                {
                    "number": len(self.rows) + 1,
                    "target": target,
                    "key": key,
                    "payload": msgspec.json.decode(msgspec.json.encode(payload)),
                    "created_ms": payload["time_ms"],
                    "attempts": 0,
                    "state": "waiting",
                    "next_ms": 0,
                    "answer": "",
                }
            )
            self.order.append((subject, list(Level).index(level)))

    async def next_deliveries(self, now_ms, limit, room=None):
        self._check()
        heads, seen = [], set()
        for row, (subject, level) in zip(self.rows, self.order, strict=True):
            if row["state"] in ("done", "failed") or (row["target"], subject) in seen:
                continue
            seen.add((row["target"], subject))
            if row["next_ms"] <= now_ms:
                heads.append((level, row["next_ms"], row["number"]))
        found, left = [], dict(room or {})
        for _, _, number in sorted(heads):
            row = self.rows[number - 1]
            if len(found) < limit and left.get(row["target"], limit) > 0:
                left[row["target"]] = left.get(row["target"], limit) - 1
                row["state"], row["next_ms"] = "claimed", now_ms + LEASE_MS
                row["attempts"] += 1
                found.append(Delivery(**row))
        return found

    async def finish_delivery(self, number, *, ok, retry_at_ms, answer, tried=True):
        self._check()
        row = self.rows[number - 1]
        if row["state"] in ("done", "failed"):
            return
        row["answer"] = answer
        row["attempts"] -= not tried
        row["state"] = "done" if ok else "failed" if retry_at_ms is None else "waiting"
        row["next_ms"] = retry_at_ms or 0

    async def drop_deliveries(self, target, answer, *, forget=False):
        self._check()
        if forget:
            self.told_of.pop(target, None)
        dropped = [row for row in self.rows if row["target"] == target and row["state"] in ("waiting", "claimed")]
        for row in dropped:
            row["state"], row["answer"] = "failed", answer
        return len(dropped)

    async def hasten_deliveries(self, target, now_ms):
        self._check()
        for row in self.rows:
            if row["target"] == target and row["state"] == "waiting":
                row["next_ms"] = min(row["next_ms"], now_ms)

    async def delivery_states(self, target, keys):
        self._check()
        return {row["key"]: row["state"] for row in self.rows if row["target"] == target and row["key"] in keys}

    def put_told(self, target, instances):
        told = self.told_of.setdefault(target, {})
        for who, keys in instances.items():
            if keys is None:
                told.pop(who, None)
            else:
                told[who] = keys

    async def told(self):
        self._check()
        return {target: dict(instances) for target, instances in self.told_of.items()}

    async def waiting_deliveries(self):
        self._check()
        found = {}
        for row in self.rows:
            if row["state"] not in ("done", "failed"):
                count, oldest_ms = found.get(row["target"], (0, row["created_ms"]))
                found[row["target"]] = (count + 1, min(oldest_ms, row["created_ms"]))
        return {target: Backlog(count=count, oldest_ms=oldest_ms) for target, (count, oldest_ms) in found.items()}

    async def deliveries(self, target, before, limit):
        self._check()
        rows = [
            r for r in reversed(self.rows) if target in (None, r["target"]) and (not before or r["number"] < before)
        ]
        return [Delivery(**row) for row in rows[:limit]]

    def states(self):
        return [row["state"] for row in self.rows]


class Hook:
    """A web server. `answer(request)` -> (status, headers, body), or "hang", "drip", "close", "rubbish", "endless"."""

    def __init__(self, answer=None, *, tls=None):
        self.requests = []
        self.answer = answer or (lambda request: (200, {}, b"ok"))
        self.open = 0
        self._tls = tls
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook/path-key-123?token=query-key-456"
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.open += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._one(reader, writer)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = {"line": first, "path": first.split()[1], "headers": headers, "body": body}
        self.requests.append(request)
        what = self.answer(request)
        if what == "hang":
            await reader.read()
        elif what == "rubbish":
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
        elif what in ("drip", "endless"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while True:
                writer.write(b"x" if what == "drip" else b"x" * 65536)
                await writer.drain()
                await asyncio.sleep(0.02 if what == "drip" else 0)
        elif what != "close":
            status, more, answer = what
            lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()

    @property
    def bodies(self):
        return [msgspec.json.decode(request["body"]) for request in self.requests]
