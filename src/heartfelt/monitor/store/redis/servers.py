# SPDX-License-Identifier: MIT
"""Executes commands on the servers that have their shards. `make_link` in opening.py makes it. Imports redis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from heartfelt.monitor.store.redis.address import CLUSTER, SENTINEL, RedisAddress, RedisOptions
from heartfelt.monitor.store.redis.clock import JUMP_MS, PrimaryClock
from heartfelt.monitor.store.redis.cluster import Cluster
from heartfelt.monitor.store.redis.dial import Dialer
from heartfelt.monitor.store.redis.link import Command, Script, ServerState, Unreachable
from heartfelt.monitor.store.redis.node import FAILURES, Node, Pipe, Sent, TimeReading
from heartfelt.monitor.store.redis.refusals import NotExecuted, refusal_of, why
from heartfelt.monitor.store.redis.topology import Destination, Sentinel, Single, Topology

log = logging.getLogger("heartfelt.redis")

ROUNDS = 4
"""How often a command is sent, at the most: the later times because a server has refused it, and named another one."""
CHECK_S = 1.0
"""How often each server is asked for its TIME, and Sentinels for the primary."""
FIRST_CHECK_S = 0.05
"""How soon a server is tried again after it has failed; then twice as long, up to CHECK_S."""
KINDS: dict[str, Callable[[RedisAddress, Dialer, Callable[[], None]], Topology]] = {
    SENTINEL: Sentinel,
    CLUSTER: Cluster,
}


class _Lost:
    """Stands for a reply that did not come: whether the command was executed is not known."""

    def __init__(self, text: str) -> None:
        self.text = text


class RedisLink:
    """Implements `link.Link`. A thread of its own checks the servers, brings back those that were down, and reads their
    clocks. on_jump: called by that thread with the milliseconds by which a primary's clock has jumped ahead."""

    def __init__(
        self, address: RedisAddress, options: RedisOptions, on_jump: Callable[[float], None] | None = None
    ) -> None:
        self._timeout_s = options.timeout_s
        self._on_jump = on_jump
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._topology = KINDS.get(address.kind, Single)(address, Dialer(address, options), self._wake)
        self._lock = threading.Lock()
        self._clocks: dict[int, PrimaryClock] = {}
        self._stats = dict.fromkeys(
            ("pipelines", "commands", "refused", "unknown", "repeated", "jumps_ahead", "jumps_back"), 0
        )
        self._watch = threading.Thread(target=self._watch_servers, name="heartfelt-redis", daemon=True)
        self._watch.start()

    # -- commands

    def execute(self, commands: Iterable[Command]) -> list[Any]:
        given = list(commands)
        words = [_words(command) for command in given]
        replies: list[Any] = [None] * len(given)
        waiting: dict[int, list[int]] = {}
        for n, command in enumerate(given):
            waiting.setdefault(command.shard, []).append(n)
        targets: dict[int, Destination] = {}
        for left in reversed(range(ROUNDS)):
            for shard in [*waiting]:
                if shard not in targets:
                    try:
                        targets[shard] = self._topology.target(shard)
                    except Unreachable as error:
                        for n in waiting[shard]:
                            replies[n] = error
                        self._count("refused", len(waiting.pop(shard)))
            outcomes = self._send(words, waiting, targets)
            waiting, old = {}, waiting
            for shard, numbers in old.items():
                rest = _settle(numbers, outcomes, replies)
                if not rest:
                    continue
                first = outcomes[rest[0]]
                target = None
                if left and all(isinstance(outcomes[n], NotExecuted) for n in rest):
                    target = self._topology.again(shard, first, targets[shard])
                if target is None:
                    self._give_up(given, rest, outcomes, replies, targets[shard].node)
                else:
                    waiting[shard], targets[shard] = rest, target
                    self._count("repeated", len(rest))
            if not waiting:
                break
        self._count("commands", len(given))
        return replies

    def call(self, shard: int, *words: Any, keys: Sequence[str] = ()) -> Any:
        (reply,) = self.execute([Command(shard, words, keys)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _send(
        self, words: list[Sequence[Any]], waiting: dict[int, list[int]], targets: dict[int, Destination]
    ) -> dict[int, Any]:
        """Sends what waits, to all servers before it reads the first reply. Returns the outcome of each command: a
        reply, a NotExecuted, Unreachable if nothing was sent, or _Lost."""
        by_node: dict[Node, list[tuple[int, bool]]] = {}
        for shard, numbers in waiting.items():
            node, asking = targets[shard]
            by_node.setdefault(node, []).extend((n, asking) for n in numbers)
        outcomes: dict[int, Any] = {}
        sent: list[tuple[Node, Pipe, list[Sent], list[int]]] = []
        try:
            for node, items in by_node.items():
                items.sort()
                numbers = [n for n, _ in items]
                try:
                    pipe = node.take()
                except Unreachable as error:
                    outcomes.update(dict.fromkeys(numbers, error))
                    continue
                try:
                    plan = pipe.send([words[n] for n in numbers], asking=[asking for _, asking in items])
                except FAILURES as error:
                    node.lost(pipe, error)
                    outcomes.update(dict.fromkeys(numbers, _Lost(_lost_text(node, error))))
                else:
                    sent.append((node, pipe, plan, numbers))
            self._count("pipelines", len(sent))
            ends_s = time.monotonic() + self._timeout_s
            while sent:
                node, pipe, plan, numbers = sent[0]
                got, failure = pipe.receive(plan, ends_s)
                del sent[0]
                if failure is None:
                    node.give(pipe)
                else:
                    node.lost(pipe, failure)
                    outcomes.update(dict.fromkeys(numbers[len(got) :], _Lost(_lost_text(node, failure))))
                outcomes.update((n, _outcome(reply)) for n, reply in zip(numbers, got, strict=False))
                self._note(node, words, numbers, outcomes)
        finally:
            for node, pipe, _, _ in sent:  # interrupted: replies are outstanding
                node.lost(pipe, InterruptedError())
        return outcomes

    def _note(self, node: Node, words: list[Sequence[Any]], numbers: list[int], outcomes: dict[int, Any]) -> None:
        """Tells the node what it has refused, or executes again."""
        for n in numbers:
            outcome = outcomes[n]
            if isinstance(outcome, NotExecuted) and outcome.code not in ("MOVED", "ASK", "TRYAGAIN", "NOSCRIPT"):
                node.refused(_name(words[n]), outcome)
        if node.is_refusing:
            node.worked({_name(words[n]) for n in numbers if not isinstance(outcomes[n], (NotExecuted, _Lost))})

    def _give_up(
        self, given: list[Command], rest: list[int], outcomes: dict[int, Any], replies: list[Any], node: Node
    ) -> None:
        for n in rest:
            outcome = outcomes[n]
            if isinstance(outcome, NotExecuted):
                error = Unreachable(f"Redis at {node.name} refuses the command: {outcome.text}", refused=True)
            elif isinstance(outcome, Unreachable):
                error = outcome
            elif isinstance(outcome, _Lost):
                error = Unreachable(outcome.text)
            else:
                error = Unreachable(f"an earlier command for the shard {given[n].shard} has failed at {node.name}")
            self._count("refused" if error.refused else "unknown")
            replies[n] = error

    # -- clocks

    def now_ms(self, shard: int) -> int:
        clock = self._clocks.get(shard)
        if clock is None:
            node = self._topology.target(shard).node
            reading = node.check() if node.is_up else None
            if reading is None:
                raise Unreachable(f"Redis at {node.name} cannot be reached: its time is not known", refused=True)
            made = PrimaryClock()
            made.feed(*reading)
            with self._lock:
                clock = self._clocks.setdefault(shard, made)
        return clock.now_ms(time.monotonic())

    def _feed(self, node: Node, reading: TimeReading) -> None:
        furthest_ms, back = 0.0, False
        with self._lock:
            clocks = [*self._clocks.items()]
        for shard, clock in clocks:
            try:
                if self._topology.target(shard).node is not node:
                    continue
            except Unreachable:
                continue
            jumped_ms = clock.feed(*reading)
            furthest_ms, back = max(furthest_ms, jumped_ms), back or jumped_ms < 0
        if back:
            self._count("jumps_back")
        if furthest_ms > JUMP_MS:
            self._count("jumps_ahead")
            log.warning("the clock of Redis at %s has jumped ahead by %.1f s", node.name, furthest_ms / 1000)
            if self._on_jump is not None:
                self._on_jump(furthest_ms)

    # -- the servers

    def _wake(self) -> None:
        """Has the servers checked at once. What the check itself finds does not count."""
        if threading.current_thread() is not self._watch:
            self._wanted.set()

    def _watch_servers(self) -> None:
        failures = 0
        while True:
            hurried = self._wanted.wait(min(CHECK_S, FIRST_CHECK_S * 2 ** (failures - 1)) if failures else CHECK_S)
            if self._closed.is_set():
                return
            self._wanted.clear()
            try:
                is_well = self._check()
            except Exception:  # a fault of this program: it must not end the checks
                log.exception("the check of the Redis servers has failed")
                is_well = False
            failures = 0 if is_well else 1 if hurried else min(failures + 1, 16)

    def _check(self) -> bool:
        is_well = True
        try:
            self._topology.refresh(probe=True)
        except Unreachable:
            is_well = False
        for node in sorted(self._topology.nodes(), key=lambda node: not node.is_up):
            if self._closed.is_set():
                break
            try:
                self._feed(node, node.check())
            except Unreachable:
                is_well = False
        return is_well

    def servers(self) -> list[ServerState]:
        return [node.state() for node in self._topology.nodes()]

    def trouble(self) -> str | None:
        if (text := self._topology.trouble()) is not None:
            return text
        states = sorted(self.servers(), key=lambda one: one.up)
        for one in states:
            if one.error is not None:
                what = "refuses commands" if one.up else "cannot be reached"
                return f"Redis at {one.name} {what}: {one.error}"
        return None

    def refuses_writes(self) -> str | None:
        for node in self._topology.nodes():
            if node.is_up and (why_not := node.no_writes) is not None:
                return f"Redis at {node.name} refuses to write: {why_not}"
        return None

    def stats(self) -> dict[str, int]:
        with self._lock:
            return dict(self._stats)

    def close(self) -> None:
        self._closed.set()
        self._wanted.set()
        self._topology.close()
        if self._watch is not threading.current_thread():
            self._watch.join(2 * self._timeout_s + 1)

    def _count(self, name: str, by: int = 1) -> None:
        if by:
            with self._lock:
                self._stats[name] += by


def _settle(numbers: list[int], outcomes: dict[int, Any], replies: list[Any]) -> list[int]:
    """Stores a shard's replies up to the first that is none. Returns the numbers from there on."""
    for k, n in enumerate(numbers):
        outcome = outcomes[n]
        if isinstance(outcome, (NotExecuted, _Lost, Unreachable)):
            return numbers[k:]
        replies[n] = outcome
    return []


def _outcome(reply: Any) -> Any:
    return (refusal_of(reply) or reply) if isinstance(reply, Exception) else reply


def _lost_text(node: Node, error: Exception) -> str:
    return f"Redis at {node.name} was lost before its reply came, so it is not known what it did: {why(error)}"


def _words(command: Command) -> Sequence[Any]:
    """Returns the words to send. Raises TypeError, or ValueError for no words."""
    if not command.words:
        raise ValueError("a command without words")
    first, *rest = command.words
    if isinstance(first, Script):
        return (first, len(command.keys), *map(_encoded, command.keys), *map(_encoded, rest))
    return tuple(map(_encoded, command.words))


def _encoded(word: Any) -> bytes | int | float:
    if type(word) is bytes:
        return word
    if isinstance(word, str):
        return word.encode("utf-8", "surrogatepass")
    if isinstance(word, (bytes, int, float)) and not isinstance(word, bool):
        return word
    if isinstance(word, (bytearray, memoryview)):
        return bytes(word)
    raise TypeError(f"a word of a command must be bytes, str, int or float, not {type(word).__name__}")


def _name(words: Sequence[Any]) -> str:
    first = words[0]
    if isinstance(first, Script):
        return first.name
    return first.decode("utf-8", "replace").upper() if isinstance(first, bytes) else str(first)
