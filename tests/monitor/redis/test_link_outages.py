# SPDX-License-Identifier: MIT
"""The link to one server that is killed, stopped, cut off, or refuses commands."""

from __future__ import annotations

import contextlib
import logging
import time

import pytest

from heartfelt.monitor.store.redis.link import Command, Script, Unreachable
from tests.monitor.redis.servers import wait

redis = pytest.importorskip("redis")
ECHO = Script("ECHO", "return {KEYS[1], ARGV[1]}")
PUT = Script("PUT", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")
ODD = ["{", "}", "{a}{b}", "a\nb\r\n", "*?[a-z]", "$6\r\n", "", "\x00\xff", "ä\ud800"]


@pytest.fixture
def refused(eventually):
    """refused(link): waits until the link's server is known to be down."""
    return lambda link: eventually(lambda: not link.servers()[0].up)


def test_a_server_that_was_killed_fails_at_once_and_comes_back(make_redis, link_to, eventually, caplog):
    caplog.set_level(logging.INFO, "heartfelt.redis")
    server = make_redis()
    link = link_to(server.url, timeout_s=20)
    assert link.call(0, "PING") == b"PONG"
    server.end()
    for _ in range(100):
        with pytest.raises(Unreachable) as found:
            link.call(0, "PING")
        assert found.value.refused
        assert f"127.0.0.1:{server.port}" in str(found.value) and "refused" in str(found.value)
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1
    assert not link.servers()[0].up
    assert "cannot be reached: Connection refused" in link.trouble()
    server.start()
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "PING") == b"PONG"
    assert "can be reached again" in caplog.records[-1].getMessage()
    assert link.servers()[0].error is None


def test_a_paused_server_makes_one_call_wait_and_the_others_fail_at_once(make_redis, link_to, eventually):
    server = make_redis()
    link = link_to(server.url, timeout_s=0.3)
    assert link.call(0, "INCR", "n") == 1
    with server.stopped():
        with pytest.raises(Unreachable) as found:
            link.call(0, "INCR", "n")
        assert not found.value.refused and "not known" in str(found.value)
        made = link.stats()["pipelines"]
        for _ in range(200):
            with pytest.raises(Unreachable) as found:
                link.call(0, "INCR", "n")
            assert found.value.refused
        assert link.stats()["pipelines"] == made
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "GET", "n") == b"2"  # it was executed when the server went on


def test_a_pause_is_found_though_nobody_calls(make_redis, link_to, eventually):
    server = make_redis()
    link = link_to(server.url, timeout_s=0.2)
    link.now_ms(0)
    with server.stopped():
        eventually(lambda: not link.servers()[0].up)
        assert "in time" in link.servers()[0].error
    eventually(lambda: link.servers()[0].up)


@pytest.mark.parametrize("answers", [False, True], ids=["nothing passes", "answers are lost"])
def test_a_connection_that_is_half_open_is_found_and_replaced(redis_server, link_to, partition, eventually, answers):
    network = partition(redis_server.port)
    link = link_to(network.url, timeout_s=0.3)
    key = f"half-open:{answers}"
    assert link.call(0, "INCR", key) == 1
    network.cut(answers=answers)
    with pytest.raises(Unreachable) as found:
        link.call(0, "INCR", key)
    assert not found.value.refused
    network.heal()
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "GET", key) == (b"2" if answers else b"1")


def test_a_command_that_is_late_is_taken_back(make_redis, link_to, partition, eventually):
    """It must not be executed after a newer one that went over another connection."""
    server = make_redis()
    network = partition(server.port)
    link = link_to(network.url, timeout_s=0.3)
    assert link.call(0, "SET", "k", "first") == b"OK"
    network.hold()
    with pytest.raises(Unreachable, match="not known"):
        link.call(0, "SET", "k", "x" * 500_000)
    network.release()
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "SET", "k", "newer") == b"OK"
    eventually(lambda: network.connections == link.servers()[0].connections)
    assert "calls=2," in server.info("commandstats")["cmdstat_set"]
    assert link.call(0, "GET", "k") == b"newer"


def test_connections_that_were_closed_while_idle_are_replaced_without_a_failure(redis_server, link_to, partition):
    network = partition(redis_server.port)
    link = link_to(network.url)
    for n in range(5):
        assert link.call(0, "ECHO", f"{n}") == b"%d" % n
        network.reset()
    assert link.stats()["unknown"] == 0


def test_a_connection_lost_within_a_batch_keeps_the_replies_that_came(make_redis, link_to):
    link = link_to(make_redis().url)
    own = link.call(0, "CLIENT", "ID")
    replies = link.execute(
        [Command(0, ("INCR", "n")), Command(0, ("CLIENT", "KILL", "ID", str(own), "SKIPME", "no")),
         Command(0, ("INCR", "n")), Command(1, ("INCR", "n"))]
    )  # fmt: skip
    assert replies[0] == 1
    assert isinstance(replies[2], Unreachable) and not replies[2].refused
    assert isinstance(replies[3], Unreachable)
    assert link.call(0, "GET", "n") == b"1"


