-- SPDX-License-Identifier: MIT
-- Reserves numbers of runs, and returns the first of them.
-- KEYS: counters. ARGV: how many, SEQ_EPOCH_MS.
local now = math.floor(tonumber(redis.call('TIME')[1])) * 1000 - tonumber(ARGV[2])
local first = math.max(tonumber(redis.call('HGET', KEYS[1], 'run') or '1'), now * 64)
redis.call('HSET', KEYS[1], 'run', string.format('%.0f', first + tonumber(ARGV[1])))
return string.format('%.0f', first)
