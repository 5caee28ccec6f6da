# SPDX-License-Identifier: MIT
"""The link to a primary that Sentinels name."""

from __future__ import annotations

import logging
import threading

import pytest

from heartfelt.monitor.store.redis.link import Command, Script, Unreachable
from tests.monitor.redis.servers import wait

redis = pytest.importorskip("redis")
COUNT = Script("COUNT", "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")


class Counting:
    """A thread that counts in Redis without a pause, and notes what became of each step."""

    def __init__(self, link, shard, key):
        self.link, self.shard, self.key = link, shard, key
        self.done, self.unknown, self.refused = [], [], []
        self.wrong = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        n = 0
        while not self._ends.is_set():
            n += 1
            command = Command(self.shard, (COUNT, f"{n}"), [f"{self.key}:list", f"{self.key}:count"])
            (reply,) = self.link.execute([command])
            if isinstance(reply, int):
                self.done.append(n)
            elif isinstance(reply, Unreachable):
                (self.refused if reply.refused else self.unknown).append(n)
                if reply.refused:
                    self._ends.wait(0.001)
            else:
                self.wrong.append(reply)

    def end(self):
        self._ends.set()
        self._thread.join()


def test_a_failover_while_commands_run(sentinel_trio, link_to, eventually, caplog):
    caplog.set_level(logging.INFO, "heartfelt.redis")
    link = link_to(sentinel_trio.url, timeout_s=2)
    sentinel_trio.primary.ask("FLUSHALL")
    old = sentinel_trio.primary
    counting = Counting(link, 3, "failover:{3}")
    eventually(lambda: len(counting.done) > 50)
    (state,) = link.servers()
    assert state.name == f"127.0.0.1:{old.port}" and state.up
    old.end()
    eventually(lambda: counting.refused)
    before = len(counting.done)
    eventually(lambda: len(counting.done) > before + 50)
    counting.end()
    assert not counting.wrong
    assert len(counting.unknown) <= 1  # the one that was on its way
    (state,) = link.servers()
    assert state.name != f"127.0.0.1:{old.port}"
    eventually(lambda: state.name == f"127.0.0.1:{sentinel_trio.primary.port}")  # all Sentinels know, some later
    found = [int(one) for one in link.call(3, "LRANGE", "failover:{3}:list", "0", "-1")]
    assert len(found) == len(set(found)) == int(link.call(3, "GET", "failover:{3}:count"))
    assert set(found) <= {*counting.done, *counting.unknown}
    assert set(counting.done[before:]) <= set(found)
    assert any("the primary of beats is now" in one.getMessage() for one in caplog.records)


def test_a_demoted_primary_is_left_and_never_written_to(sentinel_trio, link_to, eventually):
    link = link_to(sentinel_trio.url)
    old, new = sentinel_trio.primary, sentinel_trio.replica
    link.call(0, "SET", "demoted", "before")
    sentinel_trio.fail_over(sentinel_trio.sentinels[0])
    wait(lambda: old.info("replication")["role"] == "slave", "it was not demoted")

    def write():
        try:
            return link.call(0, COUNT, "x", keys=["demoted:list", "demoted:count"])
        except Unreachable as error:
            assert error.refused or "not known" in str(error)
            return None

    eventually(lambda: write() and link.servers()[0].name == f"127.0.0.1:{new.port}")
    assert int(new.ask("GET", "demoted:count")) == new.ask("LLEN", "demoted:list")


def test_a_primary_that_became_a_replica_by_hand_is_not_used(sentinel_trio, link_to, eventually):
    """Its connections stay open, unlike those that Sentinel demotes, so that only READONLY tells."""
    link = link_to(sentinel_trio.url)
    primary, other = sentinel_trio.primary, sentinel_trio.replica
    assert link.call(0, "SET", "by-hand", "1") == b"OK"
    primary.ask("REPLICAOF", "127.0.0.1", other.port)
    try:
        with pytest.raises(Unreachable) as found:
            link.call(0, "SET", "by-hand", "2")
        assert found.value.refused and "replica" in str(found.value)
        assert not link.servers()[0].up
    finally:
        primary.ask("REPLICAOF", "NO", "ONE")
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "SET", "by-hand", "3") == b"OK"


def test_sentinels_that_are_dead_or_cut_off_do_not_matter_while_one_lives(sentinel_trio, link_to, kept_port):
    live = sentinel_trio.sentinels[1].port
    url = f"redis+sentinel://127.0.0.1:{kept_port},127.0.0.1:{live}/{sentinel_trio.service}"
    link = link_to(url, timeout_s=0.5)
    assert link.call(0, "PING") == b"PONG"


