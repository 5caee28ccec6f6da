# SPDX-License-Identifier: MIT
"""Makes the link to Redis. Redis' client is imported here for the first time, and only if a URL is set."""

from __future__ import annotations

import sys
from collections.abc import Callable

from heartfelt.errors import ConfigError
from heartfelt.monitor.store.redis.address import RedisAddress, RedisOptions
from heartfelt.monitor.store.redis.link import Link

OLDEST_CLIENT = 6


def make_link(
    address: RedisAddress, options: RedisOptions | None = None, on_jump: Callable[[float], None] | None = None
) -> Link:
    """Returns a link, which connects when it is used. Any thread may use it; `close` it at the end.

    on_jump: called by a thread of the link, with milliseconds, if a primary's clock has jumped ahead by more than 2 s.
    Raises ConfigError if redis-py is not installed, or is too old.
    """
    try:
        import redis
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError(
            "store is a URL of Redis, but redis-py is not installed: "
            f"{sys.executable} -m pip install 'heartfelt[redis]'"
        ) from None
    version = str(redis.__version__)
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < OLDEST_CLIENT:
        raise ConfigError(
            f"redis-py {version} is too old for the store on Redis, which needs {OLDEST_CLIENT}.0: "
            f"{sys.executable} -m pip install --upgrade 'heartfelt[redis]'"
        )
    from heartfelt.monitor.store.redis.servers import RedisLink

    return RedisLink(address, options or RedisOptions(), on_jump)
