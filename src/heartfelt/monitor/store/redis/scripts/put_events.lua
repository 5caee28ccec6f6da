-- SPDX-License-Identifier: MIT
-- Stores events, and gives them numbers.
-- KEYS: done, the shard's figures, the part.
-- ARGV: number of the call, ms that `done` lasts, ms that the part lasts, SEQ_EPOCH_MS, SEQ_PER_MS, MOST_SHARDS, shard,
-- part, how much a clock was ahead at most, then the score and the event of each.
local done = redis.call('GET', KEYS[1])
if done and tonumber(done) >= tonumber(ARGV[1]) then return 0 end
local time = redis.call('TIME')
local now = math.floor(tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000) - tonumber(ARGV[4])
local last = tonumber(redis.call('HGET', KEYS[2], 'last') or '0')
local n = math.max(last + 1, now * tonumber(ARGV[5]))
local args = {}
for i = 10, #ARGV, 2 do
    args[#args + 1] = ARGV[i]
    args[#args + 1] = struct.pack('>I8', n * tonumber(ARGV[6]) + tonumber(ARGV[7])) .. ARGV[i + 1]
    n = n + 1
    if #args >= 1000 then
        redis.call('ZADD', KEYS[3], unpack(args))
        args = {}
    end
end
if #args > 0 then redis.call('ZADD', KEYS[3], unpack(args)) end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'last', string.format('%.0f', n - 1))
local ahead = tonumber(redis.call('HGET', KEYS[2], ARGV[8]) or '0')
if tonumber(ARGV[9]) > ahead then
    redis.call('HSET', KEYS[2], ARGV[8], ARGV[9])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