def test_no_sentinel_and_no_such_service_are_told_apart(sentinel_trio, link_to, kept_port):
    with pytest.raises(Unreachable, match=rf"no Sentinel .*127\.0\.0\.1:{kept_port}: .*refused") as found:
        (link := link_to(f"redis+sentinel://127.0.0.1:{kept_port}/beats")).call(0, "PING")
    assert found.value.refused
    assert link.servers() == [] and link.trouble() == str(found.value)
    with pytest.raises(Unreachable, match=r"no Sentinel names a primary of other .*No such master"):
        link_to(f"redis+sentinel://127.0.0.1:{sentinel_trio.sentinels[0].port}/other").call(0, "PING")


def test_sentinels_that_come_up_later_are_found(sentinel_trio, link_to, eventually):
    one = sentinel_trio.sentinels[2]
    one.end()
    link = link_to(f"redis+sentinel://127.0.0.1:{one.port}/{sentinel_trio.service}")
    with pytest.raises(Unreachable, match="no Sentinel"):
        link.call(0, "PING")
    one.start()
    eventually(lambda: link.execute([Command(0, ("PING",))]) == [b"PONG"])
    assert link.trouble() is None


def test_a_sentinel_that_knows_less_does_not_lead_back(sentinel_trio, link_to, eventually):
    """One Sentinel is stopped during a failover. When it goes on, it names the former primary for a moment."""
    link = link_to(sentinel_trio.url, timeout_s=0.5)
    link.call(0, "PING")
    late = sentinel_trio.sentinels[0]
    sentinel_trio.sentinels.append(sentinel_trio.sentinels.pop(0))
    try:
        with late.stopped():
            old, new = sentinel_trio.primary, sentinel_trio.replica
            sentinel_trio.fail_over(sentinel_trio.sentinels[0])
            eventually(lambda: link.servers()[0].name == f"127.0.0.1:{new.port}" and link.servers()[0].up)
        names = set()
        eventually(lambda: names.add(link.servers()[0].name) or late.ask(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel_trio.service)[1] == b"%d" % new.port)  # fmt: skip
        assert names == {f"127.0.0.1:{new.port}"} != {f"127.0.0.1:{old.port}"}
    finally:
        sentinel_trio.sentinels.insert(0, sentinel_trio.sentinels.pop())


def test_a_primary_that_was_stopped_past_its_failover_is_not_written_to_when_it_goes_on(
    sentinel_trio, link_to, eventually
):
    link = link_to(sentinel_trio.url, timeout_s=0.5)
    sentinel_trio.primary.ask("FLUSHALL")
    old, new = sentinel_trio.primary, sentinel_trio.replica
    counting = Counting(link, 0, "stopped:{0}")
    eventually(lambda: len(counting.done) > 50)
    with old.stopped():
        eventually(lambda: counting.unknown)
        before = counting.unknown[0]
        eventually(lambda: link.servers()[0].name == f"127.0.0.1:{new.port}" and link.servers()[0].up)
        after = len(counting.done)
        eventually(lambda: len(counting.done) > after + 50)
    sentinel_trio.settle()
    after = len(counting.done)
    eventually(lambda: len(counting.done) > after + 50)
    counting.end()
    found = {int(one) for one in new.ask("LRANGE", "stopped:{0}:list", 0, -1)}
    lost = set(counting.done) - found
    assert not lost or max(lost) <= before  # what the replica had not got yet
    assert not counting.wrong


def test_a_sentinel_that_is_cut_off_costs_one_time_out(sentinel_trio, link_to, partition, eventually):
    network = partition(sentinel_trio.sentinels[0].port)
    others = ",".join(f"127.0.0.1:{one.port}" for one in sentinel_trio.sentinels[1:])
    link = link_to(f"redis+sentinel://127.0.0.1:{network.port},{others}/{sentinel_trio.service}", timeout_s=0.2)
    assert link.call(0, "PING") == b"PONG"
    network.cut()
    sentinel = link._topology
    eventually(lambda: sentinel._silent_until_s)
    asked = []
    ask = sentinel._ask
    sentinel._ask = lambda place: asked.append(place[1]) or ask(place)
    eventually(lambda: len(asked) >= 4)
    assert network.port not in asked
    assert link.servers()[0].up
