# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from tests.monitor.redis.partition import Partition
from tests.monitor.redis.servers import REDIS, RedisCluster, RedisServer, SentinelTrio


def _need_redis():
    pytest.importorskip("redis")
    if REDIS is None:
        pytest.skip("redis-server is not installed")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A redis-server for all tests of a worker: use a prefix of your own, and do not stop it."""
    _need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.end()


@pytest.fixture
def make_redis(tmp_path):
    """make_redis(**options): a redis-server of the test's own, which may be stopped and killed."""
    _need_redis()
    made = []

    def make(**options):
        made.append(RedisServer(tmp_path / f"redis{len(made)}", **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="session")
def _sentinel_trio(tmp_path_factory):
    _need_redis()
    trio = SentinelTrio(tmp_path_factory.mktemp("sentinel"))
    yield trio
    trio.end()


@pytest.fixture
def sentinel_trio(_sentinel_trio):
    """A primary, a replica and three Sentinels. A test may kill and stop them; they are well again for the next one."""
    _sentinel_trio.settle()
    return _sentinel_trio


@pytest.fixture(scope="session")
def _redis_cluster(tmp_path_factory):
    _need_redis()
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.end()


@pytest.fixture
def redis_cluster(_redis_cluster):
    """A Redis Cluster of six servers. A test may kill and stop them; they are well again for the next one."""
    _redis_cluster.settle()
    return _redis_cluster


@pytest.fixture
def partition():
    """partition(port): a network between a client and the server at this port, which can be cut."""
    made = []

    def make(port):
        made.append(Partition(port))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def link_to():
    """link_to(url, **options): a link, closed at the end of the test."""
    pytest.importorskip("redis")
    from heartfelt.monitor.store.redis.address import RedisOptions, parse_address
    from heartfelt.monitor.store.redis.opening import make_link

    made = []

    def make(url, on_jump=None, **options):
        made.append(make_link(parse_address(url), RedisOptions(**options), on_jump))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def monitors(redis_server, link_to):
    """monitors(n, **options): open stores of n monitors that share a Redis."""
    pytest.importorskip("redis")
    from tests.monitor.redis.storing import a_prefix, make_store

    prefix, made = a_prefix(), []

    def make(n, **options):
        some = [make_store(link_to(redis_server.url), prefix, **options) for _ in range(n)]
        for one in some:
            one.open()
        made.extend(some)
        return some

    make.keys = lambda: link_to(redis_server.url).call(0, "KEYS", f"{prefix}:*")
    yield make
    for one in made:
        one.close()
