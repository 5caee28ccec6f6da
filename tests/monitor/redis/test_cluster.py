# SPDX-License-Identifier: MIT
"""The link to a Redis Cluster."""

from __future__ import annotations

import pytest

from heartfelt.monitor.store.redis.link import FLEET, Command, Script, Unreachable
from tests.monitor.redis.test_sentinel import COUNT, Counting

redis = pytest.importorskip("redis")


@pytest.fixture
def link(redis_cluster, link_to):
    return link_to(redis_cluster.url)


def slot_of(shard):
    from heartfelt.monitor.store.redis.cluster import slot_of

    return slot_of(shard)


def test_the_slot_of_a_shard_is_that_of_its_keys(redis_cluster):
    for shard in (FLEET, *range(64)):
        tag = "f" if shard == FLEET else shard
        assert redis_cluster.servers[0].ask("CLUSTER", "KEYSLOT", f"hf:{{{tag}}}:x") == slot_of(shard)


def test_commands_of_all_shards_go_to_their_servers_in_one_pipeline_each(redis_cluster, link):
    shards = [*range(16), FLEET]
    tags = ["f" if shard == FLEET else shard for shard in shards]
    commands = [
        Command(shard, (COUNT, "x"), [f"all:{{{tag}}}:list", f"all:{{{tag}}}:count"])
        for shard, tag in zip(shards, tags, strict=True)
    ]
    first = link.execute(commands)
    made = link.stats()["pipelines"]
    assert made == len({redis_cluster.server_of(slot_of(shard)).port for shard in shards}) == 3
    assert [one + 1 for one in first] == link.execute(commands)
    assert {one.name for one in link.servers()} == {f"127.0.0.1:{one.port}" for one in redis_cluster.primaries()}
    assert link.stats()["repeated"] == 0


@pytest.fixture
def moving(redis_cluster):
    """moving(shard): (from, to), two primaries between which the slot of a shard moves. It is moved back at the end."""
    moved = []

    def begin(shard):
        slot = slot_of(shard)
        source = redis_cluster.server_of(slot)
        target = next(one for one in redis_cluster.primaries() if one is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        moved.append((slot, source, target))
        return source, target

    yield begin
    for slot, source, target in moved:
        if redis_cluster.server_of(slot) is target:
            source.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", target.id)
            target.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", source.id)
        else:
            target.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        migrate(target, source, slot)
        for one in (source, target, *redis_cluster.primaries()):
            one.ask("CLUSTER", "SETSLOT", slot, "NODE", source.id)
        source.ask("CLUSTER", "BUMPEPOCH")


def migrate(source, target, slot, only=None):
    for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        if only is None or key == only:
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)


def test_a_slot_that_moves_is_followed(redis_cluster, link, moving):
    keys = ["{9}:list", "{9}:count"]
    n = link.call(9, COUNT, "x", keys=keys)
    source, target = moving(9)
    assert link.call(9, COUNT, "x", keys=keys) == n + 1  # still at the source
    migrate(source, target, slot_of(9), only=b"{9}:list")
    with pytest.raises(Unreachable, match="being moved") as found:  # one key here, one there: TRYAGAIN
        link.call(9, COUNT, "x", keys=keys)
    assert found.value.refused
    # The first of a shard would have to be asked for elsewhere, but the second one was executed here.
    first, second = link.execute([Command(9, ("LLEN", keys[0])), Command(9, ("GET", keys[1]))])
    assert first.refused and not second.refused
    migrate(source, target, slot_of(9))
    assert link.call(9, COUNT, "x", keys=keys) == n + 2  # ASK
    for one in (target, source):
        one.ask("CLUSTER", "SETSLOT", slot_of(9), "NODE", target.id)
    asked = link.stats()["repeated"]
    assert link.execute([Command(9, (COUNT, "x"), keys)] * 3) == [n + 3, n + 4, n + 5]  # MOVED
    assert link.stats()["repeated"] == asked + 3
    assert link.execute([Command(9, (COUNT, "x"), keys)] * 3) == [n + 6, n + 7, n + 8]
    assert link.stats()["repeated"] == asked + 3


