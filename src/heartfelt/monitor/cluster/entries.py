# SPDX-License-Identifier: MIT
"""The monitors' entries in Redis, and the scripts that renew and delete them. README.md has the keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from heartfelt.monitor.store.redis.link import Script

RENEW = Script(
    "member_renew",
    """
local mons, stamps, lead, fences, secret = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local me, entry, lease, mine, epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', mons, me, entry)
local is_new = redis.call('HSET', stamps, me, string.format('%.0f', now))
local leader = redis.call('GET', lead)
local held = leader and string.sub(leader, 1, #me + 1) == me .. ':'
if held then
  redis.call('PEXPIRE', lead, lease)
elseif not leader then
  local last = tonumber(redis.call('GET', fences) or '0')
  local fence = string.format('%.0f', math.max(last + 1, now - epoch))
  redis.call('SET', fences, fence)
  leader = me .. ':' .. fence
  redis.call('SET', lead, leader, 'PX', lease)
end
if mine ~= '' then
  redis.call('SET', secret, mine, 'NX')
end
for at = 6, #ARGV, 2 do
  if redis.call('HGET', stamps, ARGV[at]) == ARGV[at + 1] then
    redis.call('HDEL', stamps, ARGV[at])
    redis.call('HDEL', mons, ARGV[at])
  end
end
return {string.format('%.0f', now), leader, redis.call('GET', secret), redis.call('HGETALL', mons),
  redis.call('HGETALL', stamps), is_new}
""",
)
RESIGN = Script(
    "member_resign",
    """
local me = ARGV[1]
redis.call('HDEL', KEYS[1], me)
redis.call('HDEL', KEYS[2], me)
local leader = redis.call('GET', KEYS[3])
if leader and string.sub(leader, 1, #me + 1) == me .. ':' then
  redis.call('DEL', KEYS[3])
end
return 1
""",
)


class FleetMember(msgspec.Struct, frozen=True):
    """A monitor's entry. Unknown fields are ignored."""

    address: str
    """The address of its channel, host:port."""
    version: str = ""
    start_ms: int = 0
    host: str = ""
    lease_s: float = 0.0
    """Its `cluster.lease`: it renews its entry four times in this."""


class RenewReply(msgspec.Struct):
    """The reply of RENEW."""

    now_ms: int
    lead: str
    secret: bytes | None
    entries: dict[str, bytes]
    stamps: dict[str, int]
    is_new: bool
    """This monitor's own entry was not there."""


def parsed(reply: Any) -> RenewReply:
    """Returns what RENEW has replied."""
    now_ms, lead, secret, entries, stamps, is_new = reply
    return RenewReply(
        now_ms=int(now_ms),
        lead=lead.decode(),
        secret=secret,
        entries={id.decode("utf-8", "replace"): entry for id, entry in _pairs(entries)},
        stamps={id.decode("utf-8", "replace"): int(stamp) for id, stamp in _pairs(stamps)},
        is_new=bool(is_new),
    )


def _pairs(flat: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yields the pairs of a reply of HGETALL within a script: a flat list, or a dict by RESP3."""
    if isinstance(flat, dict):
        yield from flat.items()
    else:
        yield from zip(flat[::2], flat[1::2], strict=True)
