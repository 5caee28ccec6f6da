# SPDX-License-Identifier: MIT
"""The checks of a monitor's start with Redis."""

from __future__ import annotations

import logging
import re
import threading

import pytest

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.keys import FORMAT, SLOTS, Keys

redis = pytest.importorskip("redis")
from heartfelt.monitor.store.redis.configuration import _facts_of, check  # noqa: E402


class Told:
    """A link that tells this INFO, whatever the server says."""

    def __init__(self, link, old, new):
        self.link, self.old, self.new = link, old, new

    def execute(self, commands):
        replies = self.link.execute(commands)
        return [re.sub(self.old, self.new, one) if isinstance(one, bytes) else one for one in replies]

    def call(self, *words, **options):
        return self.link.call(*words, **options)


def checked(link, url, prefix, shards=4):
    return check(link, Keys(prefix, shards), parse_address(url))


def test_the_first_monitor_writes_and_the_others_compare(redis_server, link_to):
    links = [link_to(redis_server.url) for _ in range(4)]
    failed = []

    def start(link, shards):
        try:
            checked(link, redis_server.url, "race", shards)
        except StoreError:
            failed.append(shards)

    threads = [threading.Thread(target=start, args=(links[n], (4, 8)[n % 2])) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed in ([4, 4], [8, 8])
    stored = links[0].call(0, "HGETALL", "race:{f}:cfg")
    assert dict(zip(stored[::2], stored[1::2], strict=True)) == {
        b"version": b"%d" % FORMAT, b"shards": b"8" if failed[0] == 4 else b"4", b"page": b"%d" % SLOTS
    }  # fmt: skip
    (server,) = checked(links[0], redis_server.url, "other", 64)
    assert server.name.startswith(("Redis 7", "Redis 8", "Valkey"))


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("version", "9", r"under redis\.prefix cfg in version 9 .* this one uses version 1: run the same version"),
        ("shards", "16", r"with 16 shards, and redis\.shards is 4: set 16 here, or set another redis\.prefix"),
        ("page", "64", "with pages of 64 slots, and this one uses 512"),
    ],
)
def test_what_differs_is_named_with_both_values(redis_server, link_to, field, value, text):
    link = link_to(redis_server.url)
    link.call(0, "DEL", "cfg:{f}:cfg")
    checked(link, redis_server.url, "cfg")
    link.call(0, "HSET", "cfg:{f}:cfg", field, value)
    with pytest.raises(StoreError, match=text):
        checked(link, redis_server.url, "cfg")


def test_a_key_of_something_else_is_not_overwritten(redis_server, link_to):
    link = link_to(redis_server.url)
    link.call(0, "SET", "taken:{f}:cfg", "x")
    with pytest.raises(
        StoreError, match=r"refuses what a monitor needs: .*WRONGTYPE.*set another redis\.prefix than taken"
    ):
        checked(link, redis_server.url, "taken")
    link.call(0, "DEL", "taken:{f}:cfg")
    link.call(0, "HSET", "taken:{f}:cfg", "version", "1")
    with pytest.raises(StoreError, match="with none shards"):
        checked(link, redis_server.url, "taken")


def test_old_and_other_servers(redis_server, link_to):
    link = link_to(redis_server.url)
    with pytest.raises(StoreError, match=r"Redis 6\.2\.14 at redis://.* too old: .*Redis 7 or Valkey"):
        checked(Told(link, rb"(redis_version:)[0-9.]+", rb"\g<1>6.2.14"), redis_server.url, "old")
    assert link.call(0, "EXISTS", "old:{f}:cfg") == 0
    valkey = Told(link, rb"redis_version:[0-9.]+", b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0")
    assert checked(valkey, redis_server.url, "valkey")[0].name == "Valkey 8.1.0"
    assert _facts_of("redis_version:255.255.255", None).major == 255
    assert _facts_of("", None).major == 0


def test_eviction_is_warned_about_and_missing_persistence_is_told(make_redis, link_to, caplog):
    caplog.set_level(logging.INFO, "heartfelt.redis")
    server = make_redis()
    link = link_to(server.url)
    checked(link, server.url, "hf")
    (told,) = caplog.records
    assert told.levelno == logging.INFO and "does not save its data" in told.getMessage()
    caplog.clear()
    server.ask("CONFIG", "SET", "save", "60 1", "maxmemory-policy", "allkeys-lru")
    checked(link, server.url, "hf")
    (told,) = caplog.records
    assert told.levelno == logging.WARNING and "allkeys-lru" in told.getMessage() and "noeviction" in told.getMessage()
    server.ask("CONFIG", "SET", "save", "", "appendonly", "yes", "maxmemory-policy", "noeviction")
    caplog.clear()
    checked(link, server.url, "hf")
    assert not caplog.records


def test_each_server_of_a_cluster_is_checked_once(redis_cluster, link_to):
    link = link_to(redis_cluster.url)
    assert len(checked(link, redis_cluster.url, "cluster", 16)) == 3
    single = redis_cluster.servers[0].url
    with pytest.raises(StoreError, match=r"part of a Redis Cluster; write redis\+cluster://"):
        checked(link_to(single), single, "cluster", 16)


def test_a_sentinel_is_not_a_server(sentinel_trio, link_to):
    url = sentinel_trio.sentinels[0].url
    with pytest.raises(StoreError, match=r"is a Sentinel; write redis\+sentinel://"):
        checked(link_to(url), url, "hf")
    assert len(checked(link_to(sentinel_trio.url), sentinel_trio.url, "sentinel")) == 1


def test_a_server_that_cannot_be_reached(link_to, kept_port, caplog):
    url = f"redis://127.0.0.1:{kept_port}"
    with pytest.raises(StoreError, match=f"Redis at 127.0.0.1:{kept_port} cannot be reached: .*refused"):
        checked(link_to(url), url, "hf")
    assert "cannot be reached" in caplog.text and "still taken" not in caplog.text  # nothing is taken before the start


def test_a_server_that_is_no_sentinel(redis_server, link_to):
    url = f"redis+sentinel://127.0.0.1:{redis_server.port}/beats"
    with pytest.raises(StoreError, match="it is not a Sentinel; write the port of one"):
        checked(link_to(url), url, "hf")
