# SPDX-License-Identifier: MIT
"""A plain Link for tests, and one of which the replies can be held back or refused."""

from __future__ import annotations

import threading

from heartfelt.monitor.store.redis.link import Script, Unreachable


class PlainLink:
    """One server, one connection at a time from a pool; see Link."""

    def __init__(self, server):
        import redis

        self.client = redis.Redis(port=server.port, socket_timeout=20)
        self.calls = 0
        self.down = False
        self.go = threading.Event()
        self.go.set()

    def call(self, shard, *words, keys=()):
        self.go.wait(40)
        if self.down:
            raise Unreachable("it is down, for a test")
        self.calls += 1
        name, *rest = words
        if isinstance(name, Script):
            return self.client.eval(name.text, len(keys), *keys, *rest)
        return self.client.execute_command(name, *rest)

    def close(self):
        self.client.close()
