# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from tests.monitor.redis.servers import REDIS, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A redis-server for all tests of a worker: use a prefix of your own, and do not stop it."""
    pytest.importorskip("redis")
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.end()
