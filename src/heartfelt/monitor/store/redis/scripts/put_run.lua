-- SPDX-License-Identifier: MIT
-- Stores a run, and keeps the newest ones.
-- KEYS: the runs of the instance, the shard's open runs. ARGV: number, run, '1' if it is open, most, ms that they last.
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
