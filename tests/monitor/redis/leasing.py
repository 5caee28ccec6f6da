# SPDX-License-Identifier: MIT
"""For tests of leases: a link to one server whose answers can be lost, names, rows, changes, and fleets of monitors."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from heartfelt.monitor.model import Change, InstanceRow, Level, State
from heartfelt.monitor.reasons import NO_REASON
from heartfelt.monitor.store.redis.keys import Entry, Keys, field_of, name_of, parts_of
from heartfelt.monitor.store.redis.leases import Adopted, Leases, Write
from heartfelt.monitor.store.redis.link import Command, Script, Unreachable
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_row
from heartfelt.monitor.store.shared_meta import SharedMeta

LOST = Unreachable("the connection was lost")
REFUSED = Unreachable("Redis refuses to write", refused=True)


class OneServer:
    """A link to one server. `lose(command) -> bool` says whose answer is lost, and everything's after it, of that
    shard; with `before`, they are not executed either."""

    def __init__(self, port: int) -> None:
        self.client = redis.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0))
        self.client.response_callbacks.clear()  # a Link's replies are as they come
        self.twice = False
        """Each command is executed twice, and the second answer counts: the first one got lost, and a retry did it."""
        self.lose: Callable[[Command], bool] | None = None
        self.before = False
        self.calls: list[str] = []
        self.held: list[Command] = []
        """Commands that were not executed, for a test that lets them arrive late."""

    def execute(self, commands: Iterable[Command]) -> list[Any]:
        commands = list(commands)
        lost: set[int] = set()
        pipeline = self.client.pipeline(transaction=False)
        sent: list[Command | None] = []
        for command in commands:
            if self.lose is not None and (command.shard in lost or self.lose(command)):
                lost.add(command.shard)
                if self.before:
                    self.held.append(command)
                    sent.append(None)
                    continue
            sent.append(command)
        to_send = [command for command in sent if command is not None]
        for _ in range(1 + self.twice):
            for command in to_send:
                self._queue(pipeline, command)
            replies = iter(list(self._replies(pipeline, to_send)))
        found = [LOST if command is None else next(replies) for command in sent]
        return [LOST if command.shard in lost else reply for command, reply in zip(commands, found, strict=True)]

    def _queue(self, pipeline: Any, command: Command) -> None:
        first, *rest = command.words
        self.calls.append(first.name if isinstance(first, Script) else first)
        if isinstance(first, Script):
            sha = hashlib.sha1(first.text.encode()).hexdigest()
            pipeline.execute_command("EVALSHA", sha, len(command.keys), *command.keys, *rest)
        else:
            pipeline.execute_command(*command.words)

    def _replies(self, pipeline: Any, commands: Sequence[Command]) -> Any:
        try:
            replies = pipeline.execute(raise_on_error=False)
        except redis.ConnectionError as error:
            replies = [Unreachable(str(error))] * len(commands)
        for command, reply in zip(commands, replies, strict=True):
            first, *rest = command.words
            if isinstance(reply, redis.exceptions.NoScriptError):
                try:
                    reply = self.client.eval(first.text, len(command.keys), *command.keys, *rest)
                except redis.ResponseError as error:
                    reply = error
            if isinstance(reply, (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)) or (
                isinstance(reply, redis.ResponseError) and "OOM" in str(reply)
            ):
                reply = Unreachable(str(reply), refused=True)
            yield reply

    def call(self, shard: int, *words: Any, keys: Sequence[str] = ()) -> Any:
        (reply,) = self.execute([Command(shard, words, keys)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def now_ms(self, shard: int) -> int:
        seconds, us = map(int, self.client.time())
        return seconds * 1000 + us // 1000

    def close(self) -> None:
        self.client.close()


class CutOff:
    """A relay that ends a connection in place of the reply to a script, once. cut: waits until what was sent has been
    executed: it may be on its way in parts, and the reply to the first of them comes before the last one is sent."""

    def __init__(self, port: int) -> None:
        self.cut: Callable[[], object] | None = None
        self._calls_script: set[socket.socket] = set()
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._relay, args=(*pair, pair[0] is server)))
                self._threads[-1].start()

    def _relay(self, source: socket.socket, to: socket.socket, is_reply: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if not is_reply and self.cut is not None and b"EVALSHA" in data:  # the link also asks for the time
                    self._calls_script.add(source)
                if is_reply and to in self._calls_script and self.cut is not None:
                    cut, self.cut = self.cut, None
                    cut()
                    break
                to.sendall(data)
        except OSError:
            pass
        for one in (source, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        for one in self._sockets:
            one.close()


def name(n: int, service: str = "shop") -> bytes:
    return name_of(service, f"instance-{n}")


def row(name: bytes, entry: Entry, state: State = State.UP, **fields: Any) -> InstanceRow:
    service, instance_id = parts_of(name)
    given = {"meta": {"ip": ["10.0.0.1"]}, "via": "http", "peer": "10.0.0.1", "reason": NO_REASON, **fields}
    return InstanceRow(
        id=entry.id, service=service, instance_id=instance_id, state=state, since_ms=1, first_seen_ms=1,
        last_beat_ms=2, **given,
    )  # fmt: skip


def change(name: bytes, entry: Entry, new: State = State.UP, old: State | None = None) -> Change:
    service, instance_id = parts_of(name)
    return Change(
        seq=0, time_ms=1, id=entry.id, service=service, instance_id=instance_id, old=old, new=new,
        level=Level.NORMAL, reason=NO_REASON,
    )  # fmt: skip


def join(name: bytes, entry: Entry, token: int = 0, **fields: Any) -> Write:
    return Write(name, entry, row(name, entry, State.NEW, **fields), [change(name, entry, State.NEW)], token=token)


def lost(name: bytes, entry: Entry, deadline_ms: int, token: int = 0) -> Write:
    new = [change(name, entry, State.LOST, State.UP)]
    return Write(name, entry, row(name, entry, State.LOST), new, deadline_ms, token=token)


def removed(name: bytes, entry: Entry, token: int = 0) -> Write:
    return Write(name, entry, None, [change(name, entry, State.REMOVED, State.LOST)], token=token)


class Fleet:
    """Makes monitors on one server, with a prefix of its own."""

    def __init__(self, port: int, shards: int = 2) -> None:
        self.port = port
        self.keys = Keys(f"t{uuid.uuid4().hex[:8]}", shards)
        self.client = redis.Redis(port=port, protocol=2)
        self.links: list[OneServer] = []
        self.now_s = 0.0

    def link(self) -> OneServer:
        self.links.append(OneServer(self.port))
        return self.links[-1]

    def make(self, *, link: OneServer | None = None, lease_ms: int = 600_000, **options: Any) -> Leases:
        return Leases(
            link or self.link(), self.keys, uuid.uuid4().hex, lease_ms=lease_ms, clock=lambda: self.now_s, **options
        )

    def started(self, **options: Any) -> Leases:
        leases = self.make(**options)
        leases.start()
        return leases

    def joined(self, leases: Leases, names: Sequence[bytes], deadline_ms: int = 0) -> list[Entry]:
        entries = leases.reserve(names)
        assert all(type(entry) is Entry for entry in entries), entries
        for entry in entries:
            leases.set_deadline(entry, deadline_ms)
        answers = leases.change([join(one, entry) for one, entry in zip(names, entries, strict=True)])
        assert all(len(answer.seqs) == 1 for answer in answers), answers
        return entries

    def end_lease(self, leases: Leases, shards: Iterable[int] | None = None) -> None:
        """Ends the leases of a monitor as their time would."""
        for shard in range(self.keys.shards) if shards is None else shards:
            self.client.delete(self.keys.shard(shard, "lease", leases.monitor_id))

    def past_ms(self) -> int:
        seconds, us = self.client.time()
        return seconds * 1000 + us // 1000 - 1

    def events(self) -> list[tuple[int, dict[bytes, bytes]]]:
        """Returns seq and fields of all changes."""
        found = []
        for shard in range(self.keys.shards):
            for id, fields in self.client.xrange(self.keys.shard(shard, "ev")):
                found.append((int(id.partition(b"-")[0]) * 64 + shard, fields))
        return found

    def check(self) -> dict[bytes, tuple[Entry, str, bytes | None]]:
        """Checks what must always be true in Redis. Returns entry, owner and row of each name."""
        found: dict[bytes, tuple[Entry, str, bytes | None]] = {}
        for shard in range(self.keys.shards):
            own = {
                int(page): mark.decode() for page, mark in self.client.hgetall(self.keys.shard(shard, "own")).items()
            }
            slots = self.client.hgetall(self.keys.shard(shard, "slot"))
            for page, mark in own.items():
                fence = mark.rpartition(":")[2]
                assert self.client.strlen(self.keys.shard(shard, "page", page, fence)) == 4096
            pages = list(self.client.scan_iter(f"{self.keys.prefix}:{{{shard}}}:page:*", count=10_000))
            assert len(pages) == len(own), "a page of nobody"
            places: dict[tuple[int, int], bytes] = {}
            for one, packed in slots.items():
                entry = Entry.unpack(packed)
                data = self.client.hget(self.keys.shard(shard, "rows", entry.page), entry.index)
                has_row = data is not None and data[:8] == packed[6:]
                if has_row:
                    assert places.setdefault((entry.page, entry.index), one) == one, "a slot has two names"
                try:
                    stored = unpack_row(data[8:], SharedMeta()) if has_row else None
                except Unreadable:
                    stored = None
                if stored is not None:
                    one = name_of(stored.service, stored.instance_id)
                    assert slots[field_of(one)] == packed
                found[one] = entry, own.get(entry.page, "").rpartition(":")[0], data if has_row else None
            n_rows = sum(self.client.hlen(key) for key in self.client.scan_iter(
                f"{self.keys.prefix}:{{{shard}}}:rows:*", count=10_000))  # fmt: skip
            assert n_rows == len(places), "a row without a name"
        ids = [entry.id for entry, _, _ in found.values()]
        assert len(set(ids)) == len(ids), "an id has two names"
        return found

    def close(self) -> None:
        for link in self.links:
            link.close()
        for key in self.client.scan_iter(f"{self.keys.prefix}:*", count=10_000):
            self.client.delete(key)
        self.client.close()


def poll(what: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Waits until something is true, and returns it."""
    ends_s = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < ends_s
        time.sleep(0.005)
    return found


def entries_of(adopted: Iterable[Adopted]) -> dict[bytes, Entry]:
    return {name_of(one.row.service, one.row.instance_id): one.entry for one in adopted}
