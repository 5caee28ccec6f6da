# SPDX-License-Identifier: MIT
"""Lua scripts of the history. A script that adds has a key `done` and a number that grows with each of its calls by one
writer: a call that is repeated, since its answer was lost, does nothing."""

from __future__ import annotations

from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS
from heartfelt.monitor.store.redis.link import Script

DONE_PX = 3_600_000
"""How long it is known which calls were executed, in ms."""

_ONCE = """
local done = redis.call('GET', KEYS[1])
if done and tonumber(done) >= tonumber(ARGV[1]) then return 0 end
"""
_SET_DONE = f"redis.call('SET', KEYS[1], ARGV[1], 'PX', {DONE_PX})\n"

PUT_EVENTS = Script(
    "put_events",
    f"""-- KEYS: done, the shard's figures, the part. ARGV: call, expiry, shard, part, ahead, then score and event of each
{_ONCE}
local time = redis.call('TIME')
local now = math.floor(tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000) - {SEQ_EPOCH_MS}
local last = tonumber(redis.call('HGET', KEYS[2], 'last') or '0')
local n = math.max(last + 1, now * {SEQ_PER_MS})
local args = {{}}
for i = 6, #ARGV, 2 do
    args[#args + 1] = ARGV[i]
    args[#args + 1] = struct.pack('>I8', n * {MOST_SHARDS} + tonumber(ARGV[3])) .. ARGV[i + 1]
    n = n + 1
    if #args >= 1000 then
        redis.call('ZADD', KEYS[3], unpack(args))
        args = {{}}
    end
end
if #args > 0 then redis.call('ZADD', KEYS[3], unpack(args)) end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[2], 'last', string.format('%.0f', n - 1))
local ahead = tonumber(redis.call('HGET', KEYS[2], ARGV[4]) or '0')
if tonumber(ARGV[5]) > ahead then redis.call('HSET', KEYS[2], ARGV[4], ARGV[5]) end
{_SET_DONE}
return 1
""",
)
"""An event is: its number, level (+ 16 if it has a scope), time and reception (8 bytes each), then as msgpack its
service, instance id, address, scope, type and name, which are filtered by, and its info as JSON."""

HEADER_BYTES = 25

SCAN_EVENTS = Script(
    "scan_events",
    f"""-- KEYS: the part. ARGV: msgpack of what is wanted
local o = cmsgpack.unpack(ARGV[1])
local key, rank = KEYS[1], 0
if o.at then  -- continues after (at, number)
    rank = redis.call('ZCOUNT', key, '(' .. o.at, '+inf')
    local low, high = 0, redis.call('ZCOUNT', key, o.at, o.at)
    while low < high do
        local middle = math.floor((low + high) / 2)
        local one = redis.call('ZREVRANGE', key, rank + middle, rank + middle)[1]
        if struct.unpack('>I8', one) >= o.number then low = middle + 1 else high = middle end
    end
    rank = rank + low
end
local some = redis.call('ZREVRANGE', key, rank, rank + o.scan - 1)
local out, counts, n, seen, last = {{}}, {{0, 0, 0}}, 0, 0, ''
local fields, by_time = o.fields, o.from or o.to
for _, one in ipairs(some) do
    seen, last = seen + 1, one
    local fits = not o.needle or string.find(one, o.needle, {HEADER_BYTES + 1}, true)
    local level = string.byte(one, 9) % 16
    if fits and o.newest then
        local number = struct.unpack('>I8', one)
        fits = number <= o.newest and number >= (o.oldest or 0)
    end
    if fits and by_time then
        local time = struct.unpack('>i8', one, 10)
        fits = (not o.from or time >= o.from) and (not o.to or time <= o.to)
    end
    if fits and o.levels then fits = o.levels[level + 1] end
    if fits and fields then
        local value = {{cmsgpack.unpack_limit(one, 6, {HEADER_BYTES})}}
        for at, wanted in pairs(fields) do
            if not wanted[value[at + 1]] then
                fits = false
                break
            end
        end
    end
    if fits then
        n = n + 1
        counts[level + 1] = counts[level + 1] + 1
        if not o.count then out[n] = one end
        if n >= o.want then break end
    end
end
return {{(seen == #some and seen < o.scan) and 1 or 0, string.sub(last, 1, {HEADER_BYTES}), counts, out}}
""",
)
"""Returns whether it came to the end, the header of the last event that was looked at, counts by level, events."""