def test_a_failover_while_commands_run(redis_cluster, link_to, eventually):
    link = link_to(redis_cluster.url, timeout_s=2)
    victim = redis_cluster.server_of(slot_of(5))
    other = next(n for n in range(16) if redis_cluster.server_of(slot_of(n)) is not victim)
    hit = Counting(link, 5, "failover:{5}")
    spared = Counting(link, other, f"failover:{{{other}}}")
    eventually(lambda: len(hit.done) > 50 and len(spared.done) > 50)
    victim.end()
    eventually(lambda: hit.refused)
    before = len(hit.done)
    eventually(lambda: len(hit.done) > before + 50)
    for one in (hit, spared):
        one.end()
        assert not one.wrong
        assert len(one.unknown) <= 1
    assert not spared.unknown
    found = [int(one) for one in link.call(5, "LRANGE", "failover:{5}:list", "0", "-1")]
    assert len(found) == len(set(found)) == int(link.call(5, "GET", "failover:{5}:count"))
    assert set(hit.done[before:]) <= set(found) <= {*hit.done, *hit.unknown}
    assert f"127.0.0.1:{victim.port}" not in {one.name for one in link.servers()}


def test_a_paused_primary_does_not_delay_the_other_shards_twice(redis_cluster, link_to, eventually):
    link = link_to(redis_cluster.url, timeout_s=0.3)
    commands = [Command(n, ("SET", f"paused:{{{n}}}", "x")) for n in range(16)]
    assert set(link.execute(commands)) == {b"OK"}
    victim = redis_cluster.server_of(slot_of(2))
    its_own = {n for n in range(16) if redis_cluster.server_of(slot_of(n)) is victim}
    with victim.stopped():
        for _ in range(3):
            replies = link.execute(commands)
            assert {n for n, reply in enumerate(replies) if isinstance(reply, Unreachable)} == its_own
            if not replies[2].refused:
                continue
        assert replies[2].refused
        eventually(lambda: set(link.execute(commands)) == {b"OK"})  # the replica has taken over
    redis_cluster.settle()
    assert set(link.execute(commands)) == {b"OK"}


def test_a_server_that_is_in_no_cluster(redis_server, link_to):
    with pytest.raises(Unreachable, match=r"not part of a Redis Cluster; write redis://"):
        link_to(redis_server.url.replace("redis://", "redis+cluster://")).call(0, "PING")


def test_one_of_the_hosts_is_enough(redis_cluster, link_to, kept_port):
    link = link_to(f"redis+cluster://127.0.0.1:{kept_port},127.0.0.1:{redis_cluster.servers[5].port}")
    assert link.call(0, "ECHO", "x") == b"x"
    with pytest.raises(Unreachable, match="refused") as found:
        (link := link_to(f"redis+cluster://127.0.0.1:{kept_port}")).call(0, "ECHO", "x")
    assert found.value.refused
    assert link.servers() == [] and link.trouble() == str(found.value)


def test_a_cluster_that_comes_up_later_is_found(redis_cluster, link_to, eventually):
    (one, *_) = [one for one in redis_cluster.servers if one not in redis_cluster.primaries()]
    one.end()
    link = link_to(f"redis+cluster://127.0.0.1:{one.port}")
    with pytest.raises(Unreachable, match="refused"):
        link.call(0, "ECHO", "x")
    one.start()
    eventually(lambda: link.execute([Command(0, ("ECHO", "x"))]) == [b"x"])
    assert link.trouble() is None


def test_scripts_are_loaded_on_each_server(redis_cluster, link):
    script = Script("WHERE", "return KEYS[1]")
    commands = [Command(n, (script,), [f"{{{n}}}"]) for n in range(16)]
    for one in redis_cluster.primaries():
        one.ask("SCRIPT", "FLUSH")
    assert link.execute(commands) == [b"{%d}" % n for n in range(16)]
    for one in redis_cluster.primaries():
        one.ask("SCRIPT", "FLUSH")
    assert link.execute(commands) == [b"{%d}" % n for n in range(16)]
    assert link.stats()["repeated"] == 16
