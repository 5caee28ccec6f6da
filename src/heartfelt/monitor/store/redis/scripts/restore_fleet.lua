-- SPDX-License-Identifier: MIT
-- Writes again what the fleet has once, unless another monitor has done so since Redis was emptied.
-- KEYS: cfg, numbers, documents of each kind. ARGV: a new mark, '1' if the caller knows what was there, how many monitors
-- had started, how many fields cfg has, msgpack of field, value of cfg ..., then place of the kind, name, document ...
-- Returns how many documents were written; -1: another monitor has.
local born = redis.call('HGET', KEYS[1], 'born')
if not born then
    born = ARGV[1]
    redis.call('HSET', KEYS[1], 'born', born)
end
local words = cmsgpack.unpack(ARGV[5])
local at, n = 1, 0
for _ = 1, tonumber(ARGV[4]) do
    redis.call('HSETNX', KEYS[1], words[at], words[at + 1])
    at = at + 2
end
if ARGV[2] ~= '1' then
    return 0
end
if tonumber(redis.call('GET', KEYS[2]) or 0) < tonumber(ARGV[3]) then
    redis.call('SET', KEYS[2], ARGV[3])
end
if redis.call('HGET', KEYS[1], 'whole') == born then
    return -1
end
for i = at, #words, 3 do
    n = n + redis.call('HSETNX', KEYS[2 + tonumber(words[i])], words[i + 1], words[i + 2])
end
redis.call('HSET', KEYS[1], 'whole', born)
return n
