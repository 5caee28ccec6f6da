# SPDX-License-Identifier: MIT
"""Checks, at the start, that the user may do all that a monitor does. A script that is refused a command in its midst
has executed the commands before it, so nothing must begin with a user that lacks one. Imports redis."""

from __future__ import annotations

from redis import exceptions as wrong

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.address import RedisAddress
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link, Script

TRIED = (
    "SET -|GET|APPEND -|INCR|EXISTS|PEXPIRE 10000|GETRANGE 0 1|SETRANGE 0 -|MEMORY|HDEL -|HEXISTS -|HGET -|HGETALL|"
    "HINCRBY - 1|HKEYS|HMGET -|HSCAN 0|HSET - -|HSETNX - -|HVALS|LINDEX 0|LLEN|LRANGE 0 0|LTRIM 0 0|RPUSH -|XADD * - -|"
    "XDEL 1-1|XLEN|XRANGE - +|XREVRANGE + -|XTRIM MAXLEN 1|ZADD 1 -|ZCARD|ZCOUNT 0 0|ZLEXCOUNT - +|ZPOPMIN|ZRANGE 0 0|"
    "ZRANGEBYLEX - +|ZREM -|ZREMRANGEBYRANK 0 0|ZREMRANGEBYSCORE 0 0|ZREVRANGE 0 0|ZREVRANGEBYLEX + -|"
    "ZREVRANGEBYSCORE 0 0|RENAME|TIME|UNLINK|SET -|DEL"
)
"""Commands, with what follows the key. The key has a string: many of them fail, but not for want of rights."""
RIGHTS = Script(
    "RIGHTS",
    """
    local missing, key = {}, KEYS[1]
    local function try(...)
        local reply = redis.pcall(...)
        local text = type(reply) == 'table' and reply.err
        if text and (string.find(text, 'NOPERM') or string.find(text, 'permission') or
                     string.find(text, 'The user executing the script')) then
            missing[#missing + 1] = (...)
        end
    end
    for one in string.gmatch(ARGV[1], '[^|]+') do
        local words = {}
        for word in string.gmatch(one, '[^ ]+') do
            words[#words + 1] = word
        end
        local name = table.remove(words, 1)
        if name == 'TIME' then
            try(name)
        elseif name == 'MEMORY' then
            try(name, 'USAGE', key)
        elseif name == 'RENAME' then
            try(name, key, key)
        else
            try(name, key, unpack(words))
        end
    end
    redis.pcall('UNLINK', key)
    return missing
    """,
)


def check_rights(link: Link, keys: Keys, address: RedisAddress) -> None:
    """Raises StoreError, which names the commands that are missing. Blocks."""
    asked = [
        Command(shard, (RIGHTS, TRIED), (keys.fleet("rights") if shard == FLEET else keys.shard(shard, "rights"),))
        for shard in (FLEET, *range(keys.shards))
    ]
    missing: dict[str, None] = {}
    for reply in link.execute(asked):
        if isinstance(reply, wrong.ResponseError):
            raise StoreError(f"{address} refuses what a monitor needs: {reply}") from None
        if isinstance(reply, Exception):
            raise reply
        missing.update((one.decode(), None) for one in reply)
    if missing:
        user, rights = address.user or "default", " ".join(f"+{one.lower()}" for one in sorted(missing))
        raise StoreError(f"{address}: its user {user} lacks rights that a monitor needs: ACL SETUSER {user} {rights}")