ADD_DAYS = Script(
    "add_days",
    f"""-- KEYS: done, the day. ARGV: call, expiry, then a service and what to add of each
{_ONCE}
for i = 3, #ARGV, 2 do
    local sums = cmsgpack.unpack(ARGV[i + 1])
    local old = redis.call('HGET', KEYS[2], ARGV[i])
    if old then
        for j, one in ipairs(cmsgpack.unpack(old)) do sums[j] = sums[j] + one end
    end
    redis.call('HSET', KEYS[2], ARGV[i], cmsgpack.pack(sums))
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
{_SET_DONE}
return 1
""",
)

CELL_BYTES = 8

ADD_HEAT = Script(
    "add_heat",
    f"""-- KEYS: done, the hour. ARGV: call, expiry, minute, then a service and what to add to total and up of each
{_ONCE}
local at = tonumber(ARGV[3]) * {CELL_BYTES}
for i = 4, #ARGV, 3 do
    local cells = redis.call('HGET', KEYS[2], ARGV[i]) or ''
    if #cells < at + {CELL_BYTES} then cells = cells .. string.rep('\\0', at + {CELL_BYTES} - #cells) end
    local total, up = struct.unpack('<I4I4', cells, at + 1)
    total = math.max(0, total + tonumber(ARGV[i + 1]))
    up = math.max(0, up + tonumber(ARGV[i + 2]))
    redis.call('HSET', KEYS[2], ARGV[i], string.sub(cells, 1, at) .. struct.pack('<I4I4', total, up)
        .. string.sub(cells, at + {CELL_BYTES} + 1))
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
{_SET_DONE}
return 1
""",
)
"""An hour of a service is 60 cells: (total, up), summed over the monitors."""

PUT_RUN = Script(
    "put_run",
    """-- KEYS: the runs of the instance, the shard's open runs. ARGV: number, run, '1' if it is open, most, expiry
redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[3] == '1' then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
else
    redis.call('HDEL', KEYS[2], ARGV[1])
end
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[4])
for _ = 1, excess do
    local old = redis.call('ZPOPMIN', KEYS[1])
    redis.call('HDEL', KEYS[2], string.format('%.0f', tonumber(old[2])))
end
return 1
""",
)

FORGET = Script(
    "forget",
    """-- KEYS: the runs of an instance, the shard's open runs, the seqs of its changes
if redis.call('EXISTS', KEYS[1], KEYS[3]) == 0 then return 0 end
local runs = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #runs, 2 do redis.call('HDEL', KEYS[2], string.format('%.0f', tonumber(runs[i]))) end
redis.call('UNLINK', KEYS[1], KEYS[3])
return 1
""",
)

PUT_SEQS = Script(
    "put_seqs",
    """-- KEYS: the seqs of the changes of some instances. ARGV: expiry, most, then seqs of each as msgpack
for i, key in ipairs(KEYS) do
    redis.call('RPUSH', key, unpack(cmsgpack.unpack(ARGV[i + 2])))
    redis.call('LTRIM', key, -tonumber(ARGV[2]), -1)
    redis.call('PEXPIRE', key, ARGV[1])
end
return 1
""",
)

RESERVE_RUNS = Script(
    "reserve_runs",
    f"""-- KEYS: counters. ARGV: how many. Returns the first of numbers that nobody else gets
local now = math.floor(tonumber(redis.call('TIME')[1])) * 1000 - {SEQ_EPOCH_MS}
local first = math.max(tonumber(redis.call('HGET', KEYS[1], 'run') or '1'), now * 64)
redis.call('HSET', KEYS[1], 'run', string.format('%.0f', first + tonumber(ARGV[1])))
return string.format('%.0f', first)
""",
)
