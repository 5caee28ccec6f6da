# SPDX-License-Identifier: MIT
"""The promises of the link, while the network and the server fail at random."""

from __future__ import annotations

import random
import threading

import pytest

from heartfelt.monitor.store.redis.link import Command, Script, Unreachable

redis = pytest.importorskip("redis")
NOTE = Script("NOTE", "redis.call('INCR', KEYS[2]) return redis.call('RPUSH', KEYS[1], ARGV[1])")
SHARDS = 4


class Batches:
    """A thread that numbers commands of several shards, some of them scripts, and checks each batch of replies."""

    def __init__(self, link, name, seed):
        self.link, self.name, self.chance = link, name, random.Random(seed)
        self.sent = [0] * SHARDS
        self.done = [[] for _ in range(SHARDS)]
        self.refused = [[] for _ in range(SHARDS)]
        self.unknown = [[] for _ in range(SHARDS)]
        self.wrong = []
        self.rounds = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ends.is_set():
            try:
                self._round()
            except Exception as error:
                self.wrong.append(repr(error))
                return
            self.rounds += 1

    def _round(self):
        commands, numbers = [], []
        for _ in range(self.chance.randint(1, 12)):
            shard = self.chance.randrange(SHARDS)
            self.sent[shard] += 1
            key = f"{self.name}:{{{shard}}}"
            if self.chance.random() < 0.5:
                commands.append(Command(shard, (NOTE, self.sent[shard]), [key, f"{key}:count"]))
            else:
                commands.append(Command(shard, ("RPUSH", key, self.sent[shard])))
            numbers.append(self.sent[shard])
        failed = set()
        for command, number, reply in zip(commands, numbers, self.link.execute(commands), strict=True):
            if isinstance(reply, Unreachable):
                failed.add(command.shard)
                (self.refused if reply.refused else self.unknown)[command.shard].append(number)
            elif command.shard in failed or not isinstance(reply, int):
                self.wrong.append((command, reply))
            else:
                self.done[command.shard].append(number)

    def end(self):
        self._ends.set()
        self._thread.join()

    def check(self, read):
        """read(key): the list that the server has."""
        assert not self.wrong
        for shard in range(SHARDS):
            found = [int(one) for one in read(f"{self.name}:{{{shard}}}")]
            assert found == sorted(set(found))  # in order, and none twice
            assert set(self.done[shard]) <= set(found)
            assert not set(self.refused[shard]) & set(found)
            assert set(found) <= {*self.done[shard], *self.unknown[shard]}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_said_of_each_command_is_true(make_redis, link_to, partition, eventually, seed):
    server = make_redis()
    network = partition(server.port)
    link = link_to(network.url, timeout_s=0.1)
    chance = random.Random(seed)
    threads = [Batches(link, f"chaos{n}", f"{seed} {n}") for n in range(2)]

    def some_rounds():
        wanted = [one.rounds + chance.randint(1, 30) for one in threads]
        eventually(lambda: all(one.wrong or one.rounds >= n for one, n in zip(threads, wanted, strict=True)))

    faults = [
        network.reset,
        lambda: server.ask("SCRIPT", "FLUSH"),
        lambda: server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
        lambda: server.ask("CONFIG", "SET", "maxmemory", "1"),
        lambda: server.ask("CONFIG", "SET", "min-replicas-to-write", "1"),
        network.cut,
        lambda: network.cut(answers=True),
        server.stop,
    ]
    for _ in range(12):
        chance.choice(faults)()
        some_rounds()
        server.cont()
        network.heal()
        server.ask("CONFIG", "SET", "maxmemory", "0", "min-replicas-to-write", "0")
        eventually(lambda: link.servers()[0].up)
        some_rounds()
    for one in threads:
        one.end()
    for one in threads:
        one.check(lambda key: server.ask("LRANGE", key, 0, -1))
        assert any(one.done) and any(one.refused)
    assert any(any(one.unknown) for one in threads)


def test_slots_move_to_and_fro(redis_cluster, link_to, eventually):
    """Key by key, so that some commands find their keys here and some there."""
    from heartfelt.monitor.store.redis.cluster import slot_of

    link = link_to(redis_cluster.url, timeout_s=5)
    threads = [Batches(link, f"moves{n}", n) for n in range(2)]
    chance = random.Random(3)

    def more():
        wanted = [one.rounds + 10 for one in threads]
        eventually(lambda: all(one.wrong or one.rounds >= n for one, n in zip(threads, wanted, strict=True)))

    for _ in range(6):
        shard = chance.randrange(SHARDS)
        slot, source = slot_of(shard), redis_cluster.server_of(slot_of(shard))
        target = chance.choice([one for one in redis_cluster.primaries() if one is not source])
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        more()
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.ask("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            more()
        for one in (target, source):
            one.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        eventually(lambda s=slot, t=target: redis_cluster.server_of(s) is t)
        more()
    for one in threads:
        one.end()
    assert link.stats()["repeated"] > 10
    for one in threads:
        one.check(lambda key: link.call(int(key[-2]), "LRANGE", key, 0, -1))
        assert sum(map(len, one.done)) > 5 * sum(map(len, one.unknown))