def test_out_of_memory_refuses_and_says_so(make_redis, link_to, caplog, eventually):
    server = make_redis(maxmemory="3mb")
    link = link_to(server.url)
    put = [Command(0, (PUT, "x" * 100_000), ["{0}:a", "{0}:n"]), Command(0, ("SET", "{0}:b", "x" * 100_000))]
    assert link.execute(put) == [1, b"OK"]
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    for _ in range(3):
        replies = link.execute([*put, Command(1, ("GET", "{0}:n")), Command(0, ("GET", "{0}:n"))])
        assert all(isinstance(one, Unreachable) and one.refused for one in replies[:2])
        assert replies[2] == b"1"  # another shard
        assert isinstance(replies[3], Unreachable) and not replies[3].refused
    assert "out of memory" in str(replies[0]) and "maxmemory" in str(replies[0])
    (state,) = link.servers()
    assert state.up and "out of memory" in state.error
    assert "refuses commands: it is out of memory" in link.trouble()
    assert len(caplog.records) == 1
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    assert link.execute(put) == [2, b"OK"]
    eventually(lambda: link.servers()[0].error is link.trouble() is None)
    assert "accepts commands again" in caplog.records[-1].getMessage()


@contextlib.contextmanager
def full(server):
    server.ask("CONFIG", "SET", "maxmemory", "1")
    yield "out of memory"
    server.ask("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def without_disk(server):
    (server.folder / "dump.rdb").mkdir()
    server.ask("CONFIG", "SET", "save", "3600 1")
    server.ask("BGSAVE")
    deadline_s = time.monotonic() + 20
    while server.info("persistence")["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < deadline_s
    yield "could not save"
    server.ask("CONFIG", "SET", "save", "")


@contextlib.contextmanager
def replica(server):
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield "read-only"
    server.ask("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("state", [full, without_disk, replica])
def test_writes_are_refused_until_one_that_needs_memory_succeeds(make_redis, link_to, caplog, eventually, state):
    server = make_redis()
    link = link_to(server.url)
    maybe = Script("maybe", "return ARGV[1] ~= '' and redis.call('SET', KEYS[1], ARGV[1]) or 1")
    assert link.call(0, maybe, "x", keys=["{0}:a"]) == b"OK" and link.refuses_writes() is None
    with state(server) as reason:
        with pytest.raises(Unreachable):
            link.call(0, maybe, "x", keys=["{0}:a"])
        checked = link._topology.nodes()[0]
        for _ in range(2):
            checked._round_trip_s = None
            eventually(lambda: checked._round_trip_s is not None)  # the check has found it, too
            assert link.call(0, maybe, "", keys=["{0}:a"]) == 1  # by the same script
            assert reason in link.refuses_writes() and reason in link.trouble()
        assert "accepts commands again" not in caplog.text
    eventually(lambda: link.refuses_writes() is link.trouble() is None)
    assert caplog.text.count("accepts commands again") == 1
    assert link.call(0, maybe, "x", keys=["{0}:a"]) == b"OK"


def test_a_snapshot_that_failed_refuses_writes(make_redis, link_to, eventually):
    server = make_redis(enable_debug_command="yes", save="3600 1")
    link = link_to(server.url)
    assert link.call(0, PUT, "x", keys=["{0}:a", "{0}:n"]) == 1
    (server.folder / "dump.rdb").mkdir()  # a file cannot take its place
    server.ask("BGSAVE")
    eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
    for words, keys in (((PUT, "y"), ["{0}:a", "{0}:n"]), (("SET", "{0}:a", "y"), [])):
        with pytest.raises(Unreachable, match="save") as found:
            link.call(0, *words, keys=keys)
        assert found.value.refused
    assert link.call(0, "GET", "{0}:a") == b"x"


def test_a_replica_refuses_writes(make_redis, link_to):
    server = make_redis()
    link = link_to(server.url)
    assert link.call(0, PUT, "x", keys=["{0}:a", "{0}:n"]) == 1
    other = make_redis(replicaof=f"127.0.0.1 {server.port}", replica_serve_stale_data="no")
    server.end()
    beside = link_to(other.url)
    for words, keys in (((PUT, "x"), ["{0}:a", "{0}:n"]), (("SET", "a", "x"), []), (("GET", "a"), [])):
        with pytest.raises(Unreachable, match="replica") as found:
            beside.call(0, *words, keys=keys)
        assert found.value.refused


def test_a_server_that_loads_its_data_refuses(make_redis, link_to, eventually):
    server = make_redis(enable_debug_command="yes", save="3600 1", key_load_delay="0")
    server.ask("DEBUG", "POPULATE", "5000")
    server.ask("SAVE")
    server.end()
    server.options["key_load_delay"] = "200"  # microseconds
    server.options["loading_process_events_interval_bytes"] = "1024"
    server.start()
    link = link_to(server.url)
    replies = link.execute([Command(0, ("INCR", "n")), Command(1, (ECHO, "x"), ["a"])])
    for reply in replies:
        assert isinstance(reply, Unreachable) and reply.refused and "loading" in str(reply)
    eventually(lambda: not isinstance(link.execute([Command(0, ("INCR", "n"))])[0], Exception))
    assert link.call(0, "GET", "n") == b"1"


def test_too_few_replicas_refuse_writes(make_redis, link_to):
    link = link_to(make_redis(min_replicas_to_write="1").url)
    with pytest.raises(Unreachable, match="min-replicas-to-write") as found:
        link.call(0, PUT, "x", keys=["{0}:a", "{0}:n"])
    assert found.value.refused


def test_too_many_clients(make_redis, link_to):
    server = make_redis(maxclients="1")
    with redis.Redis(port=server.port) as client:
        wait(client.ping, "it takes no client")
        with pytest.raises(Unreachable, match="maxclients") as found:
            link_to(server.url).call(0, "PING")
        assert found.value.refused


def test_a_cluster_that_is_not_said_to_be_one(redis_cluster, link_to):
    link = link_to(redis_cluster.servers[0].url)
    replies = link.execute([Command(n, ("SET", f"{{{n}}}:a", "1")) for n in range(16)])
    refused = [one for one in replies if one != b"OK"]
    assert refused and all(one.refused and "redis+cluster://" in str(one) for one in refused)
